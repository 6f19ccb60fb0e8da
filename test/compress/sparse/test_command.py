"""tools.compress sparse on a tiny network and a tiny drive: all stages, what the next call repeats, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import TINY

from tggbc_ros import backends
from tggbc_ros.compress.allocation import main as allocate
from tggbc_ros.core.checkpoint import GATE_PREFIX, build_network, read_gate_state, read_state_dict
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.core.shape import resnet
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.tools.compress import main

SMALL = replace(TINY, name="small_sparse", embed_dims=32, shape=resnet("basic", (1, 1, 1, 1), width=8))
DRIVE = DriveConfig(duration_s=1.5, image_size=(128, 72), range_m=30.0, objects=40, clutter=0.0, supersample=1)

pytestmark = pytest.mark.usefixtures("one_thread")

Run = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    scenes = [dataset.write_scene(root, 5, number, DRIVE, lambda: None) for number in range(2)]
    dataset.write_tables(root, "v1.0-test", "some", scenes)
    return root


@pytest.fixture
def run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command; a keyword replaces or adds an option."""
    monkeypatch.setitem(MODELS, SMALL.name, SMALL)
    checkpoint = tmp_path / "dense.safetensors"
    torch.manual_seed(0)
    gate = {f"{GATE_PREFIX}{name}": each for name, each in KeyGate(SMALL, 6, 4).state_dict().items()}
    state = build_network(SMALL, None)[0].state_dict() | gate
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    write_network(half, checkpoint, SMALL.shape)

    def call(*more: str, **options: object) -> int:
        given: dict[str, object] = {
            "model": SMALL.name,
            "checkpoint": checkpoint,
            "data": data,
            "split": "some",
            "val_split": "some",
            "target": 0.25,
            "out": tmp_path / "out",
            "frames": 3,
            "passes": 1,
            "places": 64,
            "probed": 2,
        }
        words = [f"--{name.replace('_', '-')}={each}" for name, each in (given | options).items() if each is not None]
        return main(["sparse", *words, *more])

    return call


def test_one_command_makes_a_sparse_network_that_runs_and_says_what_it_came_to(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    out = tmp_path / "out"
    folder = out / "runs" / "dm3d_0.25_weights_obs_obs"
    kept = json.loads((folder / "kept.json").read_text())
    assert kept["left"]["weights"] <= 0.25 < kept["left"]["weights"] + 0.05
    state = read_state_dict(folder / "sparse.safetensors")
    for name, count in kept["kept"].items():
        if "in_proj" not in name:
            assert int((state[name] != 0).sum()) <= count, name
    assert all(value.dtype in (torch.float16, torch.int64) for value in state.values())
    assert (
        read_gate_state(folder / "sparse.safetensors").keys() == read_gate_state(tmp_path / "dense.safetensors").keys()
    )
    (step,) = history_of(folder / "sparse.safetensors")
    assert (step["step"], step["method"], step["frames"]) == ("sparse", "dm3d", 3) and step["joint"] > 0
    network = backends.load_network("torch", SMALL, folder / "sparse.safetensors", "cpu")
    assert network.gate is not None
    report = json.loads((out / "report.json").read_text())
    assert [row["run"] for row in report["runs"]] == [folder.name]
    page = (out / "report.html").read_text()
    assert "A sparse network" in page and page.count("<img") == 3
    said = capsys.readouterr().out
    assert "mAP" in said and "all in all" in said

    assert run() == 0
    assert "made before" in (again := capsys.readouterr().out) and "all in all, layer by layer" in again
    assert again.count("made before") == 7


def test_several_targets_and_methods_share_what_was_found(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--method", "lamp", "uniform", "--target", "0.5", "0.4", "--stop-after", "prune", target=0.3) == 0
    runs = sorted(each.name for each in (tmp_path / "out" / "runs").iterdir())
    assert runs == [f"{method}_{target}_weights_obs_obs" for method in ("lamp", "uniform") for target in (0.4, 0.5)]
    assert capsys.readouterr().out.count("layers of") == 4  # the curves once made, and three times made before
    assert len(list((tmp_path / "out").glob("curves*.json"))) == 1


def test_measured_curves_are_compared_and_are_files_that_the_solver_reads(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--curves=measured", "--stop-after=solve", of="macs") == 0
    assert "rank correlation with measured 0.9" in capsys.readouterr().out
    path = tmp_path / "out" / "curves_obs_obs_measured.json"
    assert allocate([str(path), "--json", str(tmp_path / "solved.json")]) == 0
    solved = {entry["budget_of"]: entry for entry in json.loads((tmp_path / "solved.json").read_text())}
    assert solved.keys() == {"weights", "macs", "bytes"}
    kept = json.loads((tmp_path / "out/runs/dm3d_measured_0.25_macs_obs_obs/kept.json").read_text())
    assert kept["summed"] == pytest.approx(solved["macs"]["distortion"])


def test_a_tuned_network_keeps_its_zeros(run: Run, tmp_path: Path) -> None:
    assert run("--repair=none", "--order=curvature", val_split=None, steps=2, joint_steps=1, tune_batch=2) == 0
    folder = tmp_path / "out" / "runs" / "dm3d_0.25_weights_curvature_none_2+1"
    before, after = (read_state_dict(folder / f"{name}.safetensors") for name in ("pruned", "sparse"))
    matrices = {name for name, value in before.items() if value.ndim > 1 and name != "head.queries.reference_points"}
    changed = 0
    for name in matrices:
        assert bool((after[name][before[name] == 0] == 0).all()), name
        changed += int((after[name] != before[name]).sum())
    assert changed > 100
    assert (tmp_path / "out" / "control_1_0" / "control.safetensors").is_file()
    assert [step["step"] for step in history_of(folder / "sparse.safetensors")] == ["sparse", "tune"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": 0}, "target is 0.0, expected a share"),
        ({"target": 1.5}, "target is 1.5, expected a share"),
        ({"target": "nan"}, "target is nan, expected a share"),
        ({"frames": 0}, "frames is 0, expected at least 1"),
        ({"confidence": -1}, "confidence is -1.0, expected square metres above 0"),
        ({"of": "latency"}, "of is latency, but single zeros save no time"),
        ({"split": "other"}, "other"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    run: Run, capsys: pytest.CaptureFixture[str], options: dict[str, object], said: str
) -> None:
    assert run(**options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]


def test_what_another_network_keeps_is_refused(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--stop-after=solve") == 0
    path = tmp_path / "out/runs/dm3d_0.25_weights_obs_obs/kept.json"
    said = json.loads(path.read_text())
    for change, words in (
        ({"weights": "0" * 64}, "is of weights 0000"),
        ({"kept": said["kept"] | {"neck.output.weight": 10**9}}, "neck.output.weight keeps 1000000000"),
        ({"kept": {}}, "does not say what each"),
    ):
        path.write_text(json.dumps(said | change))
        assert run("--skip", "curves", "solve", "--stop-after", "prune") == 1
        assert words in capsys.readouterr().err
