"""An image encoder in eight bits: its float32 graph, and ranges seen on a few images -> a graph with quantisers.

Weights and activations become integers of eight bits at even steps: symmetric ones, weights by output channel,
activations by tensor (unsigned where they cannot be negative). That form, QuantizeLinear and DequantizeLinear around
every convolution, is one that ONNX Runtime and OpenVINO both run in integers. TensorRT knows signed integers alone,
so a second graph says the same with them, at steps twice as wide behind a ReLU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import PRESETS
from tggbc_ros.export.calibration import USUAL, Calibration, Images, parse
from tggbc_ros.export.manifest import ExportError

MADE_OF = "tggbc_ros.encoder"
CALIBRATED_ON = "tggbc_ros.calibration"


def quantisable(model: ModelConfig) -> bool:
    """Whether the encoder is one of convolutions. A vision transformer's is not: see `expect_quantisable`."""
    return model.backbone in PRESETS


def expect_quantisable(model: ModelConfig) -> None:
    """Raise ExportError for an encoder that is not worth anything in eight bits (docs/vit.md)."""
    if not quantisable(model):
        raise ExportError(
            f"model {model.name} cannot be exported in int8: its backbone {model.backbone} is a vision transformer, "
            "whose features engines get wrong in eight bits; export it in fp32, which openvino_bf16 runs, too"
        )


def require_library() -> None:
    """Raise ImportError, saying how to get it, where NNCF is not installed; running what it made does not need it."""
    if importlib.util.find_spec("nncf") is None:
        raise ImportError(
            "exporting in int8 needs the Python package nncf: ./run env/add.sh int8, or pip install nncf; "
            "or export elsewhere and set checkpoint to the folder"
        )


def encoder_hash(network: StreamPETR) -> str:
    """Of an encoder's weights, however they are stored: which encoder a quantised one was made of."""
    digest = hashlib.sha256()
    for part in ("backbone", "neck"):
        for name, tensor in sorted(getattr(network, part).state_dict().items()):
            if not name.endswith("num_batches_tracked"):
                digest.update(f"{part}.{name} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def quantise(plain: Path, images: Sequence[Images], calibration: Calibration, made_of: str, out: Path) -> Calibration:
    """Write the quantised form of the encoder graph ``plain`` to ``out``; the calibration, with its feature limits.

    made_of: `encoder_hash`. The images' order is all that the outcome depends on beside the graph. NNCF's bias
    correction is left out: on ONNX graphs of version 3.4 it adds to the error (docs/deploy.md).
    """
    import nncf
    import onnx

    logging.getLogger("nncf").setLevel(logging.ERROR)  # nncf.set_log_level would quieten everybody's handlers
    model = nncf.quantize(
        onnx.load(plain),
        nncf.Dataset(images, lambda each: {"images": each}),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
    )
    calibration = dataclasses.replace(
        calibration,
        made_by=f"nncf {nncf.__version__}",
        image_range=quantiser_ranges(model)["images"],
        feature_limits=_feature_limits(model, images),
    )
    said = {MADE_OF: made_of, CALIBRATED_ON: json.dumps(dataclasses.asdict(calibration), sort_keys=True)}
    _forget_where_it_was_made(model)
    onnx.helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, out)
    return calibration


def quantiser_ranges(model: Any) -> dict[str, tuple[float, float]]:
    """Of a quantised graph: least and greatest value that each activation's quantiser can tell, by its name."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    ranges = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            step, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            kind = np.iinfo(zero.dtype)
            low, high = (float((end - int(zero)) * step) for end in (kind.min, kind.max))
            ranges[node.input[0]] = low - float(step) / 2, high + float(step) / 2  # what rounds to the last step
    return ranges


def _forget_where_it_was_made(model: Any) -> None:
    """Drop the exporter's notes on the lines of source that each step came from, which name the machine's folders."""
    for entry in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""


def _feature_limits(model: Any, images: Sequence[Images]) -> tuple[float, ...]:
    """By channel, below which `USUAL` of its features' sizes lie."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sizes = np.stack([np.abs(session.run(None, {"images": each})[0]) for each in images])
    return tuple(round(float(limit), 5) for limit in np.quantile(sizes, USUAL, axis=(0, 1, 3, 4)))


def said_of(path: Path) -> tuple[str, Calibration]:
    """What a quantised encoder was made of, and its calibration; raises ExportError for another file."""
    import onnx

    props = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    try:
        return props[MADE_OF], parse(json.loads(props[CALIBRATED_ON]))
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{path} is no encoder that this package quantised: {error}") from error


def write_signed(quantised: Path, out: Path) -> None:
    """The same graph with signed integers alone, as TensorRT's explicit quantisation wants them.

    What cannot be negative had 255 steps up to its limit and gets 127; nothing is clipped that was not before.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(quantised)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    changed: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero_point = (constants[name] for name in node.input[1:3])
        if zero_point.data_type == TensorProto.UINT8:
            if numpy_helper.to_array(zero_point).any():
                raise ValueError(f"{quantised}: {zero_point.name} is not zero, expected symmetric quantisers")
            steps = numpy_helper.to_array(scale) * np.float32(255 / 127)
            changed[scale.name] = steps.astype(np.float32)
            changed[zero_point.name] = np.zeros(zero_point.dims, np.int8)
    for name, array in changed.items():
        constants[name].CopyFrom(numpy_helper.from_array(array, name))
    for described in model.graph.value_info:
        if described.type.tensor_type.elem_type == TensorProto.UINT8:
            described.type.tensor_type.elem_type = TensorProto.INT8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, out)
