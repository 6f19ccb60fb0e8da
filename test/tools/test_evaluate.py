"""tools.evaluate: one row per ratio from a model, a bag or the ground truth; one line for what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin

from tggbc_ros.core.config import CLASS_NAMES, MODELS, DecodeConfig, PruningConfig
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.passes import load_split
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.evaluation.submission import write_submission
from tggbc_ros.tools import drive, evaluate

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("evaluation", "data")]

from recordings import published, write_recording  # noqa: E402
from ten_classes import SPLIT, write_ten_classes  # noqa: E402
from tiny_model import TINY, tiny_network  # noqa: E402
from tiny_nuscenes import VERSION, edit_table  # noqa: E402

ERRORS = ("mATE", "mASE", "mAOE", "mAVE", "mAAE")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_ten_classes(tmp_path / "data")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, TINY.name, TINY)


def run(root: Path, *arguments: object, split: str = SPLIT) -> int:
    out = root.parent / "out"
    return evaluate.main(["--data", str(root), "--split", split, "--out", str(out), *map(str, arguments)])


def rows(root: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((root.parent / "out" / "results.json").read_text())
    return found


def test_ground_truth_of_a_synthetic_drive_scores_one_in_every_class_it_has(tmp_path: Path) -> None:
    """The generator's data in the devkit, the reader's in ours, and both agree on where everything is."""
    options = "--seconds 3 --scenes 2 --seed 21 --image-size 128 72 --no-sweeps --split s"
    assert drive.main(["make", "--out", str(tmp_path / "drive"), *options.split()]) == 0
    assert run(tmp_path / "drive", "--ground-truth", split="s") == 0
    (row,) = rows(tmp_path / "drive")
    present = [name for name in CLASS_NAMES if row[f"objects_{name}"]]
    assert len(present) >= 6
    assert {name: row[f"AP_{name}"] for name in present} == pytest.approx(dict.fromkeys(present, 1.0), abs=0.01)
    absent = len(CLASS_NAMES) - len(present)
    assert row["mAP"] == pytest.approx(len(present) / len(CLASS_NAMES), abs=0.01)
    assert row["mATE"] == pytest.approx(absent / len(CLASS_NAMES), abs=0.01)
    assert row["mASE"] == pytest.approx(absent / len(CLASS_NAMES), abs=0.01)


def test_ground_truth_of_all_classes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "--ground-truth") == 0
    (row,) = rows(root)
    assert (row["mAP"], row["NDS"]) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01))
    assert not (root.parent / "out" / evaluate.PLOT).exists()
    assert "no ground truth of" not in capsys.readouterr().out


def test_scene_of_one_sample(root: Path) -> None:
    assert run(root, "--ground-truth", split="tail") == 0
    assert rows(root)[0]["mAP"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.usefixtures("tiny")
def test_other_ways_to_prune_have_rows_of_their_own(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ways = ("keep_ratio=0.5", "keep_ratio=0.5 prune_layers=2 prune_reactivate=true", "keep_mode=mass keep_mass=0.5")
    assert run(root, "--model", "tiny", "--allow-random-weights", "--device", "cpu", "--variant", *ways) == 0
    found = rows(root)
    assert [row["variant"] for row in found] == list(ways)
    assert found[0]["keys_mean"] < found[1]["keys_mean"] < found[0]["keys_total"] == 48
    assert ways[1] in capsys.readouterr().out
    modes = ("keep_mode=mass", "keep_mode=budget")
    assert run(root, "--model", "tiny", "--allow-random-weights", "--device", "cpu", "--variant", *modes) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(modes[0])
    assert run(root, "--model", "tiny", "--allow-random-weights", "--variant", "keep=1") == 1
    assert "variant holds 'keep=1'" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
def test_a_key_gate_of_another_rig_is_refused_before_the_first_frame(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_network()
    network.gate = KeyGate(TINY, 5, 8)
    monkeypatch.setattr(evaluate.backends, "load_network", lambda *_: network)
    monkeypatch.setattr(Sweep, "run", lambda *_: pytest.fail("a frame was read"))
    assert run(root, "--model", "tiny", "--variant", "keep_ratio=0.5", "keep_ratio=0.2 start_ratio=0.5") == 1
    said = f"evaluate: split {SPLIT!r} has 6 cameras, and the key gate was fitted on 5: fit one on this rig"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


@pytest.mark.usefixtures("tiny")
def test_model_gives_one_row_per_ratio_with_its_files(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--prune-layers", 2, "--prune-queries", 8, "--device", "cpu", "--max-boxes", 50)
    assert run(root, "--model", "tiny", "--allow-random-weights", "--keep-ratio", 1.0, 0.5, 0.1, *options) == 0
    found = rows(root)
    assert [row["keep_ratio"] for row in found] == [1.0, 0.5, 0.1]
    assert [row["keys_kept"] for row in found] == [48, 24, 5]
    assert all(row["weights"] == "RANDOM" and row["memory"] == "kept" and row["samples"] == 4 for row in found)
    assert all(row["frame_ms"] > row["decoder_ms"] > 0 for row in found)
    assert all(0.0 <= row["mAP"] < 0.2 and set(ERRORS) <= set(row) for row in found)
    out = root.parent / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "accuracy.png", "keep_0.1", "keep_0.5", "keep_1", "results.csv", "results.json",
    ]  # fmt: skip
    submission = json.loads((out / "keep_0.5" / "submission.json").read_text())
    assert {len(entries) for entries in submission["results"].values()} == {50}
    assert len((out / "results.csv").read_text().splitlines()) == 4
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[:4]] == ["keep_ratio", "1.000", "0.500", "0.100"]


@pytest.mark.usefixtures("tiny")
def test_memory_can_be_reset_every_frame(root: Path) -> None:
    options = ("--model", "tiny", "--allow-random-weights", "--keep-ratio", 1.0, "--device", "cpu")
    assert run(root, *options, "--reset-memory-every-frame") == 0
    assert rows(root)[0]["memory"] == "reset every frame"


@pytest.mark.usefixtures("tiny")
def test_sweeps_and_the_interval_of_memory_are_columns(root: Path) -> None:
    options = ("--model", "tiny", "--allow-random-weights", "--keep-ratio", 1.0, "--device", "cpu")
    assert run(root, *options, "--sweeps", "--memory-interval-s", 0.0) == 0
    (row,) = rows(root)
    assert (row["frames"], row["memory_interval_s"], row["samples"]) == ("sweeps", 0.0, 4)
    assert run(root, *options) == 0
    assert (rows(root)[0]["frames"], rows(root)[0]["memory_interval_s"]) == ("keyframes", 0.5)


def test_a_bag_of_the_node_scores_what_the_library_scores(root: Path) -> None:
    """Two passes over the same data in one bag, at two ratios, against the same detections without a bag."""
    split = load_split(NuScenes(root), SPLIT)
    prunings = [PruningConfig(ratio) for ratio in (1.0, 0.3)]
    passes = Sweep(tiny_network(), prunings, DecodeConfig()).run(split, lambda: None)
    logged = [
        entry
        for number, record in enumerate(passes)
        for entry in published(split, record, record.keep_ratio, 1_700_000_000_000_000_000 + number * 60_000_000_000)
    ]
    bag = write_recording(root.parent / "bag", logged, StoragePlugin.SQLITE3)
    assert run(root, "--bag", bag) == 0
    from_bag = rows(root)
    assert [row["keep_ratio"] for row in from_bag] == [1.0, 0.3]
    assert [row["decoder_ms"] for row in from_bag] == [4.0, 4.0]
    assert (root.parent / "out" / evaluate.PLOT).is_file()
    evaluator = Evaluator(root, VERSION, SPLIT)
    for record, row in zip(passes, from_bag, strict=True):
        submission = root.parent / "library.json"
        tokens = [sample.token for sample in split.samples()]
        write_submission(submission, tokens, record.detections, CLASS_NAMES)
        library = evaluator.score(submission, root.parent / "library")
        assert row["mAP"] == pytest.approx(library.mean_ap, abs=1e-9)
        assert row["NDS"] == pytest.approx(library.nds, abs=1e-3)


def no_damage(root: Path) -> None:
    pass


def lose_image(root: Path) -> None:
    next((root / "samples" / "CAM_FRONT").iterdir()).unlink()


def cut_image(root: Path) -> None:
    path = sorted((root / "samples" / "CAM_FRONT").iterdir())[1]
    path.write_bytes(path.read_bytes()[:20])


def break_table(root: Path) -> None:
    path = root / VERSION / "sample_annotation.json"
    path.write_text(path.read_text()[:-5])


def lose_annotations(root: Path) -> None:
    rows, write = edit_table(root, "sample_annotation")
    rows.clear()
    write()


def unknown_class(root: Path) -> None:
    rows, write = edit_table(root, "category")
    rows[0]["name"] = "vehicle.submarine"
    write()


def null_timestamp(root: Path) -> None:
    rows, write = edit_table(root, "sample")
    rows[1]["timestamp"] = None
    write()


def flat_box(root: Path) -> None:
    rows, write = edit_table(root, "sample_annotation")
    rows[0]["size"] = [1, 0, 2]
    write()


BY_FRAME = "keep_mode=budget latency_budget_of=frame"
RANDOM = ("--model", "tiny", "--allow-random-weights", "--keep-ratio", "1.0", "--device", "cpu")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (lose_image, RANDOM, "image of CAM_FRONT named by sample_data CAM_FRONT-"),
        (cut_image, RANDOM, "image of CAM_FRONT at"),
        (break_table, ("--ground-truth",), "sample_annotation.json is not JSON"),
        (lose_annotations, ("--ground-truth",), "sample_annotation.json holds no annotation"),
        (unknown_class, ("--ground-truth",), "is of category 'vehicle.submarine'"),
        (no_damage, ("--ground-truth", "--split", "nothing"), "split is 'nothing', expected one of"),
        (no_damage, ("--ground-truth", "--split", "no_scenes"), "split 'no_scenes' holds no scene"),
        (no_damage, ("--model", "tiny"), "no checkpoint for model tiny"),
        (no_damage, (*RANDOM, "--keep-ratio", "1.5"), "keep_ratio is 1.5, expected a number in (0, 1]"),
        (no_damage, (*RANDOM, "--memory-interval-s", "3"), "interval_s is 3.0, expected in [0, max_gap_s], which is 2"),
        (no_damage, (*RANDOM, "--sweeps", "--split", "tail"), "holds no sweep between keyframes in split 'tail'"),
        (no_damage, ("--bag", "nowhere"), "bag nowhere cannot be read"),
        (null_timestamp, ("--ground-truth",), "sample.json: record scene-0001-1 has timestamp None, expected a whole"),
        (flat_box, ("--ground-truth",), "sample_annotation.json: record scene-0001-car-0 has size [1, 0, 2], expected"),
        (no_damage, (*RANDOM, "--variant", "prune_queries=abc"), "variant holds 'prune_queries=abc', expected"),
        (no_damage, (*RANDOM, "--variant", BY_FRAME, "keep_ratio=1"), "latency_budget_of is frame in 1 of 2 ways"),
    ],
)
def test_bad_data_is_one_line(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    damage(root)
    assert run(root, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evaluate: ")
    assert message in line


def test_a_network_that_answers_nan_is_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "tiny", replace(TINY, mean=(float("nan"),) * 3))
    assert run(root, *RANDOM) == 1
    assert "evaluate: the network's class logits hold NaN or infinity" in capsys.readouterr().err
