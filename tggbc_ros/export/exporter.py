"""From a checkpoint to a folder of ONNX files and a manifest."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from tggbc_ros.core.checkpoint import build_network, sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export import manifest as manifests
from tggbc_ros.export.graphs import CAMERAS, CELLS, KEYS, PRECISIONS, Graph, make_graphs
from tggbc_ros.export.manifest import GraphFile, Manifest

OPSET = 18
LIBRARIES = ("onnx", "onnxscript")
NOTING = ("torch.onnx", "onnxscript", "onnx_ir")
TRACED_CAMERAS = 2  # the least that the exporter does not take for a constant; any number runs
TRACED_KEYS = 60

Progress = Callable[[str], None]


def export(
    model: ModelConfig, checkpoint: Path | None, folder: Path, precision: str = "fp32", progress: Progress = print
) -> Manifest:
    """Write the network of a checkpoint to ``folder``, which appears whole or not at all.

    precision: of the encoder. progress is told what is being done. Raises FileExistsError where the folder is there
    already, ImportError where a library is missing, and what `core.checkpoint.load_checkpoint` does.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it, or name another folder")
    require_libraries()
    network, weights = build_network(model, checkpoint)
    start_points = network.head.queries.start_points().tolist()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
    unfinished.mkdir()
    try:
        files = {}
        for graph in make_graphs(network, precision):
            progress(f"exporting {graph.name}")
            files[graph.name] = _write_graph(graph, model, unfinished)
        manifest = Manifest(
            model=model,
            weights=weights,
            weights_sha256=sha256(checkpoint) if checkpoint else "",
            precision=precision,
            start_points_m=tuple(tuple(point) for point in start_points),
            versions=_versions(),
            graphs=files,
        )
        manifests.write(manifest, unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # gone already where all went well
    return manifest


def require_libraries() -> None:
    """Raise ImportError, saying how to get them, where what exporting needs is not installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"exporting to ONNX needs the Python package {' and '.join(missing)}: ./run env/add.sh onnx, "
            f"or pip install {' '.join(missing)}; or export elsewhere and set checkpoint to the folder"
        )


def _write_graph(graph: Graph, model: ModelConfig, folder: Path) -> GraphFile:
    import onnx

    rows, columns = model.feature_size
    sizes = {CAMERAS: TRACED_CAMERAS, CELLS: TRACED_CAMERAS * rows * columns, KEYS: TRACED_KEYS}
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
