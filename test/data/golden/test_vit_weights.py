"""Formula weights of the vision transformers: bit for bit those that their cases were recorded with."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.data.golden.vit_weights import vit_input, vit_weights

GATE = "gates.selective_modules.2.mlp.fc2.weight"


@pytest.mark.parametrize("salt", ["", "another|"])
@pytest.mark.parametrize("file", ["public_eva_backbone", "public_svit_stack", "public_toc3d_backbone"])
def test_equal_to_the_recorded_formula_bit_for_bit(file: str, salt: str, golden_dir: Path) -> None:
    spec = importlib.util.spec_from_file_location("fill_vit", golden_dir / "vit" / "fill_vit.py")
    assert spec is not None and spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    meta = json.loads(str(np.load(golden_dir / "vit" / f"{file}.npz")["meta"]))
    shapes = {key: tuple(shape) for key, shape in meta["keys"].items() if not key.endswith(fill.COMPUTED)}
    expected, ours = fill.fill_state_dict(shapes, salt), vit_weights(shapes, salt)
    assert list(ours) == list(expected)
    for key, value in expected.items():
        assert ours[key].dtype == value.dtype and ours[key].tobytes() == value.tobytes(), key
    assert vit_input("eva.image", (2, 3, 5), 7).tobytes() == fill.fill_input("eva.image", (2, 3, 5), 7).tobytes()


def test_a_tensor_depends_on_its_name_shape_and_salt_alone() -> None:
    alone = vit_weights({"a.weight": (4, 3)})["a.weight"]
    assert np.array_equal(alone, vit_weights({"b.weight": (9, 3), "a.weight": (4, 3)})["a.weight"])
    assert not np.array_equal(alone, vit_weights({"a.weight": (4, 3)}, salt="s")["a.weight"])


@pytest.mark.parametrize(
    ("key", "shape", "mean", "std"),
    [
        ("x.pos_embed", (1, 197, 200), 0.0, 0.5),
        ("x.attn.v_bias", (40000,), 0.0, 0.5),
        ("x.norm1.weight", (40000,), 1.0, 0.1),
        ("x.mlp.w1.bias", (40000,), 0.0, 0.1),
        ("x.mlp.w1.weight", (400, 100), 0.0, 0.1),
        (GATE, (2, 40000), 0.0, 2 / 200),
    ],
)
def test_spread(key: str, shape: tuple[int, ...], mean: float, std: float) -> None:
    tensor = vit_weights({key: shape})[key].astype(np.float64)
    assert tensor.mean() == pytest.approx(mean, abs=5 * std / tensor.size**0.5)
    assert tensor.std() == pytest.approx(std, rel=0.03)


def test_gates_favour_neither_side() -> None:
    rows = vit_weights({GATE: (2, 48)})[GATE].astype(np.float64).mean(axis=1)
    assert np.abs(rows).max() < 1e-7
