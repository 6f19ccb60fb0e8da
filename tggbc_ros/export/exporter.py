"""From a checkpoint to a folder of ONNX files and a manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from tggbc_ros.core.checkpoint import GATE_PREFIX, build_network, read_gate_state, sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export import manifest as manifests
from tggbc_ros.export.calibration import Calibration, Images
from tggbc_ros.export.graphs import CAMERAS, KEYS, PRECISIONS, Graph, make_graphs
from tggbc_ros.export.manifest import GATE_FILE, SIGNED, ExportError, GraphFile, Manifest
from tggbc_ros.export.quantisation import encoder_hash, expect_quantisable, quantise, said_of, write_signed

OPSET = 18
LIBRARIES = ("onnx", "onnxscript")
NOTING = ("torch.onnx", "onnxscript", "onnx_ir")
TRACED_CAMERAS = 2  # the least that the exporter does not take for a constant; any number runs
TRACED_KEYS = 60

Progress = Callable[[str], None]


Quantise = Callable[[Path, str, Path], Calibration]
"""Makes the encoder in int8: its float32 graph, its `encoder_hash` and the file to write -> what it learned from."""


def export(
    model: ModelConfig,
    checkpoint: Path | None,
    folder: Path,
    precision: str = "fp32",
    progress: Progress = print,
    quantise: Quantise | None = None,
) -> Manifest:
    """Write the network of a checkpoint to ``folder``, which appears whole or not at all.

    precision: of the encoder. quantise: for int8, and then needed, `quantise_on` or `take_quantised`. progress is told
    what is being done. Raises FileExistsError where the folder is there already, ImportError where a library is
    missing, and what `core.checkpoint.load_checkpoint` does.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if (precision == "int8") != (quantise is not None):
        raise ValueError("precision int8 needs images to calibrate on, and no other does")
    if precision == "int8":
        expect_quantisable(model)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it, or name another folder")
    require_libraries()
    network, weights = build_network(model, checkpoint)
    made_of = encoder_hash(network)
    start_points = network.head.queries.start_points().tolist()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
    unfinished.mkdir()
    try:
        files = {}
        for graph in make_graphs(network, precision):
            progress(f"exporting {graph.name}")
            files[graph.name] = _write_graph(graph, unfinished)
        calibration = None
        if quantise is not None:
            progress("quantising encoder")
            calibration = _quantise_encoder(unfinished, files, quantise, made_of)
        manifest = Manifest(
            model=network.model,
            weights=weights,
            weights_sha256=sha256(checkpoint) if checkpoint else "",
            precision=precision,
            start_points_m=tuple(tuple(point) for point in start_points),
            versions=_versions(),
            graphs=files,
            calibration=calibration,
            key_gate_sha256=_write_gate(checkpoint, unfinished),
        )
        manifests.write(manifest, unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # gone already where all went well
    return manifest


def quantise_on(images: Sequence[Images], calibration: Calibration) -> Quantise:
    """Learn the encoder's ranges from these images; needs NNCF."""

    def make(plain: Path, made_of: str, out: Path) -> Calibration:
        return quantise(plain, images, calibration, made_of, out)

    return make


def take_quantised(path: Path) -> Quantise:
    """Take an encoder that was quantised before; raises ExportError if it was made of other weights."""

    def make(plain: Path, made_of: str, out: Path) -> Calibration:
        found, calibration = said_of(path)
        if found != made_of:
            raise ExportError(f"{path} was made of another encoder, {found[:16]}…, expected {made_of[:16]}…")
        shutil.copyfile(path, out)
        return calibration

    return make


def _quantise_encoder(folder: Path, files: dict[str, GraphFile], quantise: Quantise, made_of: str) -> Calibration:
    """Put the encoder in int8 in the place of the one in float32, and beside it its signed form."""
    plain = files["encoder"]
    path, quantised = folder / plain.file, folder / "encoder_int8.onnx"
    calibration = quantise(path, made_of, quantised)
    path.unlink()
    signed = folder / f"{SIGNED}.onnx"
    write_signed(quantised, signed)
    for name, file in (("encoder", quantised), (SIGNED, signed)):
        files[name] = dataclasses.replace(plain, file=file.name, sha256=sha256(file))
    return calibration


def _write_gate(checkpoint: Path | None, folder: Path) -> str:
    """Put the checkpoint's key gate beside the graphs, as it is; the file's hash, empty where there is no gate."""
    state = read_gate_state(checkpoint) if checkpoint else {}
    if not state:
        return ""
    from safetensors.torch import save_file

    save_file({f"{GATE_PREFIX}{name}": value for name, value in state.items()}, folder / GATE_FILE)
    return sha256(folder / GATE_FILE)


def require_libraries() -> None:
    """Raise ImportError, saying how to get them, where what exporting needs is not installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"exporting to ONNX needs the Python package {' and '.join(missing)}: ./run env/add.sh onnx, "
            f"or pip install {' '.join(missing)}; or export elsewhere and set checkpoint to the folder"
        )


def _write_graph(graph: Graph, folder: Path) -> GraphFile:
    import onnx

    sizes = {CAMERAS: TRACED_CAMERAS, KEYS: TRACED_KEYS}
    traced = tuple(
        torch.zeros([size if isinstance(size, int) else sizes[size] for size in shape])
        for shape in graph.inputs.values()
    )
    free = {
        name: {axis: size for axis, size in enumerate(shape) if isinstance(size, str)}
        for name, shape in graph.inputs.items()
    }
    path = folder / f"{graph.name}.onnx"
    with _quiet():
        torch.onnx.export(
            graph.module,
            traced,
            path,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=free if any(free.values()) else None,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(path, full_check=True)
    return GraphFile(path.name, sha256(path), graph.inputs, graph.outputs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notes on what is not needed (torchvision) and on their own insides."""
    loggers = [logging.getLogger(name) for name in NOTING]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _versions() -> dict[str, str]:
    import onnx
    import onnxscript

    return {
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "opset": str(OPSET),
    }
