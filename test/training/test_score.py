"""The quick AP: perfect, shifted, duplicated and missed boxes."""

from __future__ import annotations

import math

import numpy as np
import torch

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.training.frames import Targets
from tggbc_ros.training.score import average_precision, score

CLASSES = ("car", "bus")


def truth(count: int, label: int = 0) -> Targets:
    codes = torch.zeros(count, 10)
    codes[:, 0], codes[:, 8] = torch.arange(count) * 10.0, 2.0
    return Targets(codes, torch.full((count,), label))


def boxes(x: list[float], scores: list[float], label: int = 0) -> Boxes3D:
    count = len(x)
    center = np.zeros((count, 3))
    center[:, 0] = x
    zeros = np.zeros((count, 2))
    ids = np.zeros(count, np.int64)
    return Boxes3D(center, np.ones((count, 3)), np.zeros(count), zeros, np.array(scores), ids + label, ids)


def test_truth_scores_one_and_tells_the_velocity_error() -> None:
    result = score([boxes([0, 10, 20], [0.9, 0.8, 0.7])], [truth(3)], CLASSES)
    assert list(result.by_class) == ["car"] and math.isclose(result.mean_ap, 1.0) and result.velocity_error_mps == 2.0


def test_boxes_off_by_a_metre_and_a_half_count_at_two_and_four_metres() -> None:
    assert math.isclose(score([boxes([1.5, 11.5], [0.9, 0.8])], [truth(2)], CLASSES).mean_ap, 0.5)


def test_a_second_box_on_one_object_is_a_false_positive() -> None:
    found = [boxes([0, 0.1, 10], [0.9, 0.8, 0.7])]
    single, _ = average_precision([boxes([0, 10], [0.9, 0.7])], [truth(2)], 0, 2.0)
    double, _ = average_precision(found, [truth(2)], 0, 2.0)
    assert math.isclose(single, 1.0) and 0.5 < double < 0.95


def test_frames_do_not_mix_and_the_other_class_does_not_help() -> None:
    assert average_precision([boxes([], []), boxes([0], [0.9])], [truth(1), truth(0)], 0, 2.0)[0] == 0.0
    assert average_precision([boxes([0], [0.9], label=1)], [truth(1)], 0, 2.0)[0] == 0.0
