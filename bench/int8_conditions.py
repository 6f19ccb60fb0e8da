"""What an encoder in int8 loses where images are not like those it was calibrated on: python -m bench.int8_conditions.

One data set, its images as they are, darker, brighter, blurred and noisy; torch in float32 and the backend see the same
frames. Other seeds and difficulties are other data sets: name several. Scores are nuScenes' evaluator's. Saturated:
share of the encoder's activations beyond the range of their quantiser. Beyond: share of the features beyond what
calibration saw, which a node can tell while it runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.core.config import MODELS, ModelConfig, PruningConfig, model_config
from tggbc_ros.core.detector import Calibrated, Network
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens
from tggbc_ros.evaluation.loss import Ground, ground, losses
from tggbc_ros.export.cache import cached_export
from tggbc_ros.export.saturation import saturated_share

Change = Callable[[torch.Tensor], torch.Tensor]
"""Grey levels [1, N, 3, H, W], 0 to 255 -> the same of another light."""

MEASURED_FRAMES = 16
SHARES = f"{'saturated':>10} {'beyond':>8}"


def _noisy(levels: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return levels + 12.0 * torch.randn(levels.shape, generator=generator)


CONDITIONS: dict[str, Change] = {
    "as they are": lambda levels: levels,
    "darker, x 0.4": lambda levels: levels * 0.4,
    "brighter, x 1.6": lambda levels: levels * 1.6,
    "blurred, 5 x 5": lambda levels: avg_pool2d(levels[0], 5, 1, 2, count_include_pad=False)[None],
    "noise, 12 levels": _noisy,
}


class Changed:
    """A network that sees its images changed."""

    def __init__(self, network: Network, change: Change) -> None:
        self.model, self.device = network.model, network.device
        self.weights, self.precision, self.gate = network.weights, network.precision, network.gate
        self.own_threads = network.own_threads
        self._network, self._change = network, change

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """As the network does, of changed images."""
        return self._network.encode(changed(images, self.model, self._change))

    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """As the network does."""
        return self._network.embed(features, inputs, cells)

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """As the network does."""
        return self._network.decode(tokens, memory, pruning)

    def start_points(self) -> torch.Tensor:
        """As the network does."""
        return self._network.start_points()

    def synchronize(self) -> None:
        """As the network does."""
        self._network.synchronize()


def changed(images: torch.Tensor, model: ModelConfig, change: Change) -> torch.Tensor:
    """Normalised images, changed as grey levels, which stay whole numbers from 0 to 255."""
    mean, std = (torch.tensor(of).reshape(3, 1, 1) for of in (model.mean, model.std))
    levels = change(images * std + mean).clamp(0, 255).round()
    return (levels - mean) / std


def measure(given: argparse.Namespace) -> Iterator[str]:
    """A line for each data set and condition."""
    model = model_config(given.model)
    weights = backends.choose_weights(model, None, allow_random_weights=False)
    reference = backends.load_network("torch", model, weights, "cpu")
    tested = backends.load_network(given.backend, model, given.checkpoint or weights, "cpu")
    plain, _ = cached_export(model, weights)
    folder, manifest = cached_export(model, weights, "int8") if given.checkpoint is None else (given.checkpoint, None)
    graphs = plain / "encoder.onnx", folder / "encoder_int8.onnx"
    assert manifest is None or manifest.precision == "int8"
    yield f"{'data':<14} {'images':<17} {'keep':>5} {'mAP torch':>10} {'int8':>7} {'loss':>8} {SHARES}"
    for root, (name, change) in itertools.product(given.data, CONDITIONS.items()):
        on = ground(root, None, given.split)
        images = [changed(each, model, change) for each in _some_images(on, model)]
        saturated = saturated_share(*graphs, [each[0].numpy() for each in images])
        beyond = float(np.mean([_beyond(tested, each) for each in images]))
        pair = Changed(reference, change), Changed(tested, change)
        frames = 2 * sum(map(len, on.split.scenes.values()))
        with tqdm(total=frames, unit="frame", desc=f"{root.name}, {name}", disable=None, leave=False) as bar:
            found = losses(*pair, on, given.keep_ratio, bar.update)
        for loss in found:
            scores = f"{loss.reference.mean_ap:10.4f} {loss.tested.mean_ap:7.4f} {loss.mean_ap:8.4f}"
            yield f"{root.name:<14} {name:<17} {loss.keep_ratio:5g} {scores} {saturated:10.3%} {beyond:8.3%}"


def _some_images(on: Ground, model: ModelConfig) -> list[torch.Tensor]:
    samples = list(on.split.samples())
    step = max(1, len(samples) // MEASURED_FRAMES)
    return [preprocess(sample.camera_frame(), model, "cpu").images for sample in samples[::step]]


def _beyond(network: Network, images: torch.Tensor) -> float:
    network.encode(images)
    assert isinstance(network, Calibrated)
    return network.beyond_calibration or 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 and one line on standard error if it fails."""
    parser = argparse.ArgumentParser(
        "python -m bench.int8_conditions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, metavar="DIR", help="data sets in nuScenes' v1.0 schema")
    add("--split", required=True, metavar="NAME", help="of each")
    add("--model", choices=list(MODELS), default="demo")
    add("--backend", default="openvino_int8")
    add("--checkpoint", type=Path, metavar="DIR", help="export in int8; without, the model's own")
    add("--keep-ratio", type=float, nargs="+", default=[1.0, 0.3])
    given = parser.parse_args(arguments)
    try:
        for line in measure(given):
            print(line, flush=True)
    except (ValueError, OSError, ImportError) as error:
        print(f"int8_conditions: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
