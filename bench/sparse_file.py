"""What a sparse checkpoint saves and costs: its bytes, and how long it takes to load, against the same weights dense.

``python -m bench.sparse_file FILE --model demo``; every backend named is asked whether it encodes to the bit alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tggbc_ros import backends
from tggbc_ros.core.checkpoint import build_network, read_state_dict
from tggbc_ros.core.config import MODELS, ModelConfig, model_config
from tggbc_ros.core.network_file import shape_in, write_network

CAMERAS = 6


def load_ms(model: ModelConfig, files: Sequence[Path], repeats: int) -> list[float]:
    """Median time of building a network from each file, in turns, in ms of the process."""
    times: list[list[float]] = [[] for _ in files]
    for _ in range(repeats):
        for path, mine in zip(files, times, strict=True):
            started = time.process_time()
            build_network(model, path)
            mine.append((time.process_time() - started) * 1e3)
    return [statistics.median(mine) for mine in times]


def same_bits(model: ModelConfig, files: Sequence[Path], backend: str) -> bool:
    """Whether a backend encodes noise alike from all files."""
    images = torch.randn(1, CAMERAS, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    first, *others = (backends.load_network(backend, model, path, "cpu").encode(images) for path in files)
    return all(torch.equal(first, each) for each in others)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; exit status 1 where a backend's features differ."""
    parser = argparse.ArgumentParser("python -m bench.sparse_file", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="as tools.compress sparse writes it")
    parser.add_argument("--model", choices=list(MODELS), required=True)
    parser.add_argument("--backends", nargs="+", choices=list(backends.BACKENDS), default=["torch"])
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args(arguments)
    model = model_config(given.model)
    with tempfile.TemporaryDirectory() as folder:
        dense = Path(folder) / "dense.safetensors"
        write_network(read_state_dict(given.file), dense, shape_in(given.file, model))
        sizes = [path.stat().st_size for path in (given.file, dense)]
        print(f"bytes: {sizes[0]} of {sizes[1]}, {sizes[0] / sizes[1]:.3f}")
        sparse_ms, dense_ms = load_ms(model, (given.file, dense), given.repeats)
        print(f"load: {sparse_ms:.0f} ms, dense {dense_ms:.0f} ms, {sparse_ms / dense_ms:.2f} times as long")
        alike = {name: same_bits(model, (given.file, dense), name) for name in given.backends}
    for name, same in alike.items():
        print(f"{name}: {'the same bits' if same else 'OTHER bits'}")
    return 0 if all(alike.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
