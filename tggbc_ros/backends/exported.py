"""What every engine that runs exported graphs has in common: all but the running of one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from tggbc_ros.backends.gauge import Gauge
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.decoder import run_layers
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.position import KeptRays, Rays, cell_features, lines_of_sight, renewed, renewed_cells
from tggbc_ros.core.queries import Queries
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens
from tggbc_ros.export.cache import cached_export
from tggbc_ros.export.manifest import EXPORT_COMMAND, ExportError, GraphFile, Manifest, read

USUAL_CAMERAS, MOST_CAMERAS = 6, 8
"""For how many TensorRT tunes its engines, and up to how many they serve."""

Run = Callable[..., tuple[torch.Tensor, ...]]
"""One graph: its inputs in order, on the network's device -> its outputs in order, there too."""


class ExportedNetwork:
    """`core.detector.Network` over the graphs of an export. Geometry, pruning and memory are those of core."""

    def __init__(self, manifest: Manifest, graphs: Mapping[str, Run], device: torch.device) -> None:
        self.model = manifest.model
        self.device = device
        self.weights = manifest.weights
        self.precision = manifest.precision
        self.gate: KeyGate | None = None
        self.own_threads = device.type == "cpu"
        self.graphs = graphs
        self._layers = [partial(_run_layer, graphs[f"layer{index}"]) for index in range(self.model.num_layers)]
        self._gauge = Gauge(manifest.calibration, device) if manifest.calibration else None
        self._start_points = torch.tensor(manifest.start_points_m, device=device)
        self._rays: KeptRays | None = None

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [1, N, 3, H, W] -> features [1, N, C, rows, columns]."""
        if images.shape[0] != 1:
            raise ValueError(f"images have shape {tuple(images.shape)}, expected one frame: an export has no batches")
        features = self.graphs["encoder"](images[0])[0]
        if self._gauge is not None:
            self._gauge.note(images[0], features)
        return features[None]

    @torch.inference_mode()
    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """Features and calibration -> keys and values; a camera's rays are kept as long as its matrix is."""
        by_cell = cell_features(features)
        count = by_cell.shape[1]
        if cells is None:
            self._rays = renewed(self._rays, inputs, self._compute_rays)
            rays, index = self._rays.rays, torch.arange(count, device=self.device)
        else:
            self._rays = renewed_cells(self._rays, inputs, self._compute_rays, cells, count)
            by_cell, rays, index = by_cell.index_select(1, cells), self._rays.rays.of_cells(cells), cells
        key, value = self.graphs["tokens"](by_cell, rays.position, rays.scale, rays.shift)
        return Tokens(key, value, index[None], count)

    @property
    def beyond_calibration(self) -> float | None:
        """As `core.detector.Calibrated`."""
        return self._gauge.share() if self._gauge else None

    def _compute_rays(
        self, inputs: NetworkInput, cameras: list[int] | None = None, cells: torch.Tensor | None = None
    ) -> Rays:
        points, cone = lines_of_sight(self.model, inputs, cameras, cells)
        position, scale, shift = self.graphs["rays"](points, cone)
        return Rays(position, cone, scale, shift)

    @torch.inference_mode()
    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """Keys, values and memory -> logits and box codes of the last decoder layer."""
        remembered = memory.embedding, memory.reference_point, memory.age_s, memory.pose, memory.velocity
        content, position, reference, seen, seen_position = self.graphs["queries"](*remembered)
        queries = Queries(content, position, reference, seen, seen_position)
        read_branches = partial(self._read_branches, queries)
        decoded = run_layers(self._layers, _as_it_is, lambda hidden: read_branches(hidden)[0], queries, tokens, pruning)
        logits, codes, embedding = read_branches(decoded.outputs[-1])
        return NetworkOutput(logits[None], codes[None], embedding, decoded.num_keys, decoded.trims)

    def _read_branches(self, queries: Queries, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.graphs["branches"](hidden, queries.reference)

    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres, lidar frame."""
        return self._start_points

    def synchronize(self) -> None:
        """Wait for the CUDA queue; on a CPU there is none."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def find_export(model: ModelConfig, checkpoint: Path | None, precision: str = "") -> tuple[Path, Manifest]:
    """The export to run, checked: the folder that ``checkpoint`` is, or the one made from that file.

    precision: that the encoder has to have; of a folder any, if empty. What its backbone looks like is the export's own
    affair. Raises ExportError for one that is damaged, of another model or of another precision.
    """
    if checkpoint is not None and checkpoint.is_dir():
        folder, manifest = checkpoint, read(checkpoint)
    else:
        folder, manifest = cached_export(model, checkpoint, precision or "fp32")
    if dataclasses.replace(manifest.model, shape=None) != dataclasses.replace(model, shape=None):
        raise ExportError(
            f"{folder} is an export of model {manifest.model.name}"
            f"{', configured otherwise' if manifest.model.name == model.name else ''}, expected {model.name}: "
            f"set the parameter model, or export anew, {EXPORT_COMMAND}"
        )
    if precision and manifest.precision != precision:
        raise ExportError(
            f"{folder} has an encoder in {manifest.precision}, expected {precision}: set another backend, or export "
            f"anew, {EXPORT_COMMAND} --precision {precision}"
        )
    return folder, manifest


class GraphIO:
    """The shapes that go in and out of a graph, for an engine that writes into buffers it is given."""

    def __init__(self, name: str, file: GraphFile, device: torch.device) -> None:
        self.name = name
        self.inputs = file.inputs
        self.outputs = file.outputs
        self.device = device

    def check(self, given: tuple[torch.Tensor, ...]) -> dict[str, int]:
        """The sizes that the inputs give to the names in their shapes; raises ValueError for one that does not fit."""
        sizes: dict[str, int] = {}
        for (name, shape), tensor in zip(self.inputs.items(), given, strict=True):
            elsewhere = tensor.device.type != self.device.type  # "cuda" and "cuda:0" are one device, but not equal
            if tensor.dim() != len(shape) or tensor.dtype != torch.float32 or elsewhere:
                raise ValueError(f"{self._found(name, tensor)}, expected {shape}, torch.float32, on {self.device}")
            for size, expected in zip(tensor.shape, shape, strict=True):
                if size != (sizes.setdefault(expected, size) if isinstance(expected, str) else expected):
                    raise ValueError(f"{self._found(name, tensor)}, expected {shape}, where {sizes}")
        return sizes

    def _found(self, name: str, tensor: torch.Tensor) -> str:
        shape = tuple(tensor.shape)
        return f"input {name} of graph {self.name} has shape {shape} and is {tensor.dtype} on {tensor.device}"

    def make_outputs(self, sizes: Mapping[str, int]) -> tuple[torch.Tensor, ...]:
        """Room for the outputs, not yet written."""
        return tuple(
            torch.empty([size if isinstance(size, int) else sizes[size] for size in shape], device=self.device)
            for shape in self.outputs.values()
        )


def _run_layer(
    run: Run, hidden: torch.Tensor, queries: Queries, tokens: Tokens
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `core.decoder.DecoderLayer`."""
    seen = queries.memory, queries.memory_position
    new_hidden, query_heads, key_heads = run(hidden, queries.position, *seen, tokens.key, tokens.value)
    return new_hidden, query_heads, key_heads


def _as_it_is(hidden: torch.Tensor) -> torch.Tensor:
    """In place of the norm of a layer's output, which is part of the graph of the branches."""
    return hidden
