"""Checkpoints: official and own ones load whole, and what does not fit is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tggbc_ros.core.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_into,
    read_state_dict,
    sha256,
    to_official,
)
from tggbc_ros.core.config import R50_704
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.official_keys import official_names

TINY = replace(
    R50_704, name="tiny", backbone="resnet18", num_queries=6, num_propagated=3, ffn_dims=32, num_layers=3, num_heads=4
)
HEAD = "pts_bbox_head."
META = {
    "epoch": 24,
    "CLASSES": ("car", "truck"),
    "config": "model = dict()",
    "best": np.float64(0.5),
    "flag": np.bool_(True),
    "losses": np.arange(3, dtype=np.float32),
    "names": np.array(["a", "b"]),
}


def network(seed: int) -> StreamPETR:
    torch.manual_seed(seed)
    return StreamPETR(TINY)


def same_weights(a: StreamPETR, b: StreamPETR) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture(scope="module")
def source() -> StreamPETR:
    return network(1)


@pytest.fixture
def official(source: StreamPETR) -> dict[str, torch.Tensor]:
    return to_official(source)


@pytest.mark.parametrize(("name", "file"), [("r50_704", "state_dict_r50.json"), ("vov_800", "state_dict_vov.json")])
def test_keys_and_shapes_are_the_published_ones(
    name: str, file: str, golden_dir: Path, formula_network: Callable[[str], StreamPETR]
) -> None:
    published = json.loads((golden_dir / file).read_text())["inference"]
    ours = to_official(formula_network(name))
    assert {key: list(value.shape) for key, value in ours.items()} == {k: v["shape"] for k, v in published.items()}


def test_official_names_are_unique_and_cover_every_weight(source: StreamPETR) -> None:
    own = source.state_dict()
    names = official_names(own, TINY.num_layers)
    assert set(names.values()) == set(own)
    branches = sum("cls_branch" in key or "reg_branch" in key for key in own)
    assert len(names) == len(own) + branches * (TINY.num_layers - 1)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
def test_an_official_file_loads(
    wrapped: bool, zipped: bool, source: StreamPETR, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    state: OrderedDict[str, Any] = OrderedDict(official)
    state["img_roi_head.cls.weight"] = torch.ones(10, 256, 1, 1)
    state._metadata = OrderedDict({"pts_bbox_head": {"version": 2}})  # as torch's state_dict() has it
    content = {"meta": META, "state_dict": state, "optimizer": {"state": {0: {"step": 3}}}} if wrapped else state
    torch.save(content, tmp_path / "official.pth", _use_new_zipfile_serialization=zipped)
    target = network(2)
    assert not same_weights(source, target)
    load_checkpoint(target, tmp_path / "official.pth")
    assert same_weights(source, target)


@pytest.mark.parametrize("names", ["official", "own"])
def test_a_safetensors_file_loads(names: str, source: StreamPETR, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    state = to_official(source) if names == "official" else source.state_dict()
    safetensors.save_file({key: value.clone() for key, value in state.items()}, tmp_path / "weights.safetensors")
    target = network(2)
    load_checkpoint(target, tmp_path / "weights.safetensors")
    assert same_weights(source, target)


def test_without_the_safetensors_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors needs .* pip install safetensors"):
        read_state_dict(tmp_path / "weights.safetensors")


def test_our_own_state_dict_loads(source: StreamPETR, tmp_path: Path) -> None:
    torch.save(source.state_dict(), tmp_path / "own.pt")
    target = network(2)
    load_checkpoint(target, tmp_path / "own.pt")
    assert same_weights(source, target)


def test_half_precision_weights_are_widened(source: StreamPETR, official: dict[str, torch.Tensor]) -> None:
    target = network(2)
    load_into(target, {key: value.half() if value.is_floating_point() else value for key, value in official.items()})
    weight = target.head.queries.reference_points
    assert weight.dtype == torch.float32
    assert torch.equal(weight, source.head.queries.reference_points.half().float())


def test_files_written_with_numpy_1_names_load(official: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """NumPy 2 moved numpy.core to numpy._core, and a pickle names the place."""
    torch.save({"meta": META, "state_dict": official}, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "other.pth", "w") as other:
        for entry in new.infolist():
            content = new.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"multiarray" in content
                old, modern = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
                content = content.replace(modern, old) if modern in content else content.replace(old, modern)
            other.writestr(entry, content)
    assert read_state_dict(tmp_path / "other.pth").keys() == official.keys()


def refusal(state: dict[str, torch.Tensor]) -> str:
    """What `load_into` says; the module must be as it was."""
    target, untouched = network(2), network(2)
    with pytest.raises(CheckpointError) as caught:
        load_into(target, state, source="checkpoint x.pth")
    assert same_weights(target, untouched)
    message = str(caught.value)
    assert message.startswith("checkpoint x.pth does not fit model tiny: ")
    return message


def test_missing_unexpected_and_mis_shaped_keys_are_one_error(official: dict[str, torch.Tensor]) -> None:
    del official["img_neck.fpn_convs.0.conv.bias"]
    official["img_neck.fpn_convs.1.conv.bias"] = torch.zeros(256)
    official[HEAD + "reference_points.weight"] = torch.zeros(7, 3)
    message = refusal(official)
    assert "1 missing: img_neck.fpn_convs.0.conv.bias" in message
    assert "1 unexpected: img_neck.fpn_convs.1.conv.bias" in message
    assert "1 mis-shaped: pts_bbox_head.reference_points.weight (7, 3) (expected (6, 3))" in message


def test_a_long_list_is_cut_and_counted(official: dict[str, torch.Tensor]) -> None:
    backbone = [key for key in official if key.startswith("img_backbone.")]
    for key in backbone:
        del official[key]
    message = refusal(official)
    needed = [key for key in backbone if not key.endswith("num_batches_tracked")]
    assert f"{len(needed)} missing: " in message and f" and {len(needed) - 8} more" in message
    assert len(message) < 1000


def test_only_the_auxiliary_head_and_the_pixels_mean_are_ignored(official: dict[str, torch.Tensor]) -> None:
    official["img_roi_head.ltrb.bias"] = torch.zeros(4)
    official["data_preprocessor.mean"] = torch.zeros(3, 1, 1)
    load_into(network(2), official)
    official["img_roi_tail.ltrb.bias"] = torch.zeros(4)
    assert "1 unexpected: img_roi_tail.ltrb.bias" in refusal(official)


@pytest.mark.parametrize("kind", ["cls", "reg"])
def test_branches_that_differ_between_layers_are_refused(kind: str, official: dict[str, torch.Tensor]) -> None:
    key = f"{HEAD}{kind}_branches.2.0.weight"
    official[key] = official[key] + 1e-3
    message = refusal(official)
    assert "1 unlike the first layer's" in message and key in message


def test_every_copy_of_a_branch_must_be_there(official: dict[str, torch.Tensor]) -> None:
    del official[HEAD + "reg_branches.1.4.bias"]
    assert "1 missing: pts_bbox_head.reg_branches.1.4.bias" in refusal(official)


@pytest.mark.parametrize("constant", ["pc_range", "position_range", "coords_d"])
def test_constants_must_be_the_configurations(constant: str, official: dict[str, torch.Tensor]) -> None:
    shift = torch.zeros_like(official[HEAD + constant])
    shift[-1] = 0.5
    official[HEAD + constant] = official[HEAD + constant] + shift
    message = refusal(official)
    at, value = len(shift) - 1, float(official[HEAD + constant][-1])
    assert (
        f"pts_bbox_head.{constant}[{at}] is {value:.6g}, but the model's configuration says {value - 0.5:.6g}"
        in message
    )
    del official[HEAD + constant]
    assert f"1 missing: pts_bbox_head.{constant}" in refusal(official)


@pytest.mark.parametrize("constant", ["code_weights", "match_costs"])
def test_how_the_loss_was_weighed_does_not_matter_but_its_shape_does(
    constant: str, official: dict[str, torch.Tensor], source: StreamPETR
) -> None:
    official[HEAD + constant] = torch.full((10,), 0.25)
    target = network(seed=7)
    load_into(target, official)
    assert same_weights(target, source)
    official[HEAD + constant] = torch.ones(9)
    assert f"pts_bbox_head.{constant}" in refusal(official)


def test_depth_bins_are_the_published_ones(official: dict[str, torch.Tensor]) -> None:
    bins = official[HEAD + "coords_d"].numpy()
    index = np.arange(64)
    np.testing.assert_allclose(bins, 1 + (61.2 - 1) / (64 * 65) * index * (index + 1), rtol=1e-5)


def test_weights_that_are_not_finite_are_refused(official: dict[str, torch.Tensor]) -> None:
    official[HEAD + "time_embedding.0.bias"] = torch.full((256,), float("nan"))
    assert "1 with NaN or infinity: pts_bbox_head.time_embedding.0.bias" in refusal(official)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(kind: torch.dtype, official: dict[str, torch.Tensor]) -> None:
    name = "pts_bbox_head.time_embedding.0.bias"
    official[name] = official[name].to(kind)
    assert f"1 not of real numbers: {name} ({str(kind).removeprefix('torch.')})" in refusal(official)


def test_variances_below_zero_are_refused(official: dict[str, torch.Tensor]) -> None:
    official["img_backbone.bn1.running_var"] = torch.full((64,), -1e-3)
    assert "1 with variances below 0: img_backbone.bn1.running_var" in refusal(official)


def test_what_has_another_shape_is_not_looked_into(official: dict[str, torch.Tensor]) -> None:
    """A tensor may be as large as a disk, and its pages are read by whoever looks at its numbers."""
    official["pts_bbox_head.time_embedding.0.bias"] = torch.empty(1 << 50, device="meta")
    assert "1 mis-shaped: pts_bbox_head.time_embedding.0.bias (1125899906842624,)" in refusal(official)


def test_prefixes_and_a_missing_count_of_batches_do_not_matter(
    source: StreamPETR, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    counted = {key for key in official if key.endswith("num_batches_tracked")}
    assert counted
    state = {f"module.model.{key}": value for key, value in official.items() if key not in counted}
    torch.save({"model": {"module": state}, "epoch": 24}, tmp_path / "wrapped.pth")
    target = network(2)
    load_checkpoint(target, tmp_path / "wrapped.pth")
    assert all(
        torch.equal(value, target.state_dict()[name])
        for name, value in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )


def test_strangers_are_refused_behind_prefixes_too(official: dict[str, torch.Tensor]) -> None:
    state = {f"module.{key}": value for key, value in official.items()}
    assert "1 unexpected: pts_bbox_head.x" in refusal({**state, "module.pts_bbox_head.x": torch.zeros(3)})
    assert "1 unexpected: ema_unlike_any" in refusal({**state, "module.ema_unlike_any": torch.zeros(3)})
    twice = {**official, **{f"ema.{key}": value for key, value in official.items()}}
    with pytest.raises(CheckpointError, match=r"^checkpoint x.pth holds weights as … and ema.…; save a file"):
        load_into(network(2), twice, source="checkpoint x.pth")


def test_an_own_state_dict_is_judged_by_own_names(source: StreamPETR) -> None:
    state = dict(source.state_dict())
    del state["neck.output.bias"]
    assert "1 missing: neck.output.bias" in refusal(state)


class RunsOnLoading:
    """A pickle that would make a file when loaded the unsafe way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o700)


def test_nothing_in_a_checkpoint_is_executed(official: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file, trace = tmp_path / "evil.pth", tmp_path / "executed"
    torch.save({"state_dict": official, "meta": RunsOnLoading(trace)}, file)
    with pytest.raises(CheckpointError, match=r"evil\.pth is refused: loading it would call \w+\.mkdir"):
        read_state_dict(file)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_cut_short_is_one_error_with_its_path(
    share: float, suffix: str, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / f"weights{suffix}"
    small = {key: value.clone() for key, value in official.items() if value.numel() < 1000}
    if suffix == ".pth":
        torch.save({"meta": META, "state_dict": small}, file)
    else:
        safetensors.save_file(small, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=rf"{file.name} is damaged or not a "):
        read_state_dict(file)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_changed_bytes_never_end_in_anything_but_a_checkpoint_error(zipped: bool, tmp_path: Path) -> None:
    file = tmp_path / "changed.pth"
    state = {"meta": META, "state_dict": {"a": torch.ones(3), "b": torch.ones(2, 2)}}
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    content, generator = file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        for place in generator.integers(0, len(content), 6):
            changed[place] = generator.integers(0, 256)
        file.write_bytes(changed)
        try:
            read_state_dict(file)
        except CheckpointError as error:
            assert str(file) in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged or not a checkpoint"),
        (b"just some text\n" * 50, "is damaged or not a checkpoint"),
        (b"PK\x03\x04" + bytes(100), "is damaged or not a checkpoint"),
        ([torch.ones(2)], "holds a list, expected a state dict"),
        (torch.ones(2), "holds a Tensor, expected a state dict"),
        ({"state_dict": {}}, "holds nothing, expected tensors"),
        ({"state_dict": {"a": 1, "b": torch.ones(2)}}, r"holds a \(int\), expected tensors"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_one_error_with_its_path(content: Any, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=rf"file\.pth {reason}"):
        read_state_dict(file)


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth does not exist"):
        read_state_dict(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_state_dict(tmp_path)


def test_sha256_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes((1 << 20) + 17)
    (tmp_path / "weights.pth").write_bytes(content)
    assert sha256(tmp_path / "weights.pth") == hashlib.sha256(content).hexdigest()
