"""Formula weights: bit for bit those that the golden cases were recorded with."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.data.golden.formula_weights import formula_weights

HEAD = "pts_bbox_head."


@pytest.mark.parametrize("salt", ["", "another|"])
@pytest.mark.parametrize("model", ["r50", "vov"])
def test_equal_to_the_recorded_formula_bit_for_bit(model: str, salt: str, golden_dir: Path) -> None:
    spec = importlib.util.spec_from_file_location("fill", golden_dir / "fill.py")
    assert spec is not None and spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    keys = json.loads((golden_dir / f"state_dict_{model}.json").read_text())
    shapes = {key: tuple(entry["shape"]) for key, entry in (keys["inference"] | keys["ignored_at_inference"]).items()}
    expected, ours = fill.fill_state_dict(shapes, salt), formula_weights(shapes, salt)
    assert list(ours) == list(expected)
    for key, value in expected.items():
        assert (ours[key].dtype, ours[key].shape) == (value.dtype, value.shape), key
        assert ours[key].tobytes() == value.tobytes(), key


def test_a_tensor_depends_on_its_name_shape_and_salt_alone() -> None:
    alone = formula_weights({"img_neck.a.weight": (4, 3)})["img_neck.a.weight"]
    among = formula_weights({"img_neck.b.weight": (9, 3), "img_neck.a.weight": (4, 3)})["img_neck.a.weight"]
    salted = formula_weights({"img_neck.a.weight": (4, 3)}, salt="s")["img_neck.a.weight"]
    assert np.array_equal(alone, among)
    assert not np.array_equal(alone, salted)


def test_the_copies_of_a_shared_branch_are_equal() -> None:
    shapes = {f"{HEAD}cls_branches.{i}.0.weight": (8, 8) for i in range(6)}
    tensors = list(formula_weights(shapes).values())
    assert all(np.array_equal(tensors[0], other) for other in tensors[1:])
    other = formula_weights({f"{HEAD}reg_branches.0.0.weight": (8, 8)})[f"{HEAD}reg_branches.0.0.weight"]
    assert not np.array_equal(tensors[0], other)


@pytest.mark.parametrize(
    ("key", "shape", "mean", "std"),
    [
        ("img_backbone.x.weight", (400, 100, 1, 1), 0.0, np.sqrt(2 / 100)),
        ("img_backbone.x.ese.fc.weight", (400, 100, 1, 1), 0.0, np.sqrt(1 / 100)),
        ("img_backbone.x.bn3.weight", (40000,), 0.25, 0.025),
        ("img_backbone.x.bn2.weight", (40000,), 1.0, 0.1),
        (HEAD + "y.gamma.bias", (40000,), 1.0, 0.1),
        (HEAD + "y.beta.bias", (40000,), 0.0, 0.02),
        (HEAD + "cls_branches.3.6.bias", (40000,), -2.0, 0.5),
        (HEAD + "pseudo_reference_points.weight", (20000, 3), 0.5, np.sqrt(1 / 12)),
    ],
)
def test_mean_and_spread(key: str, shape: tuple[int, ...], mean: float, std: float) -> None:
    value = formula_weights({key: shape})[key]
    assert value.dtype == np.float32
    assert value.mean() == pytest.approx(mean, abs=5 * std / np.sqrt(value.size))
    assert value.std() == pytest.approx(std, rel=0.03)


def test_a_variance_never_falls_below_one() -> None:
    value = formula_weights({"img_backbone.bn1.running_var": (1000,)})["img_backbone.bn1.running_var"]
    assert value.min() >= 1.0 and value.mean() == pytest.approx(1.08, abs=0.01)
