"""Who hides whom: a painting order for rectangles standing on the ground."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array

SLACK_M = 0.05


def paint_order(poses: Array, half: Array, eye: Array) -> npt.NDArray[np.int64]:
    """Indices of K upright boxes, farthest first, seen from ``eye`` (x, y).

    poses: [K, 3], x, y, yaw. half: [K, 2], half length and half width. Of two boxes that one side's plane
    separates, the one on the eye's side of it is painted later (as in a binary space partition); the
    rest, and any cycle, goes by the distance of the centres.
    """
    before = _must_precede(poses, half, eye)
    far_first = np.argsort(-np.hypot(*(poses[:, :2] - eye).T), kind="stable")
    before = before[np.ix_(far_first, far_first)]
    waiting_for = before.sum(axis=0).astype(np.int64)
    order = np.empty(len(poses), dtype=np.int64)
    done = len(poses) + 1
    for place in range(len(poses)):
        free = int(np.argmax(waiting_for <= 0))
        if waiting_for[free] > 0:
            free = int(np.argmax(waiting_for < done))
        order[place] = far_first[free]
        waiting_for -= before[free]
        waiting_for[free] = 2 * done
    return order


def _must_precede(poses: Array, half: Array, eye: Array) -> npt.NDArray[np.bool_]:
    """[K, K]: [i, j] is true where i has to be painted before j because j can hide i."""
    delta = poses[None, :, :2] - poses[:, None, :2]
    cos, sin = np.cos(poses[:, 2])[:, None], np.sin(poses[:, 2])[:, None]
    turn = poses[None, :, 2] - poses[:, None, 2]
    turn_cos, turn_sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    to_eye = eye - poses[:, :2]
    axes = (
        (cos * delta[..., 0] + sin * delta[..., 1], cos[:, 0] * to_eye[:, 0] + sin[:, 0] * to_eye[:, 1],
         half[:, 0], turn_cos * half[None, :, 0] + turn_sin * half[None, :, 1]),
        (-sin * delta[..., 0] + cos * delta[..., 1], -sin[:, 0] * to_eye[:, 0] + cos[:, 0] * to_eye[:, 1],
         half[:, 1], turn_sin * half[None, :, 0] + turn_cos * half[None, :, 1]),
    )  # fmt: skip
    hides = np.zeros((len(poses), len(poses)), dtype=bool)
    hidden = np.zeros_like(hides)
    for offset, eye_at, own, reach in axes:
        for sign in (1.0, -1.0):
            apart = sign * offset - reach >= own[:, None] - SLACK_M
            near = (sign * eye_at < own)[:, None]
            hides |= apart & near
            hidden |= apart & ~near
    overlap = _same_direction(delta, poses, half, eye)
    certain = (hides ^ hidden) & overlap
    # i hides j (from i's planes): j first. i hidden by j: i first.
    first = (certain & hidden) | (certain & hides).T
    result: npt.NDArray[np.bool_] = first & ~first.T
    return result


def _same_direction(delta: Array, poses: Array, half: Array, eye: Array) -> npt.NDArray[np.bool_]:
    """[K, K]: whether two boxes' circles overlap in direction, as seen from the eye."""
    offset = poses[:, :2] - eye
    distance = np.hypot(offset[:, 0], offset[:, 1])
    radius = np.hypot(half[:, 0], half[:, 1])
    spread = np.where(radius < distance, np.arcsin(np.clip(radius / np.maximum(distance, 1e-9), 0, 1)), np.pi)
    azimuth = np.arctan2(offset[:, 1], offset[:, 0])
    between = np.abs((azimuth[:, None] - azimuth[None] + np.pi) % (2 * np.pi) - np.pi)
    result: npt.NDArray[np.bool_] = between < spread[:, None] + spread[None]
    return result
