"""What each convolution of an encoder in int8 costs: the features' error with it alone in int8, and its time.

The error is a root mean square as a share of that of the features in float32. The time is what OpenVINO's own clock
says, so that a layer's quantisers, and what it fuses into the convolution, are part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.export.calibration import Images

TIMED = 5
"""How often the whole encoder runs for the times; the least of each layer counts."""


ALL = "all"


@dataclass(frozen=True)
class LayerCost:
    """One convolution. error: of the features, with it alone in int8. ms: in the encoder in int8, and in float32."""

    name: str
    error: float
    int8_ms: float
    fp32_ms: float


def layer_costs(plain: Path, quantised: Path, images: Sequence[Images]) -> list[LayerCost]:
    """Of each convolution, in order. plain, quantised: the encoder graphs of the same weights.

    The last is `ALL`: every layer in int8, and the whole encoder's time.
    """
    import onnx

    float_model, int8_model = onnx.load(plain), onnx.load(quantised)
    expected = _features(float_model.SerializeToString(), images)
    convolutions = {node.name: node.input[1] for node in float_model.graph.node if node.op_type == "Conv"}
    alone = {name: _with_one(float_model, int8_model, name) for name in convolutions}
    errors = {name: _error(_features(model, images), expected) for name, model in alone.items()}
    errors[ALL] = _error(_features(int8_model.SerializeToString(), images), expected)
    int8_ms, fp32_ms = (_times(path, images[0], list(convolutions)) for path in (quantised, plain))
    called = {name: weight.removesuffix(".weight") for name, weight in convolutions.items()} | {ALL: ALL}
    return [LayerCost(called[name], error, int8_ms[name], fp32_ms[name]) for name, error in errors.items()]


def cost_table(costs: Sequence[LayerCost]) -> Iterator[str]:
    """For people: the layers in order, the whole encoder last."""
    width = max(len(cost.name) for cost in costs)
    yield f"{'layer':<{width}} {'error alone':>11} {'int8 ms':>8} {'fp32 ms':>8}"
    for cost in costs:
        yield f"{cost.name:<{width}} {cost.error:11.2%} {cost.int8_ms:8.2f} {cost.fp32_ms:8.2f}"


def _with_one(plain: Any, quantised: Any, name: str) -> bytes:
    """The float32 graph with the quantisers of one convolution's inputs put in."""
    import onnx

    model = onnx.ModelProto.FromString(plain.SerializeToString())
    convolution = next(node for node in model.graph.node if node.name == name)
    twin = next(node for node in quantised.graph.node if node.name == name)
    makers = {output: node for node in quantised.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in quantised.graph.initializer}
    place = list(model.graph.node).index(convolution)
    for index in range(2):
        chain, at = [], twin.input[index]
        while at in makers and makers[at].op_type in ("QuantizeLinear", "DequantizeLinear"):
            chain.insert(0, makers[at])
            at = makers[at].input[0]
        for number, node in enumerate(chain):
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name = f"{name}_{index}_{number}"
            copy.output[0] = f"{node.output[0]}_{name}_{index}"
            if number:
                copy.input[0] = f"{node.input[0]}_{name}_{index}"
            elif index == 0:
                copy.input[0] = convolution.input[0]
            needed = [each for each in copy.input if each in constants]
            there = {tensor.name for tensor in model.graph.initializer}
            model.graph.initializer.extend(constants[each] for each in needed if each not in there)
            model.graph.node.insert(place, copy)
            place += 1
        if chain:
            convolution.input[index] = f"{chain[-1].output[0]}_{name}_{index}"
    content: bytes = model.SerializeToString()
    return content


def _features(model: bytes, images: Sequence[Images]) -> npt.NDArray[np.float32]:
    import onnxruntime

    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # or it tells of every weight in float32 that `_with_one` leaves without use
    session = onnxruntime.InferenceSession(model, quiet, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"images": each})[0] for each in images])


def _error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


def _times(path: Path, images: Images, names: Sequence[str]) -> dict[str, float]:
    """Milliseconds of each convolution, by name, and of all steps together."""
    import openvino

    core = openvino.Core()
    options = {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()
    least = dict.fromkeys([*names, ALL], np.inf)
    for _ in range(TIMED):
        request.infer({0: images})
        took = {info.node_name: info.real_time.total_seconds() * 1e3 for info in request.profiling_info}
        took[ALL] = sum(took.values())
        for name in least:
            found = next((ms for node, ms in took.items() if node.split("/")[0] == name), 0.0)
            least[name] = min(least[name], found)
    return least
