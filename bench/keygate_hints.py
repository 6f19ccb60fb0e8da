"""What a key gate is best told of the frames before: python -m bench.keygate_hints.

Gates with several seeds, each told nothing of the past's importance, told it cell by cell as it was found (what ships),
and told it where the vehicle's motion has moved it to, if everything were so many metres away. Rank correlation with
the true importance, and the share of it that the best 0.3 hold, on other drives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from bench.keygate_frames import Watched, watch
from tggbc_ros import backends
from tggbc_ros.compress import keygate
from tggbc_ros.compress.frames import Looked
from tggbc_ros.compress.keygate import Tell, told
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import MODELS, ModelConfig, model_config
from tggbc_ros.core.key_gate import FOUND_HINTS, LEAST_DEPTH_M, KeyGate

DISTANCES_M = (10.0, 20.0, 1e4)


def aligned(carried: Carried, number: int, watched: Watched, model: ModelConfig, distance_m: float) -> Carried:
    """Importance [1, T] as the frame before left it, where this frame sees what it belonged to.

    A cell gets the importance of the cell that saw its middle, ``distance_m`` away, in the frame before; the most of
    several cameras; its own where none did.
    """
    now2then = watched.lidar2global[number - 1].inverse() @ watched.lidar2global[number]
    cameras, (rows, columns) = len(watched.lidar2img[number]), model.feature_size
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    u, v = ((each.double().flatten() + 0.5) * model.stride for each in (column, row))
    ray = torch.stack([u * distance_m, v * distance_m, torch.full_like(u, distance_m), torch.ones_like(u)])
    then = now2then @ (watched.lidar2img[number].inverse() @ ray)
    seen = (watched.lidar2img[number - 1][:, None] @ then).transpose(2, 3)  # [then, now, cells, 4]
    depth = seen[..., 2]
    place = (seen[..., :2] / (depth.clamp_min(LEAST_DEPTH_M) * model.stride)[..., None]).floor()
    x, y = place.unbind(dim=-1)
    inside = (depth > LEAST_DEPTH_M) & (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    cell = (y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)).long()
    cell += torch.arange(cameras)[:, None, None] * rows * columns
    importance = carried.importance[0]
    best = importance[cell].masked_fill(~inside, -torch.inf).amax(dim=0).flatten()
    return Carried(torch.where(best.isfinite(), best, importance)[None], carried.frame)


def nothing(gate: KeyGate, looked: Sequence[Looked]) -> list[torch.Tensor]:
    """As in a first frame, always."""
    return [torch.zeros(len(frame.features), FOUND_HINTS) for frame in looked]


def tells(watched: Watched, model: ModelConfig) -> dict[str, Tell]:
    """Ways to tell of the past, by name."""
    found: dict[str, Tell] = {"nothing": nothing, "cell by cell": told}
    for distance_m in DISTANCES_M:
        moved = partial(aligned, watched=watched, model=model, distance_m=distance_m)
        found[f"aligned at {distance_m:g} m"] = partial(told, moved=moved)
    return found


def compare(given: argparse.Namespace) -> Iterator[str]:
    """A line for each way: every seed's numbers."""
    network = backends.load_network("torch", model_config(given.model), given.checkpoint, given.device)
    fitted = watch(network, given.data, given.split, given.sweeps, given.frames)
    judged = watch(network, given.judge_data, given.judge_split, given.sweeps, given.frames)
    yield f"{'told of the past':<18} rank correlation; held by the best 0.3: one a seed"
    cameras = len(fitted.lidar2img[0])
    there = tells(judged, network.model)
    for name, tell in tells(fitted, network.model).items():
        qualities = [
            keygate.judge(keygate.fit(network.model, cameras, fitted.looked, seed, tell=tell), judged.looked,
                          tell=there[name])
            for seed in range(given.seeds)
        ]  # fmt: skip
        ranks = ", ".join(f"{quality.rank_correlation:.4f}" for quality in qualities)
        yield f"{name:<18} {ranks}; {', '.join(f'{quality.held:.4f}' for quality in qualities)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 and one line on standard error if it fails."""
    parser = argparse.ArgumentParser(
        "python -m bench.keygate_hints", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="data set in nuScenes' v1.0 schema, to fit on")
    add("--split", required=True, metavar="NAME")
    add("--judge-data", type=Path, required=True, metavar="DIR", help="other drives, to judge on")
    add("--judge-split", required=True, metavar="NAME")
    add("--sweeps", action="store_true", help="every set of images (12 Hz) of both, not the keyframes alone")
    add("--frames", type=int, default=400, metavar="N", help="of each, at most (%(default)s)")
    add("--model", choices=list(MODELS), default="demo")
    add("--checkpoint", type=Path, metavar="FILE")
    add("--device", default="cpu")
    add("--seeds", type=int, default=3, metavar="N", help="(%(default)s)")
    given = parser.parse_args(arguments)
    try:
        for line in compare(given):
            print(line, flush=True)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"keygate_hints: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
