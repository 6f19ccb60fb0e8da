"""Curvature and distortion against the recorded ones of a tiny net; what the study says of a layer's inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from two_heads import LAYERS, Golden

from tggbc_ros.compress.sparse.assembly import put
from tggbc_ros.compress.sparse.distortion import answers_of, measure
from tggbc_ros.compress.sparse.layers import Layer, find_layers
from tggbc_ros.compress.sparse.levels import agreement, predict, problem_of
from tggbc_ros.compress.sparse.pruning import sparsify
from tggbc_ros.compress.sparse.study import Studied, random_signs, study

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def golden(compress_dir: Path) -> Arrays:
    with np.load(compress_dir / "public_distortion.npz") as arrays:
        return dict(arrays)


def each_answer(answers: torch.Tensor) -> Iterable[torch.Tensor]:
    """The unit vectors, which make the diagonal exact."""
    return torch.eye(len(answers), dtype=answers.dtype)


@pytest.fixture(scope="module")
def subject(golden: Arrays) -> Golden:
    return Golden(golden)


@pytest.fixture(scope="module")
def layers(subject: Golden) -> tuple[Layer, ...]:
    found = find_layers(subject.network).pruned
    assert [layer.module for layer in found] == list(LAYERS)
    return found


@pytest.fixture(scope="module")
def studied(subject: Golden, layers: tuple[Layer, ...]) -> dict[str, Studied]:
    return study(subject, layers, each_answer)


def pruned(golden: Arrays, subject: Golden, layers: tuple[Layer, ...], studied: dict[str, Studied]) -> list[list]:
    """Of each layer, [out, in + 1] at each recorded sparsity: the smallest weights are 0."""
    parameters = dict(subject.network.named_parameters())
    rows = zip(layers, golden["kept"], strict=True)
    return [
        sparsify(problem_of(layer, parameters, studied[layer.name]), kept.tolist(), "magnitude", "none")
        for layer, kept in rows
    ]


def test_the_diagonal_is_the_recorded_one(golden: Arrays, layers: tuple[Layer, ...], studied: dict) -> None:
    for layer in layers:
        wanted = torch.from_numpy(golden[f"diag.{layer.module}"]).flatten(1)
        torch.testing.assert_close(studied[layer.name].diagonal, wanted, rtol=1e-9, atol=1e-15)


def test_predicted_curves_are_the_recorded_ones(
    golden: Arrays, subject: Golden, layers: tuple[Layer, ...], studied: dict
) -> None:
    parameters = dict(subject.network.named_parameters())
    levels = pruned(golden, subject, layers, studied)
    found = [
        [predict(problem_of(layer, parameters, studied[layer.name]), studied[layer.name], each, "none") for each in row]
        for layer, row in zip(layers, levels, strict=True)
    ]
    np.testing.assert_allclose(found, golden["diag_gauss_newton"], rtol=1e-9, atol=1e-15)
    assert agreement(found, golden["exact"]) > 0.98


@pytest.mark.parametrize(("scale", "name"), [(1.0, "exact"), (1e-4, "exact_scaled"), (1e-4, "gauss_newton")])
def test_measured_curves_are_the_recorded_ones(
    golden: Arrays, subject: Golden, layers: tuple[Layer, ...], studied: dict, scale: float, name: str
) -> None:
    """A ten-thousandth of a change does a hundred-millionth of what the Gauss-Newton form says of the whole."""
    parameters = dict(subject.network.named_parameters())
    dense = answers_of(subject)
    found = []
    for layer, row in zip(layers, pruned(golden, subject, layers, studied), strict=True):
        before = problem_of(layer, parameters, studied[layer.name]).weights
        for each in row:
            put(layer, parameters, before + scale * (each - before))
            found.append(measure(subject, dense) / scale**2)
        put(layer, parameters, before)
    wanted = golden[name].flatten()
    np.testing.assert_allclose(found, wanted, rtol=1e-3 if name == "gauss_newton" else 1e-6, atol=1e-12)


def test_all_layers_pruned_alike_do_what_was_recorded(golden: Arrays, layers: tuple[Layer, ...], studied: dict) -> None:
    subject = Golden(golden)
    parameters = dict(subject.network.named_parameters())
    dense = answers_of(subject)
    levels = pruned(golden, subject, layers, studied)
    for index, joint in zip(golden["uniform_index"], golden["uniform_joint"], strict=True):
        for layer, row, at in zip(layers, levels, index, strict=True):
            put(layer, parameters, row[at])
        assert measure(subject, dense) == pytest.approx(joint, rel=1e-9)


def test_random_signs_come_near_the_diagonal(subject: Golden, layers: tuple[Layer, ...], studied: dict) -> None:
    some = study(subject, layers, random_signs(64, torch.Generator().manual_seed(1)))
    for layer in layers:
        found, wanted = some[layer.name].diagonal, studied[layer.name].diagonal
        assert float((found - wanted).abs().sum() / wanted.sum()) < 0.12
        assert float(found.sum() / wanted.sum()) == pytest.approx(1.0, abs=0.06)


def test_rows_and_inputs_make_the_diagonal_on_average(layers: tuple[Layer, ...], studied: dict) -> None:
    for layer in layers:
        mine = studied[layer.name]
        product = mine.rows()[:, None] * mine.inputs.diagonal()[:-1]
        torch.testing.assert_close(product.sum(dim=1).float(), mine.diagonal.sum(dim=1).float(), rtol=1e-5, atol=1e-9)


def test_inputs_hold_what_passed_weighted(golden: Arrays, subject: Golden, layers: tuple[Layer, ...]) -> None:
    """Of the last layer all positions are looked at, or fewer, which stand for all."""
    last = layers[-1:]
    whole = study(subject, last, each_answer)[last[0].name]
    some = study(subject, last, each_answer, most=4)[last[0].name]
    assert (whole.calls, whole.positions) == (1, 9) and [len(each.places) for each in some.samples] == [4] * 12
    assert float(some.inputs[-1, -1] / whole.inputs[-1, -1]) == pytest.approx(1.0, abs=0.3)
    second = sum(float(sample.weight.sum()) for sample in whole.samples[6:])
    assert float(whole.judged[-1, -1]) == pytest.approx(second, rel=1e-6)
    for sample in whole.samples:
        assert sample.target.shape == (9, 3) and bool((sample.weight > 0).all())


def test_gradients_that_are_not_finite_are_named(golden: Arrays) -> None:
    broken = Golden(golden)
    with torch.no_grad():
        broken.network.c3.weight[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="c1.weight"):
        study(broken, find_layers(broken.network).pruned, each_answer)


def test_a_layer_that_never_runs_is_named(golden: Arrays) -> None:
    subject = Golden(golden)
    subject.network.spare = nn.Linear(3, 3).double()
    with pytest.raises(ValueError, match="1 layers were never called.*spare.weight"):
        study(subject, find_layers(subject.network).pruned, each_answer)


def test_repaired_layers_are_judged_on_frames_that_they_were_not_repaired_on(subject: Golden, layers: tuple) -> None:
    """Which is more than the repair's own frames say, all in all; and of nothing pruned it is nothing."""
    parameters = dict(subject.network.named_parameters())
    studied = study(subject, layers, each_answer)
    others = own = 0.0
    for layer in layers:
        mine = studied[layer.name]
        problem = problem_of(layer, parameters, mine)
        whole, half = sparsify(problem, [layer.size, layer.size // 2])
        assert predict(problem, mine, whole, "obs") == pytest.approx(0.0, abs=1e-6)
        others += predict(problem, mine, half, "obs")
        own += predict(problem, dataclasses.replace(mine, judged=mine.inputs - mine.judged), half, "obs")
    assert others > 1.05 * own > 0
