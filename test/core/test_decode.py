"""From logits and codes to boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tggbc_ros.core.config import DecodeConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.types import NetworkOutput


def make_output() -> NetworkOutput:
    logits = torch.full((1, 1, 4, 10), -9.0)
    logits[0, 0, 2, 3], logits[0, 0, 0, 8], logits[0, 0, 2, 0], logits[0, 0, 1, 1] = 2.0, 1.0, 0.0, 3.0
    codes = torch.zeros(1, 1, 4, 10)
    codes[0, 0, 2] = torch.tensor([1.0, 2.0, 3.0, np.log(4.0), np.log(2.0), np.log(1.5), 1.0, 0.0, 5.0, -6.0])
    codes[0, 0, 1, 0] = 61.3  # outside the range
    return NetworkOutput(logits, codes, torch.zeros(1, 4, 8), (1,), {})


def test_best_first_one_query_under_several_labels_and_out_of_range_left_out() -> None:
    boxes = decode_boxes(make_output(), DecodeConfig(max_boxes=4))
    assert boxes.query.tolist() == [2, 0, 2]
    assert boxes.label.tolist() == [3, 8, 0]
    np.testing.assert_allclose(boxes.score, [0.880797, 0.731059, 0.5], atol=1e-6)
    np.testing.assert_allclose(boxes.center[0], [1, 2, 3])
    np.testing.assert_allclose(boxes.size[0], [4, 2, 1.5], rtol=1e-6)
    assert boxes.yaw[0] == pytest.approx(np.pi / 2)
    np.testing.assert_allclose(boxes.velocity[0], [5, -6])


@pytest.mark.parametrize("log_size", [np.log(100.1), 800.0, 3e38])
@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_box_of_a_size_that_no_object_has_is_left_out(log_size: float, side: int) -> None:
    output = make_output()
    output.codes[0, 0, 2, 3 + side] = log_size
    boxes = decode_boxes(output, DecodeConfig(max_boxes=4))
    assert boxes.query.tolist() == [0]
    output.codes[0, 0, 2, 3 + side] = np.log(99.9)
    assert decode_boxes(output, DecodeConfig(max_boxes=4)).query.tolist() == [2, 0, 2]
    output.codes[0, 0, 2, 3 + side] = -800.0
    assert decode_boxes(output, DecodeConfig(max_boxes=4)).size[0, side] == 0.0


def test_threshold_and_count() -> None:
    assert len(decode_boxes(make_output(), DecodeConfig(score_threshold=0.6))) == 2
    assert len(decode_boxes(make_output(), DecodeConfig(max_boxes=1))) == 0  # the best one is out of range
    assert len(decode_boxes(make_output(), DecodeConfig(max_boxes=1000, score_threshold=0.5))) == 3
