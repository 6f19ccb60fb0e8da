"""wrappings: what is around weights comes off where its meaning is certain, and is named where it is not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tggbc_ros.core.checkpoint import CheckpointError, read_state_dict
from tggbc_ros.core.wrappings import bare, weights_in, with_shared

W = {"img_backbone.conv1.weight": torch.ones(2), "pts_bbox_head.pc_range": torch.zeros(6)}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in W.items()}


@pytest.mark.parametrize(
    "content",
    [
        W,
        {"state_dict": W, "meta": {}},
        {"state_dict": W, "ema_state_dict": prefixed("module."), "optimizer": {"state": {0: {"m": torch.ones(2)}}}},
        {"model": W, "epoch": 24, "best": torch.tensor(0.4)},
        {"model_state_dict": W, "optimizer_state_dict": {"state": {}}},
        {"ema": W},
        {"ema": {"module": W, "updates": 7}},
        {"model_ema": W, "args": {"lr": 0.1}},
        {"epoch": 3, "model": {"state_dict": W}},
        {"model": {"module": {"state_dict": W}}},
    ],
)  # fmt: skip
def test_the_one_state_dict_of_a_training_loop(content: dict[str, Any]) -> None:
    assert weights_in(content) is W


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": W, "ema": W}, "holds weights as model and ema; save a file with the one that is meant"),
        ({"net": W, "model_ema": {"module": W}, "params": W}, "as net, params and model_ema"),
    ],
)
def test_of_several_none_is_chosen(content: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        weights_in(content)


@pytest.mark.parametrize("content", [{"optimizer": W}, {"model": {"lr": 0.1}}, {"model": W, "head.x": torch.ones(2)}])
def test_what_is_no_wrapper_stays(content: dict[str, Any]) -> None:
    assert weights_in(content) is content


@pytest.mark.parametrize(
    "state",
    [
        W,
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("model."),
        prefixed("module.model."),
        prefixed("ema_model.module."),
        prefixed("student."),
        {**prefixed("module."), "n_averaged": torch.tensor(3)},
        {**prefixed("module."), "steps": torch.tensor(3)},
        {**W, "data_preprocessor.mean": torch.zeros(3), "img_roi_head.x": torch.zeros(3)},
        {**prefixed("module."), "module.data_preprocessor.std": torch.zeros(3)},
        {**prefixed("module."), "data_preprocessor.std": torch.zeros(3)},
        {**W, "ema_img_backbone_conv1_weight": torch.ones(2)},
        {**prefixed("module."), "module.ema_img_backbone_conv1_weight": torch.ones(2)},
        {f"{key.split('.')[0]}._orig_mod.{key.split('.', 1)[1]}": value for key, value in W.items()},
        {f"{key.split('.')[0]}._checkpoint_wrapped_module.{key.split('.', 1)[1]}": value for key, value in W.items()},
    ],
)
def test_prefixes_and_what_is_no_weight_come_off(state: dict[str, torch.Tensor]) -> None:
    found = bare(state)
    assert found.keys() == W.keys()
    assert all(found[key] is W[key] for key in W)


@pytest.mark.parametrize("stranger", ["unknown", "ema_unknown", "data_processor.mean", "pts_bbox_head.unknown.weight"])
def test_strangers_stay_to_be_refused(stranger: str) -> None:
    assert stranger in bare({**W, stranger: torch.zeros(3)})
    assert stranger in bare({**prefixed("module."), f"module.{stranger}": torch.zeros(3)})


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({**prefixed("model."), **prefixed("model_ema.")}, "holds weights as model.… and model_ema.…; save"),
        ({**prefixed("student."), **prefixed("teacher.")}, "as student.… and teacher.…"),
        ({**W, **prefixed("ema.")}, "as … and ema.…"),
        ({**W, **prefixed("module.")}, "holds img_backbone.conv1.weight twice, one of them as module.img_backbone"),
    ],
)
def test_two_networks_in_one_are_refused(state: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bare(state)


def test_own_names_have_prefixes_too() -> None:
    own = {"backbone.stem.weight": torch.ones(2), "head.position.encoder.0.weight": torch.ones(2)}
    assert bare({f"module.{key}": value for key, value in own.items()}).keys() == own.keys()


def test_tensors_that_safetensors_keeps_once_come_back() -> None:
    state = with_shared(
        {"a.0": W["pts_bbox_head.pc_range"], "b": torch.ones(1)}, {"a.1": "a.0", "format": "pt", "b": "a.0"}
    )
    assert sorted(state) == ["a.0", "a.1", "b"]
    assert state["a.1"] is state["a.0"] and state["b"] is not state["a.0"]


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty; copy or download it again"),
        (b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>", "it is a web page"),
        (b"\xef\xbb\xbf\n <html lang=de>", "it is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "a pointer of Git LFS.*git lfs pull"),
        (b"/annex/objects/SHA256E-s9--4d.pth\n", "a pointer of git-annex.*git annex get"),
        (b'{"error": "quota exceeded"}', "it is JSON, not weights, and begins"),
        (b"Not Found: no such release\n", "it is text, and begins 'Not Found: no such release'"),
        (b"\x1f\x8b\x08\x00" + bytes(64), "it is packed by gzip; unpack it"),
        (archive(weights__pth=b"x"), "a zip archive around weights.pth; unpack it"),
        (archive(arr_0__npy=b"x", b=b"y"), "it is a zip archive of arr_0.npy, b, and no checkpoint"),
        (archive(constants__pkl=b"x", data__pkl=b"y"), "TorchScript program; save its state_dict"),
    ],
)
def test_what_is_no_checkpoint_is_named_with_the_way_out(
    content: bytes, words: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"weights\{suffix} is damaged or not a checkpoint: .*{words}") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_a_link_to_what_was_not_fetched_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").symlink_to(".git/annex/objects/x")
    with pytest.raises(
        CheckpointError, match=r"is a link to \.git/annex/objects/x, which does not exist; git annex get"
    ):
        read_state_dict(tmp_path / "weights.pth")


def test_a_file_is_known_by_its_bytes_whatever_its_name(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(W, tmp_path / "a.pth")
    torch.save(W, tmp_path / "b.safetensors")
    torch.save(W, tmp_path / "c.safetensors", _use_new_zipfile_serialization=False)
    for name in ("a.pth", "b.safetensors", "c.safetensors"):
        assert read_state_dict(tmp_path / name).keys() == W.keys()


def test_a_model_that_safetensors_saved_with_its_shared_tensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2)})
    model["b"] = model["a"]
    safetensors.save_model(model, str(tmp_path / "w.safetensors"))
    state = read_state_dict(tmp_path / "w.safetensors")
    assert state.keys() == model.state_dict().keys()
    assert torch.equal(state["b.weight"], model["a"].weight)
