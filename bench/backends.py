"""Measure whole frames on every backend of this machine: how much faster each is than eager PyTorch.

python -m bench.backends [--models r50_704 ...] [--backends openvino ...] [--repeats N] [--threads N]
python -m bench.backends --models r50_704 --checkpoint SLIM.safetensors

Weights are the model's own or random, which does not matter to a clock; --checkpoint is for those of a slim network.
Exports of them are kept in the cache. Backends take turns within
one run, frame by frame, and ratios are of medians. Writes OUT/bench_backends.json; prints a table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from bench.frames import KEEP_RATIOS, raw_frame
from bench.int8 import int8_export
from bench.measure import load_average, median
from bench.table import text_table
from tggbc_ros import backends
from tggbc_ros.backends.torch_backend import TorchNetwork, find_device
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.config import MODELS, ModelConfig, PruningConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.types import StepReport
from tggbc_ros.export.quantisation import quantisable

ON_A_CPU = ("torch", "onnxruntime", "openvino", "openvino_bf16", "openvino_int8")
NETWORK = ("encode", "embed", "decode")
REPEATS = 5
REFERENCE = "eager"
PAUSE_S = 0.02
"""Between two frames, as between those of a camera: threads of one engine do not spin into another's frame."""


@dataclass(frozen=True)
class Row:
    """Medians of one backend at one keep ratio. network: encode, embed and decode. frame: all stages."""

    model: str
    backend: str
    keep_ratio: float
    stage_ms: dict[str, float]
    network_ms: float
    frame_ms: float


class Eager(TorchNetwork):
    """PyTorch with the encoder as it is written, layer by layer, and as other code of StreamPETR runs it."""

    def __init__(self, model: ModelConfig, checkpoint: Path | None, device: str) -> None:
        module, weights = build_network(model, checkpoint)
        where = find_device(device)
        super().__init__(module, where, weights)
        self._module = module.to(where).eval().requires_grad_(False)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]."""
        return self._module.encode(images)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    try:
        expect_one(options.models, options.checkpoint)
        for name in tqdm(options.models, desc="models", unit="model", disable=None):
            names = [each for each in options.backends if each != "openvino_int8" or quantisable(MODELS[name])]
            given = MODELS[name], names, options.device, options.repeats
            rows += measure_backends(*given, checkpoint=options.checkpoint)
    except (ValueError, ImportError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(f"{backends_table(rows)}\n{torch.get_num_threads()} threads, load at the end {load_average()}")
    (options.out / "bench_backends.json").write_text(
        json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8"
    )
    return 0


def expect_one(models: Sequence[str], checkpoint: Path | None) -> None:
    """Raise ValueError for a checkpoint, and several models that it may be of."""
    if checkpoint is not None and len(models) != 1:
        given = ", ".join(models)
        raise ValueError(f"checkpoint is {checkpoint}, and the models are {given}: expected one of --models")


def measure_backends(
    model: ModelConfig,
    names: Sequence[str],
    device: str,
    repeats: int,
    keep_ratios: Sequence[float] = KEEP_RATIOS,
    checkpoint: Path | None = None,
) -> list[Row]:
    """One row for each keep ratio and backend, and for eager PyTorch, after one frame to warm up."""
    weights = backends.choose_weights(model, checkpoint, allow_random_weights=True)
    networks: dict[str, Network] = {REFERENCE: Eager(model, weights, device)}
    networks |= {name: load(name, model, weights, device) for name in names}
    detectors = {
        (ratio, name): Detector(network, PruningConfig(ratio))
        for ratio in keep_ratios
        for name, network in networks.items()
    }
    reports: dict[tuple[float, str], list[StepReport]] = {key: [] for key in detectors}
    for number in range(repeats + 1):
        frame = raw_frame(model, number)
        for key, detector in detectors.items():
            time.sleep(PAUSE_S)
            reports[key].append(detector.step(frame)[1])
    return [_row(model.name, ratio, name, each[1:]) for (ratio, name), each in reports.items()]


def load(name: str, model: ModelConfig, weights: Path | None, device: str) -> Network:
    """One backend's network of these weights, random where there are none; in int8 made on the spot if it need be."""
    made_of = int8_export(model, weights) if name == "openvino_int8" else weights
    return backends.load_network(name, model, made_of, device, allow_random_weights=True)


def _row(model: str, keep_ratio: float, backend: str, reports: Sequence[StepReport]) -> Row:
    return Row(
        model,
        backend,
        keep_ratio,
        stage_ms={stage: median([each.stage_ms[stage] for each in reports]) for stage in reports[0].stage_ms},
        network_ms=median([sum(each.stage_ms[stage] for stage in NETWORK) for each in reports]),
        frame_ms=median([sum(each.stage_ms.values()) for each in reports]),
    )


def backends_table(rows: Sequence[Row]) -> str:
    """Milliseconds, and how many times faster than the reference, which each model and keep ratio has a row of."""
    header = ("model", "backend", "keep", *NETWORK, "network", "times", "frame", "times")
    reference = {(row.model, row.keep_ratio): row for row in rows if row.backend == REFERENCE}
    lines = []
    for row in rows:
        slow = reference[row.model, row.keep_ratio]
        network = f"{row.network_ms:.1f}", f"{slow.network_ms / row.network_ms:.2f}"
        frame = f"{row.frame_ms:.1f}", f"{slow.frame_ms / row.frame_ms:.2f}"
        stages = (f"{row.stage_ms[stage]:.1f}" for stage in NETWORK)
        lines.append((row.model, row.backend, f"{row.keep_ratio:g}", *stages, *network, *frame))
    return text_table(header, lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.backends", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("out"), metavar="FOLDER")
    add("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    add("--checkpoint", type=Path, metavar="FILE", help="weights of the one model that is named")
    add("--backends", nargs="+", choices=list(backends.BACKENDS), default=ON_A_CPU)
    add("--repeats", type=int, default=REPEATS, metavar="N", help="frames measured of each (%(default)s)")
    add("--threads", type=int, metavar="N", help="on a CPU (default torch's own)")
    add("--device", default="cpu", help="as the parameter device (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
