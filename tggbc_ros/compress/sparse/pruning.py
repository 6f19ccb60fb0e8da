"""One layer made sparse: which of its weights go, and what the others become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tggbc_ros.compress.sparse.repair import drop, normalised, resolve

DAMPING = 0.01
"""How much it costs to leave the dense weights, as a share of the inputs' mean second moment."""
STEPS = 12
"""Of conjugate gradients from one sparsity to the next, which begin where the last one ended."""
ORDERS = ("obs", "curvature", "magnitude")
REPAIRS = ("obs", "none")


@dataclass(frozen=True, eq=False)
class Problem:
    """A layer [out, in] with its bias as a last column, and what its outputs are worth.

    weights: [out, in + 1]; target: [out, in + 1], B of `repair.resolve`. inputs: [in + 1, in + 1], of mean
    1, damped. rows: [out].
    diagonal: [out, in] of G, for order "curvature".
    """

    weights: torch.Tensor
    target: torch.Tensor
    inputs: torch.Tensor
    rows: torch.Tensor
    diagonal: torch.Tensor
    has_bias: bool

    @classmethod
    def of(
        cls,
        weights: torch.Tensor,
        bias: torch.Tensor | None,
        inputs: torch.Tensor,
        rows: torch.Tensor,
        diagonal: torch.Tensor,
        target: torch.Tensor | None = None,
    ) -> Problem:
        """A layer's weights [out, in] and bias [out], with inputs not yet damped.

        target: [out, in + 1], weighted products of the outputs that are wanted and the inputs; without, those of the
        dense layer.
        """
        dense = torch.cat([weights, (torch.zeros(len(weights)) if bias is None else bias)[:, None]], dim=1)
        scale, damping = normalised(inputs), DAMPING * torch.eye(len(inputs), dtype=inputs.dtype)
        wanted = dense @ (inputs * scale) if target is None else target * scale
        return cls(dense, wanted + dense @ damping, inputs * scale + damping, rows, diagonal, bias is not None)


def sparsify(
    problem: Problem, kept: Sequence[int], order: str = "obs", repair: str = "obs", steps: int = STEPS
) -> list[torch.Tensor]:
    """[out, in + 1] for each number of kept weights, which fall: what went stays gone."""
    weights, mask = problem.weights, torch.ones_like(problem.weights)
    if not problem.has_bias:
        mask[:, -1] = 0.0
    inner = mask[:, :-1]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.inputs)).diagonal()[:-1] if order == "obs" else None
    found = []
    for count in kept:
        before = int(inner.sum())
        if count < before:
            inner = drop(_scores(problem, weights[:, :-1], order, inverse), inner, count)
            mask = torch.cat([inner, mask[:, -1:]], dim=1)
        if repair == "obs":
            weights = resolve(weights, mask, problem.inputs, problem.target, steps)
        else:
            weights = weights * torch.cat([inner, torch.ones_like(mask[:, -1:])], dim=1)
        found.append(weights)
    return found


def _scores(problem: Problem, weights: torch.Tensor, order: str, inverse: torch.Tensor | None) -> torch.Tensor:
    if order == "magnitude":
        return weights.abs()
    if order == "curvature":
        return weights.square() * problem.diagonal
    assert inverse is not None
    return weights.square() * (problem.rows[:, None] / inverse)


def predicted(problem: Problem, studied_inputs: torch.Tensor, changed: torch.Tensor) -> float:
    """The distortion of a layer's change, its curvature taken as rows times inputs."""
    change = changed - problem.weights
    return float(((change @ studied_inputs) * change).sum(dim=1).double() @ problem.rows.double())
