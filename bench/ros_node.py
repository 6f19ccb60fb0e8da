"""The detector node around a network that does nothing: what it still costs is the ROS side and preprocessing.

python -m bench.ros_node COSTS --ros-args ...   writes COSTS, the CPU time of its costly calls, when it ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import cv2
import torch

from tggbc_ros.core import preprocess
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens
from tggbc_ros.ros import image_file
from tggbc_ros.ros.detector_node import main
from tggbc_ros.ros.images.lenses import Lens

NUM_BOXES = 40
"""As many as a street has with score_threshold 0.2, all of the first class."""


class NoNetwork:
    """Satisfies `core.detector.Network` with the same answer for every frame."""

    def __init__(self, model: ModelConfig) -> None:
        self.model, self.device, self.weights = model, torch.device("cpu"), "NONE"
        self.precision, self.gate, self.own_threads = "fp32", None, False
        rows, columns = model.feature_size
        self._features = torch.zeros(1, 6, 1, rows, columns)
        cells = torch.arange(6 * rows * columns)[None]
        self._tokens = Tokens(torch.zeros(1, cells.shape[1], 1), torch.zeros(1, cells.shape[1], 1), cells)
        queries = model.num_queries + model.num_propagated
        logits = torch.full((1, 1, queries, len(model.class_names)), -9.0)
        logits[..., :NUM_BOXES, 0] = 1.0
        layers = (cells.shape[1],) * model.num_layers
        embedding = torch.zeros(1, queries, model.embed_dims)
        self._output = NetworkOutput(logits, torch.zeros(1, 1, queries, 10), embedding, layers, {})

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Zeros, as many cells as the real one has."""
        return self._features

    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """All cells, with keys of one channel."""
        return self._tokens

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """NUM_BOXES boxes around the vehicle."""
        return self._output

    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres."""
        return torch.zeros(self.model.num_propagated, 3)

    def synchronize(self) -> None:
        """Nothing is ever under way."""


def load_network(
    backend: str, model: ModelConfig, checkpoint: Path | None, device: str, allow_random_weights: bool = False
) -> NoNetwork:
    """As `backends.load_network`."""
    return NoNetwork(model)


class Costs:
    """CPU time of functions, over all threads that call them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.spent: dict[str, dict[str, float]] = {}

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its calls and their CPU time counted under ``name``."""
        entry = self.spent[name] = {"calls": 0, "cpu_s": 0.0}

        @wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            start_s = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                spent_s = time.thread_time() - start_s
                with self._lock:
                    entry["calls"] += 1
                    entry["cpu_s"] += spent_s

        return measured


def run(path: Path, real: bool = False) -> int:
    """The node until it is interrupted; its exit status. real: with a real network, on all threads."""
    costs = Costs()
    image_file.decode_jpeg = costs.counted("decode", image_file.decode_jpeg)
    Lens.straighten = costs.counted("straighten", Lens.straighten)  # type: ignore[method-assign]
    preprocess._write_camera = costs.counted("preprocess", preprocess._write_camera)
    cv2.setNumThreads(1)  # what remap does on other threads would not be counted
    if real:
        status = main()
    else:
        torch.set_num_threads(1)
        status = main(load_network=load_network)
    path.write_text(json.dumps(costs.spent), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), real=sys.argv[2:3] == ["real"]))
