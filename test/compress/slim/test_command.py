"""tools.compress slim on a tiny network and a tiny drive: all stages, what the next call repeats, what is refused."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_latency import made_table
from tiny_model import TINY

from tggbc_ros import backends
from tggbc_ros.compress import layout
from tggbc_ros.compress.latency import write_table
from tggbc_ros.compress.slim import finding, finishing
from tggbc_ros.core.checkpoint import GATE_PREFIX, build_network, read_gate_state
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.core.shape import resnet
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.tools.compress import main

SMALL = replace(TINY, backbone="resnet18", shape=resnet("basic", (1, 2, 1, 1), width=16))
DRIVE = DriveConfig(duration_s=1.5, image_size=(128, 72), range_m=30.0, objects=40, clutter=0.0, supersample=1)

pytestmark = pytest.mark.usefixtures("one_thread")

Run = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    scenes = [dataset.write_scene(root, 5, number, DRIVE, lambda: None) for number in range(3)]
    dataset.write_tables(root, "v1.0-test", "some", scenes)
    return root


@pytest.fixture
def run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command; a keyword replaces or adds an option."""
    monkeypatch.setitem(MODELS, SMALL.name, SMALL)
    checkpoint, table = tmp_path / "dense.safetensors", tmp_path / "table.json"
    torch.manual_seed(0)
    gate = {f"{GATE_PREFIX}{name}": each for name, each in KeyGate(SMALL, 6, 4).state_dict().items()}
    write_network(build_network(SMALL, None)[0].state_dict() | gate, checkpoint)
    write_table(made_table(SMALL), table)

    def call(*more: str, **options: object) -> int:
        given: dict[str, object] = {
            "model": SMALL.name,
            "checkpoint": checkpoint,
            "data": data,
            "split": "some",
            "val_split": "some",
            "budget": 0.6,
            "latency_table": table,
            "out": tmp_path / "out",
            "batches": 2,
            "batch": 2,
            "repeats": 2,
            "norm_frames": 2,
            "device": "cpu",
        }
        words = [
            f"--{name.replace('_', '-')}={value}" for name, value in (given | options).items() if value is not None
        ]
        return main(["slim", *words, *more])

    return call


def done(said: str) -> list[str]:
    """What was made, by the lines of a call."""
    lines = [line for line in said.splitlines() if ": " in line and not line.startswith("all")]
    return [line.partition(":")[0] for line in lines if not re.search("made (before|anew)", line)]


def test_one_command_makes_a_slim_network_that_runs_and_says_what_it_came_to(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    out = tmp_path / "out"
    slim = out / "runs" / "mdp_0.6" / "slim.safetensors"
    network = backends.load_network("torch", SMALL, slim, "cpu")
    shape = network.model.shape
    assert shape is not None and shape != SMALL.shape
    assert network.gate is not None
    assert [step["step"] for step in history_of(slim)] == ["cut", "norms"]
    assert history_of(slim)[0]["budget"] == 0.6
    report = json.loads((out / "report.json").read_text())
    (row,) = report["runs"]
    assert row["predicted_share"] <= 0.6
    assert row["against"] == "dense" and row["mAP"] is not None and row["share"] > 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "http" not in page.replace("http://www.w3.org", "")
    said = capsys.readouterr().out
    assert set(done(said)) == {
        "score",
        *(f"mdp_0.6/{stage}" for stage in ("solve", "cut", "tune", "time", "accuracy")),
        "dense/accuracy",
        "report",
    }
    assert said.splitlines()[-1].startswith("all ")
    assert run() == 0
    assert done(capsys.readouterr().out) == []


def test_a_judge_in_int8_scores_exports_of_the_dense_and_of_the_slim_network(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(judge="openvino_int8") == 0
    made = done(capsys.readouterr().out)
    assert {"dense/int8", "mdp_0.6/int8", "dense/accuracy", "mdp_0.6/accuracy"} <= set(made)
    accuracy = json.loads((tmp_path / "out" / "runs" / "mdp_0.6" / "accuracy.json").read_text())
    assert accuracy["backend"] == "openvino_int8"
    assert run(judge="openvino_int8") == 0
    assert done(capsys.readouterr().out) == []


def test_another_budget_repeats_only_what_follows_from_it_and_both_are_reported(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    before = (tmp_path / "out" / "runs" / "mdp_0.6" / "slim.safetensors").read_bytes()
    capsys.readouterr()
    assert run(budget=0.8, method="uniform") == 0
    stages = [f"uniform_0.8/{stage}" for stage in ("solve", "cut", "tune", "time", "accuracy")]
    assert done(capsys.readouterr().out) == [*stages, "report"]
    assert (tmp_path / "out" / "runs" / "mdp_0.6" / "slim.safetensors").read_bytes() == before
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["run"] for row in report["runs"]] == ["mdp_0.6", "uniform_0.8"]
    assert run(seed=1) == 0
    said = capsys.readouterr().out
    assert "score: made anew, as seed is 1 (was 0)" in said
    assert "mdp_0.6/solve: made anew, as scores changed" in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["run"] for row in report["runs"]] == ["mdp_0.6"]
    assert report["left_out"] == ["uniform_0.8 rests on another scores"]


def test_tuning_comes_with_a_control_of_the_same_steps_which_the_next_budget_shares(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--steps", "1", "--joint-steps", "2", "--tune-batch", "2") == 0
    out = tmp_path / "out"
    for file in (out / "runs" / "mdp_0.6" / "slim.safetensors", out / "control_2_0" / "control.safetensors"):
        assert history_of(file)[-1]["joint"] == 2
        assert read_gate_state(file)
    (row,) = json.loads((out / "report.json").read_text())["runs"]
    assert row["against"] == "control" and row["mAP_change"] is not None
    capsys.readouterr()
    assert run("--steps", "1", "--joint-steps", "2", "--tune-batch", "2", budget=0.8) == 0
    assert not [name for name in done(capsys.readouterr().out) if name.startswith("control")]
    assert run("--skip", "tune") == 0
    assert "mdp_0.6/tune: made anew, as " in capsys.readouterr().out
    assert [step["step"] for step in history_of(out / "runs" / "mdp_0.6" / "slim.safetensors")] == ["cut", "norms"]


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name", "stage", "error"),
    [
        (finding, "score_split", "score", KeyboardInterrupt()),
        (finding, "write_scores", "score", FULL),
        (finding, "choose", "mdp_0.6/solve", KeyboardInterrupt()),
        (finding, "write_cut", "mdp_0.6/cut", FULL),
        (finishing, "with_new_norms", "mdp_0.6/tune", KeyboardInterrupt()),
        (finishing, "write_json", "mdp_0.6/time", FULL),
    ],
)
def test_whatever_stops_a_stage_takes_one_line_and_the_next_call_goes_on(
    run: Run,
    module: object,
    name: str,
    stage: str,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(module, name, stop)
        assert run(val_split=None) == (130 if isinstance(error, KeyboardInterrupt) else 1)
    told = capsys.readouterr()
    assert told.err.splitlines()[-1].startswith("compress: ")
    assert "Traceback" not in told.err
    assert run(val_split=None) == 0
    again = done(capsys.readouterr().out)
    assert again[0] == stage


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0.001}, "budget 0.001 of the dense encoder's .* cannot be met: the least reachable share is 0."),
        ({"budget": "nan"}, r"budget is nan, expected a share of the dense encoder's time in \(0, 1\]"),
        ({"batches": 0}, "batches is 0, expected at least 1"),
        ({"data": "/nowhere"}, "nowhere"),
        ({"split": "none"}, "none"),
        ({"val_split": "none"}, "none"),
        ({"checkpoint": "/none.safetensors"}, "checkpoint /none.safetensors does not exist"),
        ({"latency_table": "/none.json"}, "No such file or directory: '/none.json'"),
        ({"engine": "openvino"}, "was measured elsewhere: engine is torch, expected openvino"),
        ({"model": "demo"}, "does not fit model demo"),
    ],
)
def test_bad_input_takes_one_line(
    run: Run, options: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(**options) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("compress: ")
    assert re.search(words, error), error


def test_stages_that_are_skipped_go_on_with_what_lies_there(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--stop-after", "solve") == 0
    widths = tmp_path / "out" / "runs" / "mdp_0.6" / "widths.json"
    content = json.loads(widths.read_text())
    group = "layer2"
    content["kept"][group] = content["kept"][group][:1]
    widths.write_text(json.dumps(content))
    assert run("--stop-after", "cut") == 1
    assert "widths.json is not as mdp_0.6/solve left it" in capsys.readouterr().err
    assert run("--stop-after", "cut", "--skip", "solve") == 0
    small = backends.load_network("torch", SMALL, widths.with_name("cut.safetensors"), "cpu").model.shape
    assert small is not None and layout.widths(small)[group] == 1
    assert run("--skip", "cut", budget=0.7) == 1
    assert "mdp_0.7/cut is to be skipped, but there is no" in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_left_alone(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.json").write_text("mine")
    assert run() == 1
    assert "scores.json exists, and " in capsys.readouterr().err
    assert (tmp_path / "out" / "scores.json").read_text() == "mine"
