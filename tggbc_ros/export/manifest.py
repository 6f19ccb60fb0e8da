"""The manifest beside exported graphs: what they are, what they were made from, and the hash of every file.

Nothing of an export is used before its hashes are found to be right.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.shape import from_data
from tggbc_ros.export.calibration import Calibration, parse

FILE_NAME = "manifest.json"
FORMAT = 2
GATE_FILE = "key_gate.safetensors"
SEAL = "manifest_sha256"
EXPORT_COMMAND = "python -m tggbc_ros.tools.export"
SIGNED = "encoder_signed"
"""Beside the encoder in int8: the same with signed integers alone, as TensorRT wants them."""
_TUPLES = ("image_size", "mean", "std", "class_names", "pc_range", "position_range")


class ExportError(ValueError):
    """An export that is damaged, incomplete, of another model, or of a form that this version does not know."""


@dataclass(frozen=True)
class GraphFile:
    """One ONNX file. inputs and outputs: shapes by name, in order; a name in a shape is a size known at run time."""

    file: str
    sha256: str
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: Mapping[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Manifest:
    """What an export is.

    weights: name of what it was made from, and weights_sha256 of that file; empty for random ones. precision: of
    the encoder. start_points_m: [propagated][3], lidar frame, where the queries of an empty memory look. versions:
    of what made it. graphs: by name. calibration: what the ranges of an encoder in int8 were learned from.
    key_gate_sha256: of the file GATE_FILE beside them, empty without one.
    """

    model: ModelConfig
    weights: str
    weights_sha256: str
    precision: str
    start_points_m: tuple[tuple[float, ...], ...]
    versions: Mapping[str, str]
    graphs: Mapping[str, GraphFile]
    calibration: Calibration | None = None
    key_gate_sha256: str = ""

    def engine_graphs(self, signed: bool = False) -> dict[str, GraphFile]:
        """The graphs that an engine runs, by name. signed: where an encoder in int8 is to use signed integers alone."""
        graphs = {name: file for name, file in self.graphs.items() if name != SIGNED}
        if signed and SIGNED in self.graphs:
            graphs["encoder"] = self.graphs[SIGNED]
        return graphs


def write(manifest: Manifest, folder: Path) -> None:
    """Write ``folder``/manifest.json, sealed with its own hash."""
    content: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(manifest), "preprocessing": _recipe(manifest)}
    content[SEAL] = _seal(content)
    (folder / FILE_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of an export whose every file is as it was written; raises ExportError naming what is not."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise ExportError(f"{folder} is no export: it has no {FILE_NAME}; make one with {EXPORT_COMMAND}")
    content = _sealed_content(path)
    if content.get("format") != FORMAT:
        found = content.get("format")
        raise ExportError(f"{path} has format {found}, expected {FORMAT}: export anew, {EXPORT_COMMAND}")
    try:
        manifest = _parse(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{type(error).__name__} {error}"
        raise ExportError(
            f"{path} is of another version of this package, {what}: export anew, {EXPORT_COMMAND}"
        ) from error
    missing = graph_names(manifest.model) - manifest.graphs.keys()
    if missing:
        raise ExportError(f"{path} lacks the graphs {', '.join(sorted(missing))}: export anew, {EXPORT_COMMAND}")
    for name, graph in manifest.graphs.items():
        _check_file(folder / graph.file, graph.sha256, f"the graph {name}")
    if manifest.key_gate_sha256:
        _check_file(folder / GATE_FILE, manifest.key_gate_sha256, "the key gate")
    return manifest


def graph_names(model: ModelConfig) -> set[str]:
    """Without which no engine can run the model."""
    return {"encoder", "rays", "tokens", "queries", *(f"layer{index}" for index in range(model.num_layers)), "branches"}


def _recipe(manifest: Manifest) -> dict[str, Any]:
    """For who feeds the graphs without this package: how an image becomes the encoder's input."""
    model = manifest.model
    return {
        "resize": "Pillow bicubic by max(height / image height, width / image width), cut centrally and at the top",
        "image_size": model.image_size,
        "color_order": model.color_order,
        "mean": model.mean,
        "std": model.std,
        "layout": "[cameras, 3, height, width], (pixel - mean) / std",
        "class_names": model.class_names,
    }


def _seal(content: Mapping[str, Any]) -> str:
    """Hash of all that a manifest says, independent of its white space."""
    said = {key: item for key, item in content.items() if key != SEAL}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _sealed_content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8
        raise ExportError(f"{path} cannot be read: {error}; export anew, {EXPORT_COMMAND}") from error
    found = content.get(SEAL) if isinstance(content, dict) else None
    if not isinstance(content, dict) or found != _seal(content):
        raise ExportError(f"{path} was changed: its hash is not the {SEAL} in it; export anew, {EXPORT_COMMAND}")
    return content


def _parse(content: Mapping[str, Any]) -> Manifest:
    """What the seal vouches for was written by `write`, though maybe by another version's."""
    model: dict[str, Any] = {name: tuple(item) if name in _TUPLES else item for name, item in content["model"].items()}
    if model.get("shape") is not None:
        model["shape"] = from_data(model["shape"])
    graphs = {
        name: GraphFile(graph["file"], graph["sha256"], _shapes(graph["inputs"]), _shapes(graph["outputs"]))
        for name, graph in content["graphs"].items()
    }
    return Manifest(
        model=ModelConfig(**model),
        weights=content["weights"],
        weights_sha256=content["weights_sha256"],
        precision=content["precision"],
        start_points_m=tuple(tuple(point) for point in content["start_points_m"]),
        versions=content["versions"],
        graphs=graphs,
        calibration=parse(content["calibration"]) if content.get("calibration") else None,
        key_gate_sha256=content["key_gate_sha256"],
    )


def _shapes(listed: Mapping[str, list[int | str]]) -> dict[str, tuple[int | str, ...]]:
    return {name: tuple(shape) for name, shape in listed.items()}


def _check_file(path: Path, expected: str, what: str) -> None:
    if not path.is_file():
        raise ExportError(f"{path} is missing, {what} of its export; export anew, {EXPORT_COMMAND}")
    found = sha256(path)
    if found != expected:
        raise ExportError(
            f"{path} is damaged or of another export: its sha256 is {found[:16]}…, "
            f"expected {expected[:16]}…; export anew, {EXPORT_COMMAND}"
        )
