"""Which weights a network gets, and what it says about them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tggbc_ros.backends import SHIPPED_WEIGHTS, load_network, weights_file
from tggbc_ros.core.config import DEMO, R50_704, model_config
from tggbc_ros.export.cache import quantised_encoder

LIMIT_BYTES = 16 * 2**20
SLIM_LIMIT_BYTES = 8_000_000
"""Of weights and encoder in int8 together."""

SHIPPED = pytest.mark.parametrize("name", SHIPPED_WEIGHTS)


@SHIPPED
def test_a_shipped_model_has_its_own_weights_and_says_so(name: str) -> None:
    file = SHIPPED_WEIGHTS[name]
    network = load_network("torch", model_config(name), None, "cpu")
    assert network.weights.startswith(f"{name} model, trained on synthetic drives only: {file.name} sha256:")
    limit = SLIM_LIMIT_BYTES if network.model.shape else LIMIT_BYTES
    assert file.stat().st_size + quantised_encoder(file).stat().st_size < limit


@SHIPPED
def test_shipped_weights_are_those_of_the_file(name: str) -> None:
    from safetensors.torch import load_file

    stored = load_file(SHIPPED_WEIGHTS[name])
    network = load_network("torch", model_config(name), None, "cpu")
    points = network.start_points()
    low, high = (torch.tensor(network.model.pc_range[part]) for part in (slice(0, 3), slice(3, 6)))
    assert torch.allclose(points, stored["head.queries.pseudo_reference_points"].float() * (high - low) + low)


def test_a_checkpoint_that_is_named_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(SHIPPED_WEIGHTS["demo"].read_bytes())
    assert load_network("torch", DEMO, path, "cpu").weights.startswith("mine.safetensors sha256:")


def test_other_models_need_a_checkpoint_or_leave_to_be_random() -> None:
    with pytest.raises(ValueError, match="no checkpoint for model r50_704: set the parameter checkpoint"):
        load_network("torch", R50_704, None, "cpu")
    assert load_network("torch", R50_704, None, "cpu", allow_random_weights=True).weights == "RANDOM"


def test_the_file_of_the_weights_is_the_named_one_or_the_shipped_one_and_no_export(tmp_path: Path) -> None:
    assert weights_file(DEMO, None).name == "demo_model.safetensors"
    with pytest.raises(ValueError, match=r"is an export: give the file with the weights"):
        weights_file(DEMO, tmp_path)
    with pytest.raises(ValueError, match="r50_704"):
        weights_file(R50_704, None)
