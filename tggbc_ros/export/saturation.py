"""How much of an encoder's activations lies beyond the ranges that it was quantised to, on given images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tggbc_ros.export.calibration import Images
from tggbc_ros.export.quantisation import quantiser_ranges


def saturated_share(plain: Path, quantised: Path, images: Sequence[Images]) -> float:
    """Share of all quantised activations that are clipped, as the encoder in float32 has them.

    plain, quantised: the encoder graphs of the same weights.
    """
    import onnx
    import onnxruntime

    limits = quantiser_ranges(onnx.load(quantised))
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
