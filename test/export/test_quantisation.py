"""quantisation: an encoder in int8 is near, is the same each time, says what it is, and is of one network only."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from tggbc_ros.backends import SHIPPED_WEIGHTS, load_network
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.config import model_config
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.data.drive.config import DEMO_IMAGE_SIZE, DriveConfig
from tggbc_ros.data.drive.frames import render_scene
from tggbc_ros.export.cache import quantised_encoder
from tggbc_ros.export.calibration import FRAMES, describe
from tggbc_ros.export.exporter import export, take_quantised
from tggbc_ros.export.layers import ALL, cost_table, layer_costs
from tggbc_ros.export.manifest import SIGNED, ExportError, read
from tggbc_ros.export.quantisation import encoder_hash, quantise, said_of
from tggbc_ros.export.saturation import saturated_share

sys.path.insert(0, str(Path(__file__).parent))

from tensorrt_limits import problems  # noqa: E402
from tiny_network import TINY  # noqa: E402

IMAGES = [np.random.default_rng(seed).uniform(-2, 2, (6, 3, 32, 64)).astype(np.float32) for seed in range(8)]
CALIBRATION = describe(IMAGES, "noise", (32, 64))


def features(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", ["encoder_int8", SIGNED])
def test_features_are_near_those_in_float32(tiny_int8_export: Path, tiny_export: Path, name: str) -> None:
    images = np.random.default_rng(99).uniform(-2, 2, (6, 3, 32, 64)).astype(np.float32)
    expected = features(tiny_export / "encoder.onnx", images)
    assert 1e-3 < error(features(tiny_int8_export / f"{name}.onnx", images), expected) < 2.0**-3


def test_the_signed_form_has_nothing_that_tensorrt_does_not_take(tiny_int8_export: Path) -> None:
    signed, plain = (onnx.load(tiny_int8_export / f"{name}.onnx") for name in (SIGNED, "encoder_int8"))
    assert list(problems(signed)) == []
    assert any("zero point" in said for said in problems(plain)), "an unsigned one would be built in the wrong type"
    steps = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    for tensor in signed.graph.initializer:
        if tensor.name.startswith("scale_relu"):
            np.testing.assert_allclose(numpy_helper.to_array(tensor), steps[tensor.name] * 255 / 127, rtol=1e-6)
        assert tensor.data_type != TensorProto.UINT8


def test_it_does_not_tell_where_it_was_made(tiny_int8_export: Path) -> None:
    here = str(Path(__file__).resolve().parents[2]).encode()
    for path in (tiny_int8_export / "encoder_int8.onnx", *map(quantised_encoder, SHIPPED_WEIGHTS.values())):
        content = path.read_bytes()
        assert here not in content and b"site-packages" not in content


def test_the_same_images_give_the_same_file(tiny_int8_export: Path, tiny_export: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.onnx"
    made_of, _ = said_of(tiny_int8_export / "encoder_int8.onnx")
    quantise(tiny_export / "encoder.onnx", IMAGES, CALIBRATION, made_of, again)
    assert again.read_bytes() == (tiny_int8_export / "encoder_int8.onnx").read_bytes()


def test_the_manifest_says_what_it_was_calibrated_on(tiny_int8_export: Path) -> None:
    manifest = read(tiny_int8_export)
    assert manifest.precision == "int8" and manifest.calibration is not None
    told = manifest.calibration
    assert (told.source, told.frames, told.cameras, told.sha256) == ("noise", 8, 6, CALIBRATION.sha256)
    assert len(told.feature_limits) == TINY.embed_dims and min(told.feature_limits) > 0
    assert told.made_by.startswith("nncf ")
    assert manifest.engine_graphs()["encoder"].file == "encoder_int8.onnx"
    assert manifest.engine_graphs(signed=True)["encoder"].file == f"{SIGNED}.onnx"
    assert SIGNED not in manifest.engine_graphs(signed=True)
    assert not (tiny_int8_export / "encoder.onnx").exists()


def test_an_encoder_of_other_weights_is_refused(tiny_int8_export: Path, tiny_export: Path, tmp_path: Path) -> None:
    ready = tiny_int8_export / "encoder_int8.onnx"
    checkpoint = tiny_export.with_name("tiny.pth")
    network, _ = build_network(TINY, checkpoint)
    plain, out = tiny_export / "encoder.onnx", tmp_path / "out.onnx"
    assert take_quantised(ready)(plain, encoder_hash(network), out) == read(tiny_int8_export).calibration
    assert out.read_bytes() == ready.read_bytes()
    with torch.no_grad():
        network.neck.output.bias += 0.01
    with pytest.raises(ExportError, match="was made of another encoder"):
        take_quantised(ready)(plain, encoder_hash(network), out)
    with pytest.raises(ExportError, match="is no encoder that this package quantised"):
        take_quantised(tiny_export / "encoder.onnx")(tiny_export, "", tmp_path / "out.onnx")
    with pytest.raises(ValueError, match="needs images to calibrate on"):
        export(TINY, checkpoint, tmp_path / "without", "int8")


@pytest.mark.parametrize("name", SHIPPED_WEIGHTS)
def test_the_shipped_one_is_of_the_shipped_weights(name: str) -> None:
    weights = SHIPPED_WEIGHTS[name]
    network, _ = build_network(model_config(name), weights)
    made_of, calibration = said_of(quantised_encoder(weights))
    assert made_of == encoder_hash(network)
    assert calibration.frames == FRAMES and len(calibration.feature_limits) == network.model.embed_dims


@pytest.mark.parametrize("name", SHIPPED_WEIGHTS)
def test_the_shipped_one_sees_what_the_shipped_weights_see(name: str) -> None:
    weights, model = SHIPPED_WEIGHTS[name], model_config(name)
    drive = render_scene(3, DriveConfig(duration_s=0.5, image_size=DEMO_IMAGE_SIZE, supersample=1))
    images = preprocess(next(iter(drive)).frame, model, "cpu").images
    expected = load_network("torch", model, None, "cpu").encode(images)[0].numpy()
    assert error(features(quantised_encoder(weights), images[0].numpy()), expected) < 2.0**-3


def test_a_vision_transformer_is_refused_in_one_line(tmp_path: Path) -> None:
    make, said = (
        take_quantised(tmp_path / "any.onnx"),
        "model demo_vit cannot be exported in int8: its backbone eva02_demo",
    )
    with pytest.raises(ExportError, match=said) as caught:
        export(model_config("demo_vit"), None, tmp_path / "out", "int8", quantise=make)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    with pytest.raises(ExportError, match=said):
        load_network("openvino_int8", model_config("demo_vit"), None, "cpu", allow_random_weights=True)


def test_what_each_layer_costs(tiny_int8_export: Path, tiny_export: Path) -> None:
    costs = layer_costs(tiny_export / "encoder.onnx", tiny_int8_export / "encoder_int8.onnx", IMAGES[:2])
    *layers, whole = costs
    network, _ = build_network(TINY, None)
    names = {name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)}
    assert whole.name == ALL and {cost.name for cost in layers} <= names
    assert all(0 < cost.error < whole.error * 1.5 for cost in layers)
    together = float(np.sqrt(sum(cost.error**2 for cost in layers)))
    assert 0.5 < together / whole.error < 2  # roundings of different layers are independent
    assert 0 < sum(cost.int8_ms for cost in layers) <= whole.int8_ms
    assert len(list(cost_table(costs))) == len(costs) + 1


def test_saturation_is_counted_by_the_ranges(tiny_int8_export: Path, tiny_export: Path) -> None:
    graphs = tiny_export / "encoder.onnx", tiny_int8_export / "encoder_int8.onnx"
    usual, brighter = (saturated_share(*graphs, [factor * each for each in IMAGES[:2]]) for factor in (1, 4))
    assert 0 <= usual < 0.01 < 0.1 < brighter < 1
