"""Whether another engine gives the boxes that PyTorch gives, over a sequence with memory and changing keep ratios.

Two comparisons a frame. With equal memory: everything the network says, number by number, to the tolerances that two
implementations in float32 are held to. With each engine's own memory, written since the first frame: the boxes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import DecodeConfig, ModelConfig, PruningConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.detector import Network
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import AlignedMemory, Boxes3D, CameraFrame, Memory, NetworkInput, NetworkOutput, Tokens, Trim
from tggbc_ros.data.golden_checks import LOOSE, REAL_FRAME, Check, Tolerances, largest_difference

COMPARED_BOXES = 50
"""The best of PyTorch's boxes; the rest are guesses, hundreds of them, of nearly equal score."""

VOTER_TIE = 2e-2
"""By how much, relatively, one voter in the place of another may change the importance of a key."""

HALF = Tolerances(logits=0.1, codes=0.1, metres=0.5, score=2.5e-2, importance=5e-2)
"""An encoder in float16, whose eleven bits are left of each feature."""

BRAIN = Tolerances(logits=0.3, codes=0.3, metres=1.0, score=0.1, importance=0.2)
"""An encoder in bfloat16: eight bits."""

TOLERANCES = {"fp32": (REAL_FRAME, LOOSE), "fp16": (HALF, HALF), "bf16": (BRAIN, BRAIN)}
"""By precision of the encoder; the second where keys changed places, and for boxes with a memory of their own."""


@dataclass(frozen=True)
class Row:
    """One output of one frame. The times are those of encode, embed and decode."""

    frame: int
    keep_ratio: float
    output: str
    max_abs_error: float
    tolerance: float
    passed: bool
    backend_ms: float
    torch_ms: float


@dataclass(frozen=True, eq=False)
class Ego:
    """Where the vehicle is: lidar2global [1, 4, 4] and time_s [1], float64, on the networks' device."""

    lidar2global: torch.Tensor
    time_s: torch.Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine says to one frame with given memory, and how long it took."""

    tokens: Tokens
    output: NetworkOutput
    took_ms: float


def compare(
    reference: Network, tested: Network, frames: Iterable[CameraFrame], ratios: Sequence[float], precision: str = "fp32"
) -> Iterator[Row]:
    """Rows for each frame of a sequence, both networks on one device.

    ratios: the keep ratio of each frame. precision: of the tested encoder, one of `TOLERANCES`.
    """
    model, device = reference.model, reference.device
    strict, loose = TOLERANCES[precision]
    memory: Memory | None = None
    own: Memory | None = None
    for number, (frame, ratio) in enumerate(zip(frames, ratios, strict=True)):
        pruning, ego = PruningConfig(ratio), _ego(frame, device)
        memory = memory or temporal.start(model, reference.start_points(), ego.lidar2global, ego.time_s)
        own = own or memory
        inputs, aligned = preprocess(frame, model, device), _align(memory, ego, model)
        expected = _answer(reference, inputs, aligned, pruning)
        found = _answer(tested, inputs, aligned, pruning)
        alone = tested.decode(found.tokens, _align(own, ego, model), pruning)
        memory = temporal.push(memory, expected.output, model, ego.lidar2global, ego.time_s)
        own = temporal.push(own, alone, model, ego.lidar2global, ego.time_s)
        checks = [*same_numbers(expected.output, found.output, strict, loose)]
        checks += same_boxes(decode_boxes(expected.output, DecodeConfig()), decode_boxes(alone, DecodeConfig()), loose)
        for check in checks:
            times = found.took_ms, expected.took_ms
            yield Row(number, ratio, check.output, check.error, check.tolerance, check.passed, *times)


def keep_ratios(ratios: Sequence[float], frames: int) -> list[float]:
    """A keep ratio for each frame: one after the other, each for an equal share of the frames."""
    if frames < len(ratios):
        raise ValueError(f"frames is {frames}, expected at least one for each of the keep ratios {list(ratios)}")
    return [ratios[number * len(ratios) // frames] for number in range(frames)]


def same_numbers(
    expected: NetworkOutput, found: NetworkOutput, strict: Tolerances, loose: Tolerances
) -> Iterator[Check]:
    """Logits, box codes and kept keys of two engines that were given the same memory.

    Velocities are held to the tolerance of metres: at several m/s rounding is larger than in sizes and angles.
    Where keys of nearly equal importance changed places, what came of it is held to ``loose``. kept_keys counts
    the keys that one kept and the other did not, but for those.
    """
    exchanged, unexplained = _exchanged_keys(expected, found, strict)
    tolerances = loose if exchanged else strict
    for name, error, tolerance in (
        ("logits", _difference(expected.logits, found.logits), tolerances.logits),
        ("center_m", _difference(expected.codes[..., :3], found.codes[..., :3]), tolerances.metres),
        ("codes", _difference(expected.codes[..., 3:8], found.codes[..., 3:8]), tolerances.codes),
        ("velocity_mps", _difference(expected.codes[..., 8:], found.codes[..., 8:]), tolerances.metres),
        ("embedding", _difference(expected.embedding, found.embedding), tolerances.logits),
    ):
        yield Check(name, error, tolerance)
    yield Check("importance", _importance_error(expected, found), strict.importance)
    yield Check("kept_keys", unexplained, 0)


def same_boxes(expected: Boxes3D, found: Boxes3D, tolerances: Tolerances) -> Iterator[Check]:
    """Whether the best of the expected boxes are there: for each the nearest found one of its class.

    Queries of equal score may have changed places, so that boxes cannot be matched by their query.
    """
    best = expected[:COMPARED_BOXES]
    apart_m = np.abs(best.center[:, None] - found.center[None]).max(axis=-1)
    apart_score = np.abs(best.score[:, None] - found.score[None])
    other_class = best.label[:, None] != found.label[None]
    strain = np.maximum(apart_m / tolerances.metres, apart_score / tolerances.score)
    strain[other_class | ~np.isfinite(strain)] = np.inf
    nearest = strain.argmin(axis=1) if len(found) else np.zeros(len(best), dtype=np.int64)
    rows = np.arange(len(best))
    matched = len(found) > 0 and bool(np.isfinite(strain[rows, nearest]).all())
    yield Check(
        "boxes_score", float(apart_score[rows, nearest].max(initial=0.0)) if matched else np.inf, tolerances.score
    )
    yield Check(
        "boxes_center_m", float(apart_m[rows, nearest].max(initial=0.0)) if matched else np.inf, tolerances.metres
    )


def _ego(frame: CameraFrame, device: torch.device) -> Ego:
    time_s = torch.tensor([frame.timestamp_ns / 1e9], dtype=torch.float64, device=device)
    return Ego(torch.from_numpy(frame.lidar2global).to(device)[None], time_s)


def _align(memory: Memory, ego: Ego, model: ModelConfig) -> AlignedMemory:
    return temporal.align(memory, ego.lidar2global, ego.time_s, model.memory_length)


def _answer(network: Network, inputs: NetworkInput, memory: AlignedMemory, pruning: PruningConfig) -> Answer:
    network.synchronize()
    start_s = time.perf_counter()
    tokens = network.embed(network.encode(inputs.images), inputs)
    output = network.decode(tokens, memory, pruning)
    network.synchronize()
    return Answer(tokens, output, (time.perf_counter() - start_s) * 1e3)


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    return largest_difference(expected.cpu().numpy(), found.cpu().numpy())


def _importance_error(expected: NetworkOutput, found: NetworkOutput) -> float:
    """Of the first layer that trims, relative to a key's importance or to the mean, where that is more."""
    trims = expected.trims.keys() & found.trims.keys()
    if not trims:
        return 0.0
    trim, other = expected.trims[min(trims)], found.trims[min(trims)]
    if set(trim.queries[0].tolist()) != set(other.queries[0].tolist()):
        return 0.0  # other voters, of equal confidence: no two numbers that ought to be equal
    scale = trim.importance.clamp(min=float(trim.importance.mean()))
    return _difference(trim.importance / scale, other.importance / scale)


def _exchanged_keys(expected: NetworkOutput, found: NetworkOutput, tolerances: Tolerances) -> tuple[int, int]:
    """How many keys one engine kept and the other did not, and of how many of them importance does not tell why."""
    if expected.trims.keys() != found.trims.keys():
        return 1, 1
    exchanged, unexplained = 0, 0
    for layer, trim in expected.trims.items():
        other = found.trims[layer]
        differing = set(trim.kept[0].tolist()) ^ set(other.kept[0].tolist())
        same_voters = set(trim.queries[0].tolist()) == set(other.queries[0].tolist())
        exchanged += len(differing)
        width = tolerances.importance if same_voters else max(VOTER_TIE, tolerances.importance)
        unexplained += len(differing - _near_cut(trim, width))
    return exchanged, unexplained


def _near_cut(trim: Trim, width: float) -> set[int]:
    """Keys whose importance is, relatively, within ``width`` of the least that was kept."""
    cut = trim.importance[torch.isin(trim.seen, trim.kept)].min()
    return set(trim.seen[(trim.importance - cut).abs() <= width * cut].tolist())
