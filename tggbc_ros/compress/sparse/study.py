"""One look at the dense network over the calibration frames: what its weights do to the answers, what its layers saw.

To second order the distortion is D(w + dw) = dw^T G dw, its Gauss-Newton form: value and slope are zero at the dense
weights. G is the sum over answers of g g^T, g the gradient of an answer, so its diagonal is the expected square of the
gradient of a random +-1 combination of all answers: a few backward passes serve every layer and every sparsity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from tggbc_ros.compress.sparse.distortion import Subject
from tggbc_ros.compress.sparse.layers import Layer, Passed, tapped

Vectors = Callable[[torch.Tensor], Iterable[torch.Tensor]]
"""What the answers of a frame are multiplied with, pass by pass; squares of the gradients are added up."""
PLAIN = 0.05
"""Share of a position's weight that it has whatever it does to the answers, so that no input goes unheard."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the positions at which a layer was applied in one frame.

    places: [n], counted over all calls of the frame. weight: [n], what the squared gradient of their outputs is, the
    positions left out counted in. target: [n, out], the dense layer's outputs.
    """

    places: torch.Tensor
    weight: torch.Tensor
    target: torch.Tensor


@dataclass(frozen=True, eq=False)
class Studied:
    """Of one layer. diagonal: [out, in] of G.

    inputs: [in + 1, in + 1], weighted second moments of what it is applied to and of the 1 that its bias is multiplied
    with. judged: those of the second half of the frames alone. samples: by frame. calls: of a frame. positions: of a
    frame, all calls together.
    """

    diagonal: torch.Tensor
    inputs: torch.Tensor
    judged: torch.Tensor
    samples: Sequence[Sample]
    calls: int
    positions: int

    def rows(self) -> torch.Tensor:
        """[out]: what a squared error of each output is worth: rows times inputs make the diagonal on average."""
        inputs = self.inputs.diagonal()[:-1].double().sum()
        found = self.diagonal.double().sum(dim=1) / inputs.clamp(min=torch.finfo(torch.float32).tiny)
        return found.float()


def random_signs(passes: int, generator: torch.Generator) -> Vectors:
    """So many vectors of random +-1, scaled so that the sum of squares is a mean."""

    def vectors(answers: torch.Tensor) -> Iterable[torch.Tensor]:
        for _ in range(passes):
            yield (torch.randint(0, 2, answers.shape, generator=generator).to(answers) * 2 - 1) / passes**0.5

    return vectors


def study(
    subject: Subject,
    layers: Sequence[Layer],
    vectors: Vectors,
    most: int = 512,
    seed: int = 0,
    done: Callable[[], object] = lambda: None,
) -> dict[str, Studied]:
    """Of each layer by name. most: positions of a layer that are looked at in a frame, at most, drawn at random.

    Raises FloatingPointError naming the parameter where a gradient is not finite, ValueError naming a layer that never
    ran.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(subject.network.named_parameters())
    wanted = list(dict.fromkeys(each.parameter for each in layers))
    tensors = [parameters[name].requires_grad_(True) for name in wanted]
    squares = {name: torch.zeros_like(each) for name, each in zip(wanted, tensors, strict=True)}
    gathered = {each.name: _Gathered(most) for each in layers}
    calls: list[Passed] = []
    try:
        with tapped(subject.network, layers, calls.append):
            for frame in range(len(subject)):
                calls.clear()
                answers = subject.answers(frame)
                outputs, seen = [each.result for each in calls], [torch.zeros(each.positions) for each in calls]
                for vector in vectors(answers.detach()):
                    found = torch.autograd.grad(
                        answers, tensors + outputs, vector, retain_graph=True, allow_unused=True
                    )
                    for name, gradient in zip(wanted, found, strict=False):
                        if gradient is not None:
                            squares[name] += gradient.square()
                    for call, weight, gradient in zip(calls, seen, found[len(tensors) :], strict=True):
                        if gradient is not None:
                            weight += call.by_output(gradient).square().sum(dim=1)
                for name, mine in gathered.items():
                    heard = [(c, w) for c, w in zip(calls, seen, strict=True) if c.layer.name == name]
                    mine.add(heard, generator, judged=frame >= len(subject) // 2)
                done()
    finally:
        calls.clear()
        for each in tensors:
            each.requires_grad_(False)
    for name, value in squares.items():
        if not torch.isfinite(value).all():
            raise FloatingPointError(f"gradients of {name} hold NaN or infinity")
    found = {each.name: gathered[each.name].studied(each.of(squares).clone()) for each in layers}
    silent = [name for name, each in found.items() if not each.calls]
    if silent:
        raise ValueError(f"{len(silent)} layers were never called, so nothing is known of their inputs: {silent[0]}")
    return found


class _Gathered:
    """What is found of a layer, frame by frame."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inputs: list[torch.Tensor | None] = [None, None]
        self._samples: list[Sample] = []
        self._calls = self._positions = 0

    def add(self, calls: Sequence[tuple[Passed, torch.Tensor]], generator: torch.Generator, judged: bool) -> None:
        """All calls of one frame, with the weights of all their positions."""
        self._calls, self._positions = len(calls), sum(call.positions for call, _ in calls)
        if not calls:
            return
        weight = torch.cat([each for _, each in calls])
        weight = weight + PLAIN * weight.mean()
        places = torch.arange(len(weight))
        if len(weight) > self._most:
            places = torch.randperm(len(weight), generator=generator)[: self._most].sort().values
        chosen = weight[places] * (len(weight) / len(places))
        before, inputs, targets = 0, [], []
        for call, _ in calls:
            mine = places[(places >= before) & (places < before + call.positions)] - before
            inputs.append(call.inputs(mine).detach())
            targets.append(call.by_output(call.result.detach())[mine])
            before += call.positions
        x = with_ones(torch.cat(inputs))
        moment = x.T @ (x * chosen[:, None])
        before_it = self._inputs[judged]
        self._inputs[judged] = moment if before_it is None else before_it + moment
        self._samples.append(Sample(places, chosen, torch.cat(targets)))

    def studied(self, diagonal: torch.Tensor) -> Studied:
        size = diagonal.shape[1] + 1
        fitted, judged = (diagonal.new_zeros(size, size) if each is None else each for each in self._inputs)
        return Studied(diagonal, fitted + judged, judged, self._samples, self._calls, self._positions)


def with_ones(x: torch.Tensor) -> torch.Tensor:
    """[n, in] -> [n, in + 1], for the bias."""
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)
