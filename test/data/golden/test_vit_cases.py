"""Cases of vision transformers of other salts, widths, windows and sizes than the shipped ones; and ones that differ.

What is recorded here is computed the published way, with padding, not by what is compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.padded_windows import padded_block
from tggbc_ros.data.golden.cases import AnyArray, read_golden
from tggbc_ros.data.golden.vit_cases import check_vit, vit_network
from tggbc_ros.data.golden.vit_weights import vit_input
from tggbc_ros.tools.golden import main

pytestmark = pytest.mark.usefixtures("one_thread")

CFG = {
    "patch_size": 16,
    "in_chans": 3,
    "mlp_ratio": 8 / 3,
    "qkv_bias": True,
    "img_size": 112,
    "embed_dim": 96,
    "depth": 3,
    "num_heads": 6,
    "window_size": 3,
    "global_window_size": 7,
    "window_block_indexes": [0, 2],
    "sim_fpn": {"scale_factors": [4, 2, 1, 0.5, 0.25], "in_channels": 96, "out_channels": 8},
}
CASES = [{"name": "wide", "image": [1, 3, 64, 256], "seed": 9}]
META: dict[str, Any] = {"cfg": CFG, "neck_out": 8, "salt": "other|", "cases": CASES}
GATED = {"cfg": CFG, "salt": "other|", "image": [2, 3, 112, 112], "seed": 4, "gated": [1, 2]}


def write(path: Path, arrays: dict[str, AnyArray], meta: dict[str, Any]) -> Path:
    np.savez(path, **arrays, meta=json.dumps(meta))
    return path


@torch.inference_mode()
def record(path: Path, meta: dict[str, Any]) -> dict[str, AnyArray]:
    """The last map of the case ``wide``, with padded windows."""
    backbone = vit_network(read_golden(write(path, {}, meta)))
    (case,) = meta["cases"]
    x = backbone.embed(torch.from_numpy(vit_input("eva.image", tuple(case["image"]), case["seed"])))
    for index, block in enumerate(backbone.blocks):
        x = padded_block(block, x, backbone.shape.side(index), backbone.shape)
    arrays: dict[str, AnyArray] = {"wide.out.last": x.permute(0, 3, 1, 2).numpy()}
    for place, scale in enumerate(meta["cfg"]["sim_fpn"]["scale_factors"]):
        arrays[f"wide.out.pyramid.{place}"] = np.zeros((1, 8, int(4 * scale), int(16 * scale)), np.float32)
    write(path, arrays, meta)
    return arrays


def test_other_salts_widths_windows_and_sizes_work_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    record(path, META)
    checks, left_out = check_vit(read_golden(path))
    errors = {check.output: check.error for check in checks}
    assert errors["wide.out.last"] < 1e-4
    assert left_out == []
    assert all(np.isfinite(errors[f"wide.out.pyramid.{place}"]) for place in range(5))  # shapes of five scales


@pytest.mark.parametrize(
    "change",
    [
        {"salt": ""},
        {"cfg": CFG | {"num_heads": 8}},
        {"cfg": CFG | {"window_size": 4}},
        {"cfg": CFG | {"window_block_indexes": [0, 1, 2]}},
        {"cases": [CASES[0] | {"seed": 10}]},
    ],
    ids=["salt", "heads", "window", "layout", "seed"],
)
def test_another_network_than_recorded_misses(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    arrays = record(path, META)
    write(path, arrays, META | change)
    (check,) = (check for check in check_vit(read_golden(path))[0] if check.output == "wide.out.last")
    assert not check.passed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mlp_ratio": 4.0}, "mlp_ratio 4.0"),
        ({"qkv_bias": False}, "qkv_bias False"),
        ({"global_window_size": 5}, "global_window_size 5"),
        ({"in_chans": 1}, "in_chans 1"),
        ({"sim_fpn": CFG["sim_fpn"] | {"scale_factors": [8]}}, "scale_factors has 8, expected 4, 2, 1"),
    ],
)
def test_a_network_that_there_is_not_is_no_success(
    change: dict[str, Any], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "case.npz", {}, META | {"cfg": CFG | change})
    assert main([str(path)]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.last", "keep.2", "block.0"])
@torch.inference_mode()
def test_a_changed_number_or_mask_of_a_gated_case_misses(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "case.npz", {}, GATED)
    backbone = vit_network(read_golden(path), GATED["gated"])
    x = backbone.embed(torch.from_numpy(vit_input("eva.image", (2, 3, 112, 112), 4)))
    arrays: dict[str, AnyArray] = {}
    for index, windows in enumerate(backbone.windows(x)):
        keep = backbone.keep(index, x)
        x = backbone.run_block(index, x, windows, keep)
        arrays |= {f"block.{index}": x.numpy(), "out.last": x.permute(0, 3, 1, 2).numpy()}
        if keep is not None:
            arrays[f"keep.{index}"] = keep.numpy()
    assert main([str(write(path, arrays, GATED))]) == 0
    changed = arrays[name].copy()
    changed.flat[7] = ~changed.flat[7] if changed.dtype == np.bool_ else changed.flat[7] + 1e-3
    assert main([str(write(path, arrays | {name: changed}, GATED))]) == 1


def test_the_routers_cases_are_told_to_be_of_another_network(
    golden_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(golden_dir / "vit" / "public_toc3d_backbone.npz")]) == 2
    assert "ToC3D's router, which is not built here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sampled.keep.5", "train.grad.selective_modules.1.norm.bias"])
def test_a_changed_number_of_svits_stack_misses(name: str, golden_dir: Path, tmp_path: Path) -> None:
    golden = read_golden(golden_dir / "vit" / "public_svit_stack.npz")
    arrays = dict(golden.arrays)
    changed = np.atleast_1d(arrays[name]).copy()
    changed.flat[0] = ~changed.flat[0] if changed.dtype == np.bool_ else changed.flat[0] + 1e-3
    arrays[name] = changed.reshape(arrays[name].shape)
    assert main([str(write(tmp_path / "case.npz", arrays, dict(golden.meta)))]) == 1
