"""report: the name of what computes."""

from __future__ import annotations

import numpy as np
import pytest
from std_msgs.msg import Header

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import StepReport
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.output.report import Identity, engine_name, frame_report


@pytest.mark.parametrize(
    ("backend", "precision", "name"),
    [
        ("torch", "fp32", "torch"),
        ("openvino_bf16", "bf16", "openvino_bf16"),
        ("openvino_int8", "int8", "openvino_int8"),
        ("onnxruntime", "int8", "onnxruntime, encoder in int8"),
        ("tensorrt", "fp16", "tensorrt, encoder in fp16"),
    ],
)
def test_a_precision_that_the_backends_name_does_not_tell_is_told(backend: str, precision: str, name: str) -> None:
    assert engine_name(backend, precision) == name


@pytest.mark.parametrize(
    ("tokens", "used", "shares"),
    [(None, 1.0, []), (np.array([[True] * 3 + [False], [True] + [False] * 3]), 0.5, [0.75, 0.25])],
)
def test_tokens_that_passed_are_told(tokens: np.ndarray | None, used: float, shares: list[float]) -> None:
    step = StepReport(1.0, (4, 4), {}, 0.0, "", np.arange(4), token_rate=0.4, tokens=tokens)
    totals = Totals(1, 1, {}, {}, "")
    report = frame_report(Header(), Identity("m", "w", "torch", "cpu"), PruningConfig(), step, {}, totals)
    assert report.token_rate == pytest.approx(0.4)
    assert report.token_rate_used == used and list(report.tokens) == shares
