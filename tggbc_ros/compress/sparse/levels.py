"""Curves: what each candidate sparsity of a layer does to the detections, predicted from curvature or measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

from tggbc_ros.compress.sparse.assembly import put
from tggbc_ros.compress.sparse.distortion import Subject, measure
from tggbc_ros.compress.sparse.layers import Layer
from tggbc_ros.compress.sparse.pruning import Problem, predicted, sparsify
from tggbc_ros.compress.sparse.study import Studied

SPARSITIES = (
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 1.0,
)  # fmt: skip
"""Shares of zeros that every layer has as candidates."""


def kept_counts(size: int) -> list[int]:
    """Weights left at each of `SPARSITIES`, whole numbers, so that nobody has to round again."""
    return [size - round(share * size) for share in SPARSITIES]


def problem_of(layer: Layer, parameters: Mapping[str, torch.Tensor], studied: Studied) -> Problem:
    """A layer as the dense network has it, to be repaired on the first half of the frames.

    So that the others can tell what it does on frames that it was not repaired on.
    """
    bias = layer.bias_of(parameters).detach().clone() if layer.bias else None
    weights = layer.of(parameters).detach().clone()
    return Problem.of(weights, bias, studied.inputs - studied.judged, studied.rows(), studied.diagonal)


def predict(problem: Problem, studied: Studied, changed: torch.Tensor, repair: str) -> float:
    """The distortion of a changed layer [out, in + 1] by curvature.

    By G's diagonal where weights are set to zero and nothing else. Where others make up for them the products of
    weights matter, too: then rows times inputs stand for G, inputs of the second half of the frames.
    """
    if repair == "none":
        return float((studied.diagonal * (changed - problem.weights)[:, :-1].square()).double().sum())
    share = float(studied.judged.diagonal()[:-1].double().sum() / studied.inputs.diagonal()[:-1].double().sum())
    return max(0.0, predicted(problem, studied.judged, changed) / share) if share > 0.0 else 0.0


@torch.no_grad()
def curve(
    layer: Layer,
    parameters: Mapping[str, torch.Tensor],
    studied: Studied,
    order: str,
    repair: str,
    probe: Callable[[], float] | None = None,
) -> tuple[list[float], list[float]]:
    """Predicted and measured distortion at each of `SPARSITIES`; probe: the network's distortion as it is then.

    Nothing is measured without. The network is as it was afterwards.
    """
    problem = problem_of(layer, parameters, studied)
    levels = sparsify(problem, kept_counts(layer.size), order, repair)
    expected = [predict(problem, studied, each, repair) for each in levels]
    found = []
    try:
        for each in levels if probe else ():
            put(layer, parameters, each)
            found.append(probe() if probe else 0.0)
    finally:
        put(layer, parameters, problem.weights)
    return expected, found


def probe_of(subject: Subject, dense: Sequence[torch.Tensor]) -> Callable[[], float]:
    """Measures; dense: what the subject answered."""
    return lambda: measure(subject, dense)


def agreement(predictions: Sequence[Sequence[float]], measured: Sequence[Sequence[float]]) -> float:
    """Spearman's rank correlation over all layers and all sparsities but 0."""
    mine, other = (np.concatenate([np.asarray(row[1:]) for row in rows]) for rows in (predictions, measured))
    return float(spearmanr(mine, other).statistic)
