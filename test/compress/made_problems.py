"""Problems of whole encoders with made-up tables, in the form of the JSON files; nothing of them was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Entry = dict[str, Any]


class Encoder:
    """Groups and layers of an encoder at 704x256 with six cameras, put together from the image on."""

    def __init__(self, seed: int, step: int) -> None:
        self._random = np.random.default_rng(seed)
        self._step = step
        self.choices: list[int] = []
        self.layers: list[Entry] = []

    def group(self, channels: int) -> int:
        self.choices.append(channels // self._step + 1)
        return len(self.choices) - 1

    def layer(self, group: int, reads: Sequence[int], block: int, cells: int, kernel: int = 3, worth: int = 0) -> None:
        """cells: of the output map; worth: about how much importance all its channels have."""
        steps = sum(self.choices[g] - 1 for g in reads)
        read = np.arange(steps + 1) * self._step if reads else 3
        written = np.arange(self.choices[group]) * self._step
        macs = np.multiply.outer(written, read) * kernel * kernel * cells * 6.0
        moved = np.add.outer(written, read) * cells * 24.0
        table = macs / 2e5 + moved / 2e4
        table *= 1 + 0.1 * self._random.random(table.shape)  # neither linear nor monotone
        table[0] = 0
        if reads:
            table[:, 0] = 0
        entry = {"group": group, "pre": -1, "block": block, "lat": np.rint(table).astype(int).tolist(), "imp": None}
        if reads:
            entry["pre"] = reads[0] if len(reads) == 1 else list(reads)
        if worth:
            scores = np.sort(self._random.lognormal(0, 1.5, self.choices[group] - 1))[::-1]
            scores *= worth * self._random.lognormal(0, 0.7) / scores.sum()
            entry["imp"] = np.rint(np.concatenate([[0], np.cumsum(scores)])).astype(int).tolist()
        self.layers.append(entry)

    def laterals(self, stages: Sequence[tuple[int, int]]) -> None:
        """The neck's 1x1 convolutions, which write a width that stays; stages: group and cells of each."""
        neck = self.group(self._step)
        for stage, cells in stages:
            self.layer(neck, [stage], 0, cells, 1)

    def entry(self, n_blocks: int, share: float, fixed: Sequence[int]) -> Entry:
        """The instance with a budget of that share of the dense network's latency."""
        dense = sum(
            entry["lat"][-1] if entry["pre"] == -1 else entry["lat"][-1][-1] for entry in self.layers
        )  # tables end with the full width
        return {
            "choices": self.choices,
            "n_blocks": n_blocks,
            "budget": int(dense * share),
            "layers": self.layers,
            "fixed": {str(group): self.choices[group] - 1 for group in fixed},
        }


def resnet50(seed: int, step: int, share: float) -> Entry:
    """Stem, four stages of bottlenecks, the neck's two laterals."""
    made = Encoder(seed, step)
    trunk = made.group(64)
    made.layer(trunk, [], 0, 128 * 352, 7)
    block, cells, stages = 0, 64 * 176, []
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        stage = made.group(width * 4)
        for place in range(blocks):
            block += 1
            one, two = made.group(width), made.group(width)
            before = cells * 4 if place == 0 and stages else cells
            reads = trunk if place == 0 else stage
            made.layer(one, [reads], block, before, 1, 100_000)
            made.layer(two, [one], block, cells, 3, 100_000)
            made.layer(stage, [two], block, cells, 1, 100_000)
            if place == 0:
                made.layer(stage, [reads], 0, cells, 1, 100_000)
        trunk = stage
        stages.append((stage, cells))
        cells //= 4
    made.laterals(stages[2:])
    return made.entry(block + 1, share, [0, len(made.choices) - 1])


def vovnet99(seed: int, step: int, share: float) -> Entry:
    """Three stem convolutions, 16 one-shot aggregation modules with eSE, of which 12 can go, and the laterals."""
    made = Encoder(seed, step)
    stem = [made.group(width) for width in (64, 64, 128)]
    for place, cells in enumerate((128 * 352, 128 * 352, 64 * 176)):
        made.layer(stem[place], stem[place - 1 : place], 0, cells, 3, 100_000 if place else 0)
    trunk, droppable, cells, stages = stem[-1], 0, 64 * 176, []
    for width, out, modules in ((128, 256, 1), (160, 512, 3), (192, 768, 9), (224, 1024, 3)):
        stage = made.group(out)
        for place in range(modules):
            droppable += place > 0
            block = droppable if place else 0
            reads = stage if place else trunk
            inner = [made.group(width) for _ in range(5)]
            for of, conv in zip([reads, *inner], inner, strict=False):
                made.layer(conv, [of], block, cells, 3, 100_000)
            made.layer(stage, [reads, *inner], block, cells, 1, 100_000)
            made.layer(stage, [stage], block, 1, 1)  # eSE
        trunk = stage
        stages.append((stage, cells))
        cells //= 4
    made.laterals(stages[2:])
    return made.entry(droppable + 1, share, [0, len(made.choices) - 1])


def write_entries(path: Path, instances: Sequence[Entry]) -> Path:
    """A file of these instances."""
    path.write_text(json.dumps({"instances": instances}), encoding="utf-8")
    return path
