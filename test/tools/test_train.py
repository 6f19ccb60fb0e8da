"""The training program on a tiny drive: three stages, a file that loads, and one line for bad data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tggbc_ros.backends import SHIPPED_WEIGHTS
from tggbc_ros.core.checkpoint import build_network, load_checkpoint, read_gate_state
from tggbc_ros.core.config import DEMO, DEMO_VIT
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.core.shape import resnet
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.tools import train
from tggbc_ros.training.features import FEATURES_FILE
from tggbc_ros.training.gating import OPEN
from tggbc_ros.training.loop import STATE_FILE
from tggbc_ros.training.weights import NETWORK_FILE

CONFIG = DriveConfig(duration_s=1.0, image_size=(352, 198), range_m=30.0, objects=40, clutter=0.0, supersample=1)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    scenes = [dataset.write_scene(root, 5, number, CONFIG, lambda: None) for number in range(2)]
    dataset.write_tables(root, "v1.0-test", "some", scenes)
    return root


def run(drive: Path, work: Path, stage: str, *more: str) -> int:
    common = ["--data", str(drive), "--split", "some", "--work", str(work), "--steps", "2", "--batch", "2"]
    return train.main([*common, "--stage", stage, *more])


def test_three_stages_hand_on_their_weights(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(drive, tmp_path, "dense") == 0
    assert run(drive, tmp_path, "head", "--begin-from", str(tmp_path / "dense")) == 0
    first, second = StreamPETR(DEMO), StreamPETR(DEMO)
    load_checkpoint(first, tmp_path / "dense" / train.WEIGHTS_FILE)
    load_checkpoint(second, tmp_path / "head" / train.WEIGHTS_FILE)
    assert torch.equal(first.backbone.conv1.weight, second.backbone.conv1.weight)
    assert not torch.equal(first.head.cls_branch[0].weight, second.head.cls_branch[0].weight)
    more = (
        "--begin-from",
        str(tmp_path / "head"),
        "--val-split",
        "some",
        "--prune-final-keep",
        "0.5",
        "--score-steps",
        "1",
    )
    assert run(drive, tmp_path, "joint", *more) == 0
    weights = tmp_path / "joint" / train.WEIGHTS_FILE
    assert weights.stat().st_size < 16 * 2**20
    scores = (tmp_path / "joint" / train.SCORES_FILE).read_text().splitlines()
    assert scores[0].startswith("step,ap,velocity_error_mps,")
    assert [line.split(",")[0] for line in scores[1:]] == ["1", "2"]
    said = capsys.readouterr().out
    assert "keep 1: AP" in said and "keep 0.5: AP" in said


def test_stop_and_resume(drive: Path, tmp_path: Path) -> None:
    assert run(drive, tmp_path, "dense", "--stop-at", "1") == 0
    assert run(drive, tmp_path, "dense", "--resume") == 0
    log = (tmp_path / "dense" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "0", "1"]


def test_a_resumed_head_needs_no_begin_from_to_equal_the_uninterrupted_one(drive: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(drive, whole, "dense") == 0
    begin = "--begin-from", str(whole / "dense")
    assert run(drive, whole, "head", *begin) == 0
    assert run(drive, cut, "head", *begin, "--stop-at", "1") == 0
    assert run(drive, cut, "head", "--resume") == 0
    assert (whole / "head" / FEATURES_FILE).read_bytes() == (cut / "head" / FEATURES_FILE).read_bytes()
    one, other = (torch.load(work / "head" / STATE_FILE, weights_only=True) for work in (whole, cut))
    assert one["step"] == other["step"] == 2
    for part in ("net", "average"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), f"{part} {name}"


def test_an_unknown_val_split_is_told_before_the_first_step(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(drive, tmp_path, "head", "--val-split", "absent") == 2
    assert "'absent'" in capsys.readouterr().err
    assert not (tmp_path / "head").exists()


def test_resume_of_another_models_run_names_its_checkpoint(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dense").mkdir()
    torch.save({"average": {"strange": torch.zeros(1)}}, tmp_path / "dense" / STATE_FILE)
    assert run(drive, tmp_path, "dense", "--resume") == 2
    assert "last.pt does not fit model demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "absent"], "absent"),
        (["--data", "/nonexistent"], "/nonexistent"),
        (["--version", "v1.0-none"], "v1.0-none is not a folder"),
        (["--prune-final-keep", "0"], "prune_final_keep is 0.0"),
        (["--steps", "0"], "steps is 0"),
        (["--resume"], "dense/last.pt to go on from"),
        (["--begin-from", "nothing.safetensors"], "nothing.safetensors"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert run(drive, tmp_path, "dense", *more) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert len(lines) == 1 and message in lines[0]


def test_a_slim_network_is_trained_and_stays_one(drive: Path, tmp_path: Path) -> None:
    """From its file, from the stage's folder, and resumed; its history goes on."""
    shape = resnet("basic", (1, 1, 1, 1), width=8)
    slim = StreamPETR(replace(DEMO, shape=shape))
    file = tmp_path / "slim.safetensors"
    write_network(slim.state_dict(), file, shape, ({"step": "cut"},))
    assert run(drive, tmp_path, "dense", "--begin-from", str(file), "--stop-at", "1") == 0
    assert run(drive, tmp_path, "dense", "--resume") == 0
    assert run(drive, tmp_path, "joint", "--begin-from", str(tmp_path / "dense")) == 0
    tuned = tmp_path / "joint" / train.WEIGHTS_FILE
    assert build_network(DEMO, tuned)[0].model == slim.model
    steps = [(step["step"], step.get("stage")) for step in history_of(tuned)]
    assert steps == [("cut", None), ("tune", "dense"), ("tune", "joint")]


def test_a_slim_network_learns_from_the_one_it_was_cut_from(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = resnet("basic", (1, 1, 1, 1), width=8)
    slim, teacher, stranger = (tmp_path / f"{name}.safetensors" for name in ("slim", "teacher", "stranger"))
    write_network(StreamPETR(replace(DEMO, shape=shape)).state_dict(), slim, shape, ({"step": "cut"},))
    write_network(StreamPETR(DEMO).state_dict(), teacher)
    write_network(StreamPETR(replace(DEMO, embed_dims=64)).state_dict(), stranger)
    begin = ("--begin-from", str(slim))
    assert run(drive, tmp_path, "encoder", *begin, "--distil-from", str(teacher)) == 0
    begun, tuned = (build_network(DEMO, file)[0] for file in (slim, tmp_path / "encoder" / train.WEIGHTS_FILE))
    assert torch.allclose(begun.head.cls_branch[0].weight, tuned.head.cls_branch[0].weight, atol=1e-3)  # as half
    assert not torch.allclose(begun.backbone.conv1.weight, tuned.backbone.conv1.weight, atol=1e-3)
    begin = ("--begin-from", str(tmp_path / "encoder"))
    assert run(drive, tmp_path, "joint", *begin, "--distil-from", str(teacher)) == 0
    columns = (tmp_path / "joint" / "log.csv").read_text().splitlines()[0].split(",")
    assert {"class", "features", "distil_class", "distil_box"} <= set(columns)
    assert run(drive, tmp_path, "encoder", *begin) == 2
    assert run(drive, tmp_path, "head", *begin, "--distil-from", str(teacher)) == 2
    assert run(drive, tmp_path, "encoder", *begin, "--distil-from", str(stranger)) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert "stage encoder has nothing to learn from, expected --distil-from FILE" in said[0]
    assert "but stage head has no teacher, expected one of encoder, gates, joint" in said[1]
    assert f"checkpoint {stranger} does not fit" in said[2]


@pytest.fixture(scope="module")
def demo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("demo") / "teacher.safetensors"
    torch.manual_seed(1)
    write_network(StreamPETR(DEMO).state_dict(), file)
    return file


def test_a_transformer_learns_another_models_features_then_gates(
    drive: Path, tmp_path: Path, demo_weights: Path
) -> None:
    """With its head, from the features of all frames, cached once; gates begun from the folder, stopped, resumed."""
    vit = ("--model", "demo_vit", "--distil-model", "demo", "--distil-from", str(demo_weights))
    assert run(drive, tmp_path, "encoder", *vit) == 0
    dense = tmp_path / "encoder" / train.WEIGHTS_FILE
    teacher, student = build_network(DEMO, demo_weights)[0], build_network(DEMO_VIT, dense)[0]
    half = teacher.head.cls_branch[0].weight.half().float()
    assert torch.equal(student.head.cls_branch[0].weight, half) and not student.backbone.gates
    (cached,) = tmp_path.glob("features_*.npy")
    written = cached.stat().st_mtime_ns
    begin = ("--begin-from", str(tmp_path / "encoder"))
    assert run(drive, tmp_path, "gates", *vit, *begin, "--stop-at", "1") == 0
    assert run(drive, tmp_path, "gates", *vit, "--resume") == 0
    assert cached.stat().st_mtime_ns == written
    gated = tmp_path / "gates" / train.WEIGHTS_FILE
    assert list(build_network(DEMO_VIT, gated)[0].backbone.gates) == list("234567")
    columns = (tmp_path / "gates" / "log.csv").read_text().splitlines()[0].split(",")
    assert {"features", "rate", "tokens"} <= set(columns)
    begin = ("--begin-from", str(gated), "--prune-final-keep", "0.5", "--prune-begin", "0", "--prune-end", "0.1")
    assert run(drive, tmp_path, "joint", *vit, *begin) == 0
    columns = (tmp_path / "joint" / "log.csv").read_text().splitlines()[0].split(",")
    assert {"class", "features", "rate", "tokens"} <= set(columns)


def test_parts_rest_where_asked(drive: Path, tmp_path: Path, demo_weights: Path) -> None:
    torch.manual_seed(2)
    begun = StreamPETR(DEMO_VIT)
    write_network({name: value.half() for name, value in begun.state_dict().items()}, tmp_path / "begun.safetensors")
    vit = ("--model", "demo_vit", "--distil-model", "demo", "--distil-from", str(demo_weights))
    begin = ("--begin-from", str(tmp_path / "begun.safetensors"), "--freeze", "backbone", "neck")
    assert run(drive, tmp_path, "gates", *vit, *begin) == 0
    found = build_network(DEMO_VIT, tmp_path / "gates" / train.WEIGHTS_FILE)[0]
    assert torch.equal(found.backbone.blocks[3].mlp.w1.weight, begun.backbone.blocks[3].mlp.w1.weight.half().float())
    assert torch.equal(found.neck.output.weight, begun.neck.output.weight.half().float())
    assert not torch.equal(found.backbone.gates["7"].mlp.fc2.bias, torch.tensor([OPEN, -OPEN]))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model", "demo"), "stage gates needs a vision transformer, and the backbone is a ResNet"),
        (("--model", "vit_l_800"), "image_size of model vit_l_800 is (320, 800), but (128, 352) of its teacher demo"),
        (("--model", "demo_vit", "--gate-targets", "0.5"), "gate_targets has 1 shares, expected 6"),
        (("--model", "demo_vit", "--gate-targets", "1.5"), "gate_targets has 1.5, expected shares in (0, 1]"),
        (("--model", "demo_vit", "--freeze", "gates", "backbone", "neck"), "leaves nothing of stage gates to learn"),
    ],
)
def test_gates_that_cannot_learn_are_refused(
    drive: Path, tmp_path: Path, demo_weights: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...],
    message: str,
) -> None:  # fmt: skip
    distil = ("--distil-model", "demo", "--distil-from", str(demo_weights))
    assert run(drive, tmp_path, "gates", *distil, *more) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert len(said) == 1 and message in said[0]


def test_a_key_gate_goes_along_and_is_said_to_be_old(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file, from the stage's folder, and resumed."""
    gate = {f"key_gate.{name}": each.half() for name, each in KeyGate(DEMO, 6, 2).state_dict().items()}
    file = tmp_path / "gated.safetensors"
    write_network({**StreamPETR(DEMO).state_dict(), **gate}, file)
    assert run(drive, tmp_path, "dense", "--begin-from", str(file), "--stop-at", "1") == 0
    assert run(drive, tmp_path, "dense", "--resume") == 0
    assert run(drive, tmp_path, "joint", "--begin-from", str(tmp_path / "dense")) == 0
    tuned = tmp_path / "joint" / train.WEIGHTS_FILE
    assert f"{tuned} has the key gate of before the training: fit one anew" in capsys.readouterr().out
    assert all(torch.equal(each, gate[f"key_gate.{name}"]) for name, each in read_gate_state(tuned).items())
    assert run(drive, tmp_path, "joint") == 0
    assert not read_gate_state(tuned)


def test_without_a_source_a_shipped_model_begins_in_the_shape_of_its_weights(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = resnet("basic", (1, 1, 1, 1), width=8)
    write_network(StreamPETR(replace(DEMO, shape=shape)).state_dict(), tmp_path / "shipped.safetensors", shape)
    monkeypatch.setitem(SHIPPED_WEIGHTS, "demo", tmp_path / "shipped.safetensors")
    assert run(drive, tmp_path, "dense") == 0
    assert build_network(DEMO, tmp_path / "dense" / train.WEIGHTS_FILE)[0].model.shape == shape


def test_a_networks_note_that_is_none_is_named(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dense").mkdir()
    for text in ("[]", "{}", '{"shape": {"family": "resnet"}, "history": []}', '{"shape": null, "history": 3}'):
        (tmp_path / "dense" / NETWORK_FILE).write_text(text)
        assert run(drive, tmp_path, "dense", "--resume") == 2
        assert "network.json does not say what a network looks like" in capsys.readouterr().err
