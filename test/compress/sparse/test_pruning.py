"""A layer made sparse: the best weights for its mask, the masks in each other, and what repair is worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tggbc_ros.compress.sparse.pruning import ORDERS, Problem, predicted, sparsify
from tggbc_ros.compress.sparse.repair import drop, normalised, resolve

OUT, IN = 6, 12
KEPT = [72, 60, 36, 18, 3, 0]


@pytest.fixture
def problem() -> Problem:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(IN + 1, IN + 1, generator=generator)
    x = torch.randn(400, IN + 1, generator=generator) @ mix
    weights = torch.randn(OUT, IN, generator=generator)
    rows = torch.rand(OUT, generator=generator) + 0.1
    inputs = x.T @ x / 400
    diagonal = rows[:, None] * inputs.diagonal()[:-1]
    return Problem.of(weights, torch.randn(OUT, generator=generator), inputs, rows, diagonal)


def test_what_is_left_is_the_least_squares_solution(problem: Problem) -> None:
    mask = (torch.rand(OUT, IN + 1, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    found = resolve(problem.weights, mask, problem.inputs, problem.target, 200)
    for row in range(OUT):
        kept = mask[row] > 0
        inputs, target = problem.inputs[kept][:, kept].double(), problem.target[row, kept].double()
        wanted = np.linalg.solve(inputs.numpy(), target.numpy())
        np.testing.assert_allclose(found[row, kept], wanted, rtol=2e-3, atol=2e-3)
        assert bool((found[row, ~kept] == 0).all())


def test_of_a_whole_layer_nothing_changes(problem: Problem) -> None:
    torch.testing.assert_close(sparsify(problem, [OUT * IN])[0], problem.weights, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("repair", ["obs", "none"])
def test_as_many_weights_stay_as_were_asked_for_and_what_went_stays_gone(
    problem: Problem, order: str, repair: str
) -> None:
    levels = sparsify(problem, KEPT, order, repair)
    masks = [each[:, :-1] != 0 for each in levels]
    assert [int(mask.sum()) for mask in masks] == KEPT
    assert all(bool((after <= before).all()) for before, after in zip(masks[:-1], masks[1:], strict=True))
    if repair == "none":
        assert torch.equal(levels[2][masks[2].nonzero(as_tuple=True)], problem.weights[masks[2].nonzero(as_tuple=True)])
        assert all(torch.equal(each[:, -1], problem.weights[:, -1]) for each in levels)


def test_repair_makes_good_most_of_the_harm_and_obs_knows_best_what_goes(problem: Problem) -> None:
    def harm(order: str, repair: str) -> float:
        return predicted(problem, problem.inputs, sparsify(problem, KEPT, order, repair)[2])

    assert harm("obs", "obs") < 0.8 * harm("magnitude", "obs")
    assert harm("magnitude", "obs") < 0.8 * harm("magnitude", "none")


def test_a_layer_without_bias_gets_none() -> None:
    inputs = torch.eye(IN + 1) + 0.5
    problem = Problem.of(torch.randn(OUT, IN), None, inputs, torch.ones(OUT), torch.ones(OUT, IN))
    assert all(bool((each[:, -1] == 0).all()) for each in sparsify(problem, KEPT))


def test_inputs_that_never_come_do_no_harm() -> None:
    """A layer that nothing passes has no moments at all, and still as many weights as asked for."""
    problem = Problem.of(
        torch.randn(OUT, IN), None, torch.zeros(IN + 1, IN + 1), torch.zeros(OUT), torch.zeros(OUT, IN)
    )
    levels = sparsify(problem, KEPT)
    assert [int((each[:, :-1] != 0).sum()) for each in levels] == KEPT
    assert all(bool(each.isfinite().all()) for each in levels)


def test_the_first_of_equals_stay() -> None:
    mask = drop(torch.tensor([[1.0, 2.0, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0, 1.0]]), 2)
    assert mask.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_moments_are_brought_to_a_mean_of_one() -> None:
    assert normalised(torch.diag(torch.tensor([1.0, 3.0]))) == 0.5
    assert normalised(torch.zeros(2, 2)) == 0.0
