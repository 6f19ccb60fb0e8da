"""What choosing keys before the decoder costs, and by what they are best chosen: python -m bench.keygate_study.

The tables of docs/pruning.md: one pass over a split for all rows, each with its own memory, by nuScenes' evaluator.
Keys are chosen by the gate that comes with the weights; by gates fitted here (--fit-data), with several seeds; by
carry's importance without a gate; by `carry_ratio`, which embeds all keys; by objectness, which is a gate fitted to the
rectangles of annotated objects; by a map of what each cell holds on average; and by chance.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from bench.keygate_frames import Watched, objects_for_importance, watch
from bench.keygate_rig import seen_otherwise
from tggbc_ros import backends
from tggbc_ros.compress import keygate
from tggbc_ros.compress.frames import Looked
from tggbc_ros.core.config import (
    MODELS,
    CarryConfig,
    DecodeConfig,
    ModelConfig,
    PruningConfig,
    StartConfig,
    model_config,
)
from tggbc_ros.core.detector import Network
from tggbc_ros.core.key_gate import FOUND_HINTS, KeyGate
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.loss import ground, score

BY = ("shipped", "gate", "start by carry", "carry_ratio", "objectness", "map", "chance")
FITTED = frozenset({"gate", "objectness", "map"})
USUAL_EXPLORE = StartConfig.explore


@dataclass(frozen=True, eq=False)
class Way:
    """A row: by what keys are chosen, how it is pruned, and the gate that chooses."""

    name: str
    pruning: PruningConfig
    gate: KeyGate | None = None


class Chance(KeyGate):
    """Scores that mean nothing, others in each frame."""

    def __init__(self, model: ModelConfig, cameras: int, seed: int) -> None:
        super().__init__(model, cameras, 1)
        self._generator = torch.Generator().manual_seed(seed)

    def forward(self, features: torch.Tensor, hints: torch.Tensor) -> torch.Tensor:
        """[B, T], whatever it is shown."""
        return torch.rand(features.shape[:2], generator=self._generator)


class Map(KeyGate):
    """The same score for a cell in every frame: the mean of its logarithmic importance over the frames given."""

    def __init__(self, model: ModelConfig, cameras: int, looked: Sequence[Looked]) -> None:
        super().__init__(model, cameras, 1)
        mean = torch.stack([frame.importance.clamp_min(1e-9).log() for frame in looked]).mean(dim=0)
        self.register_buffer("mean", mean)

    def forward(self, features: torch.Tensor, hints: torch.Tensor) -> torch.Tensor:
        """[B, T], whatever it is shown."""
        return self.mean.expand(features.shape[:2])


def ways(given: argparse.Namespace, network: Network, watched: Watched | None) -> Iterator[Way]:
    """All rows: dense and trimmed alone, then every start ratio by everything asked for."""
    yield Way("(all start)", PruningConfig())
    yield Way("(all start)", PruningConfig(given.keep))
    gates = {name: list(_gates(name, given, network, watched)) for name in given.by}
    for ratio, name in itertools.product(given.start, given.by):
        start = StartConfig(ratio, given.explore)
        pruning = PruningConfig(given.keep, start=start)
        if name == "carry_ratio":
            pruning = PruningConfig(given.keep, carry=CarryConfig(ratio))
        yield from (Way(name, pruning, gate) for gate in gates[name])


def _gates(name: str, given: argparse.Namespace, network: Network, watched: Watched | None) -> Iterator[KeyGate | None]:
    model, cameras = network.model, network.gate.cameras if network.gate else 6
    seeds = range(given.seeds)
    if name == "chance":
        yield from (Chance(model, cameras, seed) for seed in seeds)
    elif name == "shipped":
        yield network.gate
    elif name not in FITTED or watched is None:
        yield None
    elif name == "map":
        yield Map(model, cameras, watched.looked)
    else:
        looked = watched.looked if name == "gate" else objects_for_importance(watched)
        for seed in seeds:
            gate = keygate.fit(model, cameras, looked, seed, tell=None if name == "gate" else _nothing)
            yield gate if name == "gate" else _without_past(gate)


def _nothing(gate: KeyGate, looked: Sequence[Looked]) -> list[torch.Tensor]:
    """Objects are where they are, whatever was found before."""
    return [torch.zeros(len(frame.features), FOUND_HINTS) for frame in looked]


def _without_past(gate: KeyGate) -> KeyGate:
    with torch.no_grad():
        gate.hints.weight[:, :FOUND_HINTS] = 0.0
    return gate


def study(given: argparse.Namespace) -> Iterator[dict[str, object]]:
    """A record for each row, in the order of the table."""
    network = backends.load_network("torch", model_config(given.model), given.checkpoint, given.device)
    watched = None
    if FITTED & set(given.by):
        watched = watch(network, given.fit_data, given.fit_split, given.fit_sweeps, given.frames)
    rows = list(ways(given, network, watched))
    on = ground(given.data, None, given.split, given.sweeps)
    if given.scenes:
        on = replace(on, split=replace(on.split, scenes=dict(itertools.islice(on.split.scenes.items(), given.scenes))))
    if given.zoom != 1.0 or given.without:
        on = replace(on, split=seen_otherwise(on.split, network.model, given.zoom, tuple(given.without)))
    sweep = Sweep(network, [way.pruning for way in rows], DecodeConfig(), gates=[way.gate for way in rows])
    with tqdm(total=sum(map(len, on.split.scenes.values())), unit="frame", desc="all rows", disable=None) as bar:
        passes = sweep.run(on.split, bar.update)
    for way, record in zip(rows, passes, strict=True):
        found = score(record, on)
        yield {
            "by": way.name,
            "start_ratio": min(way.pruning.start.ratio, way.pruning.carry.ratio),
            "keep_ratio": way.pruning.keep_ratio,
            "first_layer_keys": sum(keys[0] for keys in record.keys) / len(record.keys),
            "mAP": found.mean_ap,
            "NDS": found.nds,
        }


def table(records: Sequence[dict[str, object]]) -> Iterator[str]:
    """Lines; rows that differ by their seed alone are one."""
    dense = next(float(str(each["mAP"])) for each in records)
    yield f"{'keys chosen by':<16} {'start':>6} {'keep':>6} {'keys':>7}  mAP, one a seed; lost of the dense network's"
    for key, group in itertools.groupby(records, lambda each: (each["by"], each["start_ratio"], each["keep_ratio"])):
        rows = list(group)
        maps = [float(str(each["mAP"])) for each in rows]
        told = ", ".join(f"{value:.4f}" for value in maps), ", ".join(f"{dense - value:.4f}" for value in maps)
        yield f"{key[0]:<16} {key[1]:6g} {key[2]:6g} {rows[0]['first_layer_keys']:7.1f}  {'; '.join(told)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; exit status 1 and one line on standard error if it fails."""
    given = _parser().parse_args(arguments)
    try:
        if FITTED & set(given.by) and not (given.fit_data and given.fit_split):
            raise ValueError(f"{', '.join(sorted(FITTED & set(given.by)))} need --fit-data DIR --fit-split NAME")
        records = list(study(given))
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"keygate_study: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print("\n".join(table(records)))
    if given.json:
        given.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m bench.keygate_study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="data set in nuScenes' v1.0 schema, to score on")
    add("--split", required=True, metavar="NAME")
    add("--sweeps", action="store_true", help="every set of images (12 Hz); only the keyframes are scored")
    add("--scenes", type=int, default=0, metavar="N", help="only so many of the split; 0: all")
    add("--zoom", type=float, default=1.0, metavar="X", help="images enlarged so many times, as of longer lenses")
    add("--without", nargs="+", default=[], metavar="CAMERA", help="cameras that are missing")
    add("--fit-data", type=Path, metavar="DIR", help="other drives, to fit on")
    add("--fit-split", metavar="NAME")
    add("--fit-sweeps", action="store_true", help="fit on every set of images")
    add("--frames", type=int, default=512, metavar="N", help="to fit on, at most (%(default)s)")
    add("--model", choices=list(MODELS), default="demo")
    add("--checkpoint", type=Path, metavar="FILE")
    add("--device", default="cpu")
    add("--by", nargs="+", choices=BY, default=list(BY), metavar="NAME", help=f"of {', '.join(BY)}; all of them")
    add("--start", type=float, nargs="+", default=[0.4, 0.3], metavar="R", help="start ratios (0.4 0.3)")
    add("--keep", type=float, default=0.2, metavar="R", help="keep ratio (%(default)s)")
    add("--explore", type=float, default=USUAL_EXPLORE, metavar="R", help="gate_explore (%(default)s)")
    add("--seeds", type=int, default=3, metavar="N", help="of what is fitted and of chance (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="all rows")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
