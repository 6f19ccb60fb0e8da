"""Networks as files: a shape in the metadata is what is built, and one that cannot be is refused before anything is."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import TINY

from tggbc_ros.core import checkpoint, network_file
from tggbc_ros.core.checkpoint import CheckpointError, build_network, fitting
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import HISTORY_KEY, SHAPE_KEY, history_of, write_network
from tggbc_ros.core.shape import PRESETS, ResNetShape, Shape, Stage, resnet, to_json

SLIM = ResNetShape(
    "basic", 12, (Stage(12, ((5,), None)), Stage(14, (None, (9,))), Stage(10, ((3,),)), Stage(8, ((7,),)))
)
HISTORY = ({"step": "cut", "kept": 0.55}, {"step": "tune", "steps": 100})


pytestmark = pytest.mark.usefixtures("one_thread")


def network(shape: Shape | None = SLIM) -> StreamPETR:
    torch.manual_seed(3)
    return StreamPETR(replace(TINY, shape=shape))


@pytest.fixture(scope="module")
def slim() -> StreamPETR:
    return network()


def save(module: StreamPETR, path: Path, metadata: dict[str, str] | None = None) -> Path:
    from safetensors.torch import save_file

    save_file(module.state_dict(), path, metadata)
    return path


def never(*_: object) -> StreamPETR:
    raise AssertionError("a network was allocated")


def test_a_slim_file_is_built_as_it_says_whatever_shape_its_name_has(slim: StreamPETR, tmp_path: Path) -> None:
    path = tmp_path / "slim.safetensors"
    write_network(slim.state_dict(), path, SLIM, HISTORY)
    module, name = build_network(TINY, path)
    assert module.model == replace(TINY, shape=SLIM) and name.startswith("slim.safetensors sha256:")
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in slim.state_dict().items())
    assert history_of(path) == HISTORY


def test_a_file_of_the_usual_shape_is_the_usual_model(tmp_path: Path) -> None:
    usual = network(None)
    write_network(usual.state_dict(), tmp_path / "told.safetensors", PRESETS[TINY.backbone])
    write_network(usual.state_dict(), tmp_path / "untold.safetensors")
    torch.save(usual.state_dict(), tmp_path / "torch.pth")
    for name in ("told.safetensors", "untold.safetensors", "torch.pth"):
        module, _ = build_network(TINY, tmp_path / name)
        assert module.model == TINY and history_of(tmp_path / name) == ()
        assert torch.equal(module.backbone.conv1.weight, usual.backbone.conv1.weight)
    bare = save(usual, tmp_path / "bare.safetensors")
    assert bare.read_bytes() == (tmp_path / "untold.safetensors").read_bytes()  # as such files always were


def refusal(path: Path, monkeypatch: pytest.MonkeyPatch, model: ModelConfig = TINY) -> str:
    monkeypatch.setattr(checkpoint, "StreamPETR", never)
    with pytest.raises(CheckpointError) as caught:
        build_network(model, path)
    message = str(caught.value)
    assert message.startswith(f"checkpoint {path} does not fit model {model.name}: its shape: ")
    assert "\n" not in message and len(message) < 700
    return message.partition("its shape: ")[2]


def with_stage(number: int, **changes: object) -> str:
    said = dataclasses.asdict(SLIM)
    said["stages"][number].update(changes)
    return json.dumps(said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_stage(2, trunk=-10), "trunk is -10, expected a whole number of channels from 1 to 4096"),
        (with_stage(2, trunk=10**12), "trunk is 1000000000000, expected"),
        (with_stage(2, trunk="10"), "trunk is '10'"),
        (with_stage(3, blocks=[[7]] * 65), "expected 1 to 48 blocks"),
        ("[" * 40000, "shape is no JSON"),
        ("import os", "shape is no JSON"),
        (to_json(PRESETS["vovnet99"]), "it is of a vovnet, expected one of a resnet18_half"),
        (to_json(PRESETS["resnet50"]), "it is of a resnet, expected one of a resnet18_half"),
        (
            with_stage(2, trunk=4096, blocks=[[4096]] * 48),
            "the file's tensors are not of it: backbone.layer3.0.bn1.bias",
        ),
        (
            with_stage(2, trunk=11),
            "the file's tensors are not of it: backbone.layer3.0.bn2.bias (10,) (expected (11,))",
        ),
        (with_stage(0, blocks=[[5], [5]]), "backbone.layer1.1.bn1.bias is missing (expected (5,))"),
        (with_stage(3, blocks=[None]), "backbone.layer4.0.bn1.bias (7,) (expected none)"),
        (to_json(replace(SLIM, constants=True)), "backbone.layer1.0.conv1.border is missing"),
        (to_json(resnet("basic", (2, 2, 2, 2), 32)), "the file's tensors are not of it"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_before_anything_is_built(
    text: str, message: str, slim: StreamPETR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(slim, tmp_path / "odd.safetensors", {SHAPE_KEY: text})
    assert message in refusal(path, monkeypatch)


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    """Tensors as large as their shape says, in a header alone."""
    huge = replace(SLIM, stages=(*SLIM.stages[:3], Stage(4096, ((4096,),) * 48)))
    header: dict[str, object] = {"__metadata__": {SHAPE_KEY: to_json(huge)}}
    header["backbone.layer4.0.conv1.weight"] = {"dtype": "F32", "shape": [4096, 10, 3, 3], "data_offsets": [0, 1474560]}
    text = json.dumps(header).encode()
    path = tmp_path / "promises.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CheckpointError, match=r"promises\.safetensors is damaged or not a safetensors file"):
        build_network(TINY, path)


@pytest.mark.parametrize("text", ["{}", "[1]", "[" * 40000, "nothing", '[{"a": 1}, "b"]', " " * (1 << 20) + "[]"])
def test_a_history_that_is_none_is_named_but_stops_no_network(text: str, slim: StreamPETR, tmp_path: Path) -> None:
    path = save(slim, tmp_path / "odd.safetensors", {SHAPE_KEY: to_json(SLIM), HISTORY_KEY: text})
    with pytest.raises(ValueError, match=r"odd\.safetensors has no history, but ") as caught:
        history_of(path)
    assert len(str(caught.value)) < 250 + len(str(path))
    assert build_network(TINY, path)[0].model.shape == SLIM


def test_a_file_that_is_damaged_or_missing_says_no_shape(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    for path in (tmp_path / "cut.safetensors", tmp_path / "none.safetensors", tmp_path):
        assert fitting(TINY, path) == TINY and history_of(path) == ()


def test_writing_is_whole_or_not_at_all(slim: StreamPETR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "slim.safetensors"
    write_network(slim.state_dict(), path, SLIM)
    before = path.read_bytes()

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(network_file.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_network(network(None).state_dict(), path)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_what_the_library_says_of_a_disk_is_an_os_error_with_the_path(
    slim: StreamPETR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def full(*_: object) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match=r"cannot write .*slim\.safetensors: I/O error: No space left"):
        write_network(slim.state_dict(), tmp_path / "slim.safetensors", SLIM)


def test_counters_of_training_steps_may_be_missing(slim: StreamPETR, tmp_path: Path) -> None:
    state = {name: value for name, value in slim.state_dict().items() if not name.endswith("num_batches_tracked")}
    write_network(state, tmp_path / "slim.safetensors", SLIM)
    assert build_network(TINY, tmp_path / "slim.safetensors")[0].model.shape == SLIM


def test_official_names_load_as_ever_into_the_usual_shape(tmp_path: Path) -> None:
    usual = network(None)
    torch.save({"state_dict": checkpoint.to_official(usual)}, tmp_path / "official.pth")
    module, _ = build_network(TINY, tmp_path / "official.pth")
    assert torch.equal(module.backbone.layer4[1].conv2.weight, usual.backbone.layer4[1].conv2.weight)
