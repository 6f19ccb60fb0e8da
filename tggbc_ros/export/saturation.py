"""How much of an encoder's activations lies beyond the ranges that it was quantised to, on given images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.export.calibration import Images


def saturated_share(plain: Path, quantised: Path, images: Sequence[Images]) -> float:
    """Share of all quantised activations that are clipped, as the encoder in float32 has them.

    plain, quantised: the encoder graphs of the same weights.
    """
    import onnx
    import onnxruntime

    limits = _limits(onnx.load(quantised))
    model = onnx.load(plain)
    inner = [name for name in limits if name != "images"]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    clipped = count = 0
    for each in images:
        seen = dict(zip(inner, session.run(inner, {"images": each}), strict=True)) | {"images": each}
        for name, values in seen.items():
            low, high = limits[name]
            clipped += int(np.count_nonzero((values < low) | (values > high)))
            count += values.size
    return clipped / count


def _limits(model: Any) -> dict[str, tuple[float, float]]:
    """Lowest and highest value that each activation's quantiser can tell, by the activation's name."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    limits = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            step, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            kind = np.iinfo(zero.dtype)
            low, high = (float((end - int(zero)) * step) for end in (kind.min, kind.max))
            limits[node.input[0]] = low - float(step) / 2, high + float(step) / 2
    return limits
