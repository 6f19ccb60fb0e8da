"""report: the name of what computes."""

from __future__ import annotations

import pytest

from tggbc_ros.ros.output.report import engine_name


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
