"""The sparse network: every layer re-solved for the inputs that it gets behind those that are sparse already.

One pass over all calibration frames at once. Before a layer runs its weights are solved so that at the positions that
were looked at in the dense network it answers as the dense layer did: so it makes up for what the layers before it
distort, as far as the weights that it has left can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from tggbc_ros.compress.sparse.layers import Layer, Passed, tapped
from tggbc_ros.compress.sparse.pruning import Problem, sparsify
from tggbc_ros.compress.sparse.recording import Moment, run, together
from tggbc_ros.compress.sparse.study import Studied, with_ones
from tggbc_ros.core.model import StreamPETR

ROUNDS = 4
"""In how many steps a layer comes down to what it keeps."""


def put(layer: Layer, parameters: Mapping[str, torch.Tensor], solved: torch.Tensor) -> None:
    """Give a layer weights and bias [out, in + 1]."""
    with torch.no_grad():
        parameters[layer.parameter][layer.rows[0] : layer.rows[1]] = solved[:, :-1].reshape(layer.shape)
        if layer.bias:
            layer.bias_of(parameters).copy_(solved[:, -1])


def falling(size: int, kept: int) -> list[int]:
    """Numbers of weights that a layer keeps, round by round: equal shares of what is left each time."""
    if kept == 0:
        return [size - size * at // ROUNDS for at in range(1, ROUNDS + 1)]
    return [round(size * (kept / size) ** (at / ROUNDS)) for at in range(1, ROUNDS)] + [kept]


@torch.no_grad()
def assemble(
    network: StreamPETR,
    moments: Sequence[Moment],
    layers: Sequence[Layer],
    studied: Mapping[str, Studied],
    kept: Mapping[str, int],
    order: str,
    repair: str,
    done: Callable[[], object] = lambda: None,
    in_turn: bool = True,
) -> None:
    """Make a network sparse, in place. kept: weights of each layer by name."""
    parameters = dict(network.named_parameters())
    in_turn = in_turn and repair != "none"

    def alone(layer: Layer) -> None:
        found = studied[layer.name]
        put(layer, parameters, _solved(layer, parameters, found, kept[layer.name], order, repair))
        done()

    later = [each for each in layers if in_turn and studied[each.name].calls == 1]
    for layer in layers:
        if layer not in later:
            alone(layer)
    if not later:
        return

    def before(passed: Passed) -> None:
        layer, found = passed.layer, studied[passed.layer.name]
        size = layer.size // layer.shape[0] + 1
        inputs, target = torch.zeros(size, size), torch.zeros(layer.shape[0], size)
        for frame, sample in enumerate(found.samples):
            x = with_ones(passed.inputs(sample.places, frame, len(moments)))
            weighted = x * sample.weight[:, None]
            inputs += x.T @ weighted
            target += sample.target.T @ weighted
        put(layer, parameters, _solved(layer, parameters, found, kept[layer.name], order, repair, inputs, target))
        done()

    with tapped(network, later, before=before):
        run(network, together(moments))


def _solved(
    layer: Layer,
    parameters: Mapping[str, torch.Tensor],
    studied: Studied,
    kept: int,
    order: str,
    repair: str,
    inputs: torch.Tensor | None = None,
    target: torch.Tensor | None = None,
) -> torch.Tensor:
    weights = layer.of(parameters).detach().clone()
    bias = layer.bias_of(parameters).detach().clone() if layer.bias else None
    moments = studied.inputs if inputs is None else inputs
    problem = Problem.of(weights, bias, moments, studied.rows(), studied.diagonal, target)
    return sparsify(problem, falling(layer.size, kept), order, repair)[-1]
