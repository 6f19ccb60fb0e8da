"""Whether another engine gives the boxes that PyTorch gives, over a sequence with memory and changing keep ratios.

Two comparisons a frame. With equal memory: everything the network says, number by number, to the tolerances that two
implementations in float32 are held to. With memory that each engine wrote itself: the boxes. Both then go on from one
memory again, as often as all of it is new: from frame to frame the network magnifies rounding, on some drives tenfold,
so that two good engines part for good within twenty.

An encoder in half precision or in int8 is compared by itself, to what its bits allow, and PyTorch's head then goes on
from its features, so that all that follows is held to float32 again. End to end, no number could be: where two keys or
two queries are nearly alike, a rounded feature decides, and a box that is seldom seen moves by metres in a good engine
too.
What that is worth is for nuScenes' evaluator to say (tools.evaluate).
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
from tggbc_ros.data.golden.checks import LOOSE, REAL_FRAME, Check, Tolerances, largest_difference

COMPARED_BOXES = 50
"""The best of PyTorch's boxes; the rest are guesses, hundreds of them, of nearly equal score."""

UNSURE = 0.01
"""Share of a frame's queries that may be off by more: the network is so unsure of them that it magnifies rounding."""

VOTER_TIE = 2e-2
"""By how much, relatively, one voter in the place of another may change the importance of a key."""

UNIT_ROUNDOFF = {"fp16": 2.0**-11, "bf16": 2.0**-8, "int8": 2.0**-6}
"""By how much, relatively, rounding changes a number at most: half of its last bit, of eleven or eight.

int8 has even steps, so that rounding is a share not of the number but of its tensor's range: half of one step in 255.
A range spans some eight root mean squares of what is in it (four on either side of a bell curve, more behind a ReLU,
whose half has no values), so that a number is off by at most 8 / 510 of their root mean square, 2 ** -6.
"""

ENCODER_ROUNDOFFS = 8
"""How many of them the features of an encoder may be off, root mean square, as a share of theirs.

A layer rounds twice, its weights and what it gives on; one rounding is u / sqrt(3), root mean square, and those of n
layers are independent: sqrt(2 n / 3) u, which is 8 u for the hundred layers of VoVNet-99. Measured: 2 to 3 u.
"""

CHANNEL_ROUNDOFFS = 2 * ENCODER_ROUNDOFFS
"""Likewise of one channel alone, as a share of all features: some are rounded more than others. Measured: up to 6 u.

A channel that is wrong is off by about as much as it holds, which is half a share in the demo model's weakest.
"""


@dataclass(frozen=True)
class Row:
    """One output of one frame. The times are those of encode, embed and decode.

    max_abs_error: of features, channels and importance a share; after an exchange of keys a root mean square.
    """

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

    features: torch.Tensor
    tokens: Tokens
    output: NetworkOutput
    took_ms: float


def compare(
    reference: Network, tested: Network, frames: Iterable[CameraFrame], ratios: Sequence[float], precision: str = "fp32"
) -> Iterator[Row]:
    """Rows for each frame of a sequence, both networks on one device.

    ratios: the keep ratio of each frame. precision: of the tested encoder, fp32 or one of `UNIT_ROUNDOFF`.
    """
    model, device = reference.model, reference.device
    own_frames = model.memory_length // model.num_propagated + 1  # the last of them reads nothing that it did not write
    memory: Memory | None = None
    own: Memory | None = None
    for number, (frame, ratio) in enumerate(zip(frames, ratios, strict=True)):
        pruning, ego = PruningConfig(ratio), _ego(frame, device)
        memory = memory or temporal.start(model, reference.start_points(), ego.lidar2global, ego.time_s)
        own = memory if number % own_frames == 0 else own
        inputs, aligned = preprocess(frame, model, device), _align(memory, ego, model)
        found = _answer(tested, inputs, aligned, pruning)
        expected = _answer(reference, inputs, aligned, pruning, None if precision == "fp32" else found.features)
        alone = tested.decode(found.tokens, _align(own, ego, model), pruning)
        memory = temporal.push(memory, expected.output, model, ego.lidar2global, ego.time_s)
        own = temporal.push(own, alone, model, ego.lidar2global, ego.time_s)
        checks = [] if precision == "fp32" else [*same_features(expected.features, found.features, precision)]
        checks += same_numbers(expected.output, found.output, REAL_FRAME, LOOSE)
        checks += same_boxes(decode_boxes(expected.output, DecodeConfig()), decode_boxes(alone, DecodeConfig()), LOOSE)
        for check in checks:
            times = found.took_ms, expected.took_ms
            yield Row(number, ratio, check.output, check.error, check.tolerance, check.passed, *times)


def keep_ratios(ratios: Sequence[float], frames: int) -> list[float]:
    """A keep ratio for each frame: one after the other, each for an equal share of the frames."""
    if frames < len(ratios):
        raise ValueError(f"frames is {frames}, expected at least one for each of the keep ratios {list(ratios)}")
    return [ratios[number * len(ratios) // frames] for number in range(frames)]


def same_features(expected: torch.Tensor, found: torch.Tensor, precision: str) -> Iterator[Check]:
    """Features [1, N, C, rows, columns] of an encoder in half precision: of the worst camera, and the worst channel.

    Root mean squares of their errors, as shares of that of all expected features.
    """
    squared = (found.double() - expected).square() / expected.double().square().mean()
    of_camera, of_channel = (float(squared.mean(dim=axes).max().sqrt()) for axes in ((0, 2, 3, 4), (0, 1, 3, 4)))
    yield Check("features", of_camera, ENCODER_ROUNDOFFS * UNIT_ROUNDOFF[precision])
    yield Check("channels", of_channel, CHANNEL_ROUNDOFFS * UNIT_ROUNDOFF[precision])


def same_numbers(
    expected: NetworkOutput, found: NetworkOutput, strict: Tolerances, loose: Tolerances
) -> Iterator[Check]:
    """Logits, box codes and kept keys of two engines that were given the same memory.

    Velocities are held to the tolerance of metres: at several m/s rounding is larger than in sizes and angles.
    Embeddings, of four or five, are held to that of logits as a share of the largest. kept_keys counts the keys that
    one kept and the other did not, but for those of nearly equal importance, which may change places.
    """
    exchanged, unexplained = _exchanged_keys(expected, found, strict)
    largest = max(1.0, float(expected.embedding.abs().max()))
    for name, wanted, given, tolerances in (
        ("logits", expected.logits, found.logits, (strict.logits, loose.logits)),
        ("center_m", expected.codes[..., :3], found.codes[..., :3], (strict.metres, loose.metres)),
        ("codes", expected.codes[..., 3:8], found.codes[..., 3:8], (strict.codes, loose.codes)),
        ("velocity_mps", expected.codes[..., 8:], found.codes[..., 8:], (strict.metres, loose.metres)),
        ("embedding", expected.embedding, found.embedding, (strict.logits * largest, loose.logits * largest)),
    ):
        yield _check_queries(name, wanted, given, tolerances, exchanged > 0)
    yield Check("importance", _importance_error(expected, found), strict.importance)
    yield Check("kept_keys", unexplained, 0)


def _check_queries(
    name: str, expected: torch.Tensor, found: torch.Tensor, tolerances: tuple[float, float], exchanged: bool
) -> Check:
    """One output [..., Q, C] by the strict or the loose of two tolerances.

    The loose one serves where few queries are beyond the strict one, and, for the root mean square, where keys changed
    places: a query or two may have looked at just these.
    """
    strict, loose = tolerances
    if exchanged:
        return Check(name, float((found.double() - expected).square().mean().sqrt()), loose)
    error = _difference(expected, found)
    few = strict < error < np.inf and float(((found - expected).abs().amax(dim=-1) > strict).float().mean()) <= UNSURE
    return Check(name, error, loose if few else strict)


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


def _answer(
    network: Network,
    inputs: NetworkInput,
    memory: AlignedMemory,
    pruning: PruningConfig,
    others: torch.Tensor | None = None,
) -> Answer:
    """others: features to go on from in place of the network's own."""
    network.synchronize()
    start_s = time.perf_counter()
    features = network.encode(inputs.images)
    tokens = network.embed(features if others is None else others, inputs)
    output = network.decode(tokens, memory, pruning)
    network.synchronize()
    return Answer(features, tokens, output, (time.perf_counter() - start_s) * 1e3)


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
