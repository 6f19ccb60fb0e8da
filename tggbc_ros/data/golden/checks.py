"""How near computed outputs must be to recorded ones, and how to compare what is ordered by score.

Two implementations in float32 differ by rounding. Scores closer to each other than that may change
places, so that order is judged by the recorded scores, and rows are compared by the query they are of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.golden.cases import AnyArray, GoldenFrame

Outputs = Mapping[str, AnyArray]


@dataclass(frozen=True)
class Tolerances:
    """Largest errors allowed.

    score: two scores closer than this may change places. importance: likewise for keys at a cut, relatively.
    """

    logits: float
    codes: float
    metres: float
    score: float
    importance: float


ROUNDING = Tolerances(logits=1e-4, codes=1e-4, metres=1e-3, score=5e-6, importance=1e-4)
"""Same inputs, float32: several times the noise that the original itself has."""

REAL_FRAME = dataclasses.replace(ROUNDING, importance=1e-3)
"""As `ROUNDING`, for real images: neighbouring keys are more alike than those of noise."""

LOOSE = Tolerances(logits=5e-3, codes=5e-3, metres=5e-2, score=1.25e-3, importance=1e-3)
"""Inputs that differ: another JPEG decoder, or the original's float32 poses a kilometre from the origin."""

FEATURES = 1e-4
ROTATION = 1e-5
SECONDS = 1e-5
KEYS_AT_AN_UNCLEAR_CUT = 4
CENTER_LOW, CENTER_HIGH = np.array([-61.2, -61.2, -10.0]), np.array([61.2, 61.2, 10.0])


@dataclass(frozen=True)
class Check:
    """The largest error of one output and what it may be; for orders and sets, a count."""

    output: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """NaN never passes."""
        return bool(self.error <= self.tolerance)

    @property
    def strain(self) -> tuple[float, float]:
        """Grows as the check nears failing, and beyond."""
        if np.isnan(self.error):
            return np.inf, np.inf
        if self.tolerance == 0:
            return (np.inf if self.error > 0 else 0.0), self.error
        return self.error / self.tolerance, self.error


def worst(checks: list[Check]) -> list[Check]:
    """One check per output, the most strained, in order of first appearance."""
    by_output: dict[str, Check] = {}
    for check in checks:
        known = by_output.setdefault(check.output, check)
        if check.strain > known.strain:
            by_output[check.output] = check
    return list(by_output.values())


def largest_difference(computed: AnyArray, recorded: AnyArray) -> float:
    """Largest absolute difference in float64; infinity for other shapes; NaN must meet NaN."""
    if computed.shape != recorded.shape:
        return np.inf
    if not computed.size:
        return 0.0
    difference = np.abs(computed.astype(np.float64) - recorded.astype(np.float64))
    difference[np.isnan(computed) & np.isnan(recorded)] = 0.0
    return float(difference.max())


def check_frame(computed: Outputs, frame: GoldenFrame, tolerances: Tolerances) -> Iterator[Check]:
    """Everything that was recorded of a frame and has been computed."""
    recorded = frame.outputs
    yield from check_heads(computed, recorded, tolerances)
    yield from _check_memory(computed, recorded, tolerances)
    yield from _check_boxes(computed, recorded, tolerances)
    yield from _check_trims(computed, frame, tolerances)
    for name in ("img_feats", "img_feats_stride4"):
        if name in recorded:
            error = largest_difference(computed[name], recorded[name])
            yield Check(name, error, FEATURES if tolerances is ROUNDING else tolerances.logits)


def not_compared(computed: Outputs, frame: GoldenFrame) -> list[str]:
    """Recorded outputs for which nothing was computed."""
    return [name for name in frame.outputs if name not in computed]


def check_heads(computed: Outputs, recorded: Outputs, tolerances: Tolerances) -> Iterator[Check]:
    """Logits and box codes of all layers."""
    logits = largest_difference(computed["all_cls_scores"], recorded["all_cls_scores"])
    yield Check("all_cls_scores", logits, tolerances.logits)
    ours, theirs = computed["all_bbox_preds"], recorded["all_bbox_preds"]
    yield Check("all_bbox_preds.center", largest_difference(ours[..., :3], theirs[..., :3]), tolerances.metres)
    yield Check("all_bbox_preds.code", largest_difference(ours[..., 3:], theirs[..., 3:]), tolerances.codes)


def _check_memory(computed: Outputs, recorded: Outputs, tolerances: Tolerances) -> Iterator[Check]:
    """New rows by their query, then the old rows by place."""
    scores = recorded["all_cls_scores"][-1, 0].max(-1).astype(np.float64)
    scores = 1 / (1 + np.exp(-scores))
    ours, theirs = computed["mem_topk_query"], recorded["mem_topk_query"]
    displaced = np.abs(scores[ours] - scores[theirs]) > tolerances.score
    yield Check("mem_topk_query", float(displaced.sum()), 0)
    _, our_rows, their_rows = np.intersect1d(ours, theirs, return_indices=True)
    old = np.arange(len(theirs), recorded["memory_timestamp"].shape[1])
    our_rows, their_rows = np.concatenate([our_rows, old]), np.concatenate([their_rows, old])
    limits = {
        "memory_embedding": tolerances.codes,
        "memory_reference_point": tolerances.metres,
        "memory_timestamp": SECONDS,
        "memory_velo": tolerances.codes,
    }
    for name, limit in limits.items():
        if name in recorded:
            error = largest_difference(computed[name][:, our_rows], recorded[name][:, their_rows])
            yield Check(name, error, limit)
    pose, their_pose = computed["memory_egopose"][:, our_rows], recorded["memory_egopose"][:, their_rows]
    yield Check("memory_egopose.rotation", largest_difference(pose[..., :3], their_pose[..., :3]), ROTATION)
    yield Check("memory_egopose.position", largest_difference(pose[..., 3], their_pose[..., 3]), tolerances.metres)


def _check_boxes(computed: Outputs, recorded: Outputs, tolerances: Tolerances) -> Iterator[Check]:
    """Scores in order; boxes by (query, label)."""
    scores, their_scores = computed["dec_scores"], recorded["dec_scores"]
    count = min(len(scores), len(their_scores))
    yield Check("dec_scores", largest_difference(scores[:count], their_scores[:count]), tolerances.logits)
    theirs = _boxes_by_query(recorded)
    ours = {
        (int(query), int(label)): (box, float(score))
        for query, label, box, score in zip(
            computed["dec_topk_query"], computed["dec_labels"], computed["dec_boxes_gravity"], scores, strict=True
        )
    }
    lowest = min(float(recorded["dec_topk_score"].min()), float(scores.min(initial=1.0)))
    single = [(ours | theirs)[pair][1] for pair in ours.keys() ^ theirs.keys()]
    yield Check("dec_labels", float(sum(score > lowest + tolerances.score for score in single)), 0)
    shared = sorted(ours.keys() & theirs.keys())
    if shared:
        pair = [np.stack([boxes[key][0] for key in shared]).astype(np.float64) for boxes in (ours, theirs)]
        length = heading_length(recorded, np.array([query for query, _ in shared]))
        yield from _check_matched_boxes(pair[0], pair[1], length, tolerances)


def recorded_boxes(recorded: Outputs) -> Boxes3D:
    """The recorded detections in the lidar frame, best first."""
    pairs = list(_boxes_by_query(recorded))
    boxes = recorded["dec_boxes_gravity"].astype(np.float64)
    return Boxes3D(
        center=boxes[:, :3],
        size=boxes[:, 3:6],
        yaw=boxes[:, 6],
        velocity=boxes[:, 7:9],
        score=recorded["dec_scores"].astype(np.float64),
        label=recorded["dec_labels"].astype(np.int64),
        query=np.array([query for query, _ in pairs], dtype=np.int64),
    )


def heading_length(recorded: Outputs, query: AnyArray) -> AnyArray:
    """Length of the (sin, cos) vector that the network regressed for each query: the shorter, the vaguer its yaw."""
    length: AnyArray = np.hypot(*recorded["all_bbox_preds"][-1, 0, query, 6:8].T).astype(np.float64)
    return length


def _boxes_by_query(recorded: Outputs) -> dict[tuple[int, int], tuple[AnyArray, float]]:
    """Recorded boxes by (query, label): the best pairs, less those whose box the range filter took."""
    centers = recorded["all_bbox_preds"][-1, 0, recorded["dec_topk_query"], :3]
    inside = ((centers >= CENTER_LOW) & (centers <= CENTER_HIGH)).all(-1)
    pairs = zip(recorded["dec_topk_query"][inside], recorded["dec_topk_label"][inside], strict=True)
    boxes = zip(recorded["dec_boxes_gravity"], recorded["dec_scores"], strict=True)
    return {
        (int(query), int(label)): (box, float(score)) for (query, label), (box, score) in zip(pairs, boxes, strict=True)
    }


def _check_matched_boxes(ours: AnyArray, theirs: AnyArray, length: AnyArray, tolerances: Tolerances) -> Iterator[Check]:
    """Boxes [M, 9] row by row; sizes relatively, as they are exponentials of the code.

    A yaw is the direction of the vector (cos, sin) that the network regresses, however short; its error
    counts in proportion to that vector's length.
    """
    turn = np.abs((ours[:, 6] - theirs[:, 6] + np.pi) % (2 * np.pi) - np.pi)
    bottom = np.abs((ours[:, 2] - ours[:, 5] / 2) - (theirs[:, 2] - theirs[:, 5] / 2))
    yield Check("dec_boxes_gravity.center", largest_difference(ours[:, :3], theirs[:, :3]), tolerances.metres)
    yield Check("dec_boxes_gravity.log_size", np.abs(np.log(ours[:, 3:6] / theirs[:, 3:6])).max(), tolerances.codes)
    yield Check("dec_boxes_gravity.yaw", (turn * length.clip(max=1.0)).max(), tolerances.codes)
    yield Check("dec_boxes_gravity.velocity", largest_difference(ours[:, 7:], theirs[:, 7:]), tolerances.codes)
    yield Check("dec_boxes_bottom.z", float((bottom / (1 + theirs[:, 5])).max()), tolerances.metres)


def _check_trims(computed: Outputs, frame: GoldenFrame, tolerances: Tolerances) -> Iterator[Check]:
    """Kept keys and voters as sets, exactly where the recorded cut was clear; importance relatively."""
    layers = sorted({name.split(".")[1] for name in frame.outputs if name.startswith("gbc.")})
    for place, layer in enumerate(layers):
        certain = _clear_cut(frame.margins, place, "q_gap", tolerances.score)
        clear = certain and _clear_cut(frame.margins, place, "rel_gap", tolerances.importance)
        allowed = {"kept": 0 if clear else KEYS_AT_AN_UNCLEAR_CUT, "queries": 0 if certain else 1}
        for what, count in allowed.items():
            name = f"gbc.{layer}.{what}"
            if name in frame.outputs:
                ours, theirs = computed[name], frame.outputs[name]
                wrong = max(len(np.setdiff1d(theirs, ours)), len(np.setdiff1d(ours, theirs)))
                yield Check(name, float(wrong), count)
        name = f"gbc.{layer}.importance"
        if name in frame.outputs:
            ours, theirs = computed[name].astype(np.float64), frame.outputs[name].astype(np.float64)
            shared = ~np.isnan(ours) & ~np.isnan(theirs)
            error = np.abs(ours - theirs)[shared].max() / theirs[shared].max()
            yield Check(name + " (relative)", float(error), tolerances.logits)


def _clear_cut(margins: Mapping[str, Any], place: int, name: str, limit: float) -> bool:
    gaps = margins.get(name, [])
    return place >= len(gaps) or gaps[place] > limit
