"""Fitting the key gate (core/key_gate.py) to a decoder's own attention: no label, no gradient through the network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from tggbc_ros.compress.frames import Looked
from tggbc_ros.core import carry, start
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import CarryConfig, ModelConfig, PruningConfig, StartConfig
from tggbc_ros.core.key_gate import FOUND_HINTS, KeyGate, found
from tggbc_ros.core.types import NetworkOutput, Trim

HIDDEN = 32
STEPS = 500
ROWS = 4096
RATE = 1e-2
DECAY = 1e-4
STARTS = (0.5, 0.4, 0.3)
"""What the past is told with: start ratios that take turns, drive by drive."""

BLIND = 0.25
"""Of the cells that are fitted, so many are shown without what earlier frames found: as after a reset."""

LEAST_IMPORTANCE = 1e-4
"""Of the mean; what is less is as good as nothing, and its logarithm is not to be learned."""

HELD_OUT = 5
"""One in so many drives, or the end of a single one, is not fitted but judged."""


Tell = Callable[[KeyGate, Sequence[Looked]], list[torch.Tensor]]
"""What earlier frames found, as a gate would know it frame by frame: `told`."""


@dataclass(frozen=True)
class Quality:
    """How well a gate orders the cells of frames that it was not fitted on; means over frames.

    rank_correlation: Spearman's, with true importance. held: share of it in the best 0.3. frames: how many.
    """

    rank_correlation: float
    held: float
    frames: int


def split(looked: Sequence[Looked]) -> tuple[list[Looked], list[Looked]]:
    """To fit and to judge: whole drives where there are enough of them, else the last part of what there is."""
    drives: list[list[Looked]] = []
    for frame in looked:
        if frame.begins or not drives:
            drives.append([])
        drives[-1].append(frame)
    if len(drives) >= HELD_OUT:
        judged = [frame for number, drive in enumerate(drives, 1) if number % HELD_OUT == 0 for frame in drive]
        return [frame for n, drive in enumerate(drives, 1) if n % HELD_OUT for frame in drive], judged
    cut = len(looked) - max(1, len(looked) // HELD_OUT)
    return list(looked[:cut]), list(looked[cut:])


def fit(
    model: ModelConfig,
    cameras: int,
    looked: Sequence[Looked],
    seed: int = 0,
    hidden: int = HIDDEN,
    steps: int = STEPS,
    on_step: Callable[[], object] = lambda: None,
    tell: Tell | None = None,
) -> KeyGate:
    """A gate for these frames. Twice: first by what a frame shows, then with what such a gate would have found before.

    ``on_step`` is called 2 x ``steps`` times. tell: `told`, unless another is given. Raises ValueError where there is
    too little to fit.
    """
    if len(looked) < 2:
        raise ValueError(f"{len(looked)} frames are too few to fit a key gate and to judge it, expected at least 2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gate = KeyGate(model, cameras, hidden)
        with torch.no_grad():
            for place in (gate.row, gate.column):
                place.normal_(0.0, 0.02)
        rows = _Rows(looked)
        _fit(gate, rows, steps, on_step)
        rows.tell((tell or told)(rows.unscaled(gate), looked))
        _fit(gate, rows, steps, on_step)
    return rows.unscaled(gate)


@torch.inference_mode()
def told(
    gate: KeyGate,
    looked: Sequence[Looked],
    starts: Sequence[float] = STARTS,
    moved: Callable[[Carried, int], Carried] = lambda carried, number: carried,
) -> list[torch.Tensor]:
    """What earlier frames found [T, FOUND_HINTS], had they started with what the gate chooses, frame by frame.

    moved: what the frame before left -> what is carried into frame ``number`` of ``looked``.
    """
    hints, carried, drive = [], None, -1
    for number, frame in enumerate(looked):
        if frame.begins or number == 0:
            carried, drive = None, drive + 1
        carried = moved(carried, number) if carried is not None else None
        known = torch.zeros(len(frame.features), FOUND_HINTS) if carried is None else found(carried)[0]
        ratio = starts[drive % len(starts)]
        config = PruningConfig(ratio, start=StartConfig(ratio))
        carried = _after(gate, frame, known, carried, config, number)
        hints.append(known)
    return hints


def _after(
    gate: KeyGate, frame: Looked, known: torch.Tensor, carried: Carried | None, config: PruningConfig, number: int
) -> Carried | None:
    """What is known once the frame was seen with the keys that the gate chose."""
    cells = torch.zeros(len(frame.features), dtype=torch.bool)
    cells[frame.cells] = True
    score = gate(frame.features.float()[None], torch.cat([known, frame.hints[:, FOUND_HINTS:]], dim=1)[None])[0]
    shape = gate.cameras, *gate.model.feature_size
    chosen = start.best_and_next(score, shape, config, number, cells.numpy())
    importance = torch.zeros(len(cells)).scatter(0, frame.cells, frame.importance)[chosen]
    trim = Trim(chosen[None], importance[None], chosen[None], chosen[None])
    nothing = torch.zeros(1)
    output = NetworkOutput(nothing, nothing, nothing, (len(chosen),), {0: trim})
    return carry.after_frame(carried, output, len(cells), CarryConfig(), chosen=True)


@torch.inference_mode()
def judge(gate: KeyGate, looked: Sequence[Looked], share: float = 0.3, tell: Tell | None = None) -> Quality:
    """How well the gate would have done on these frames, told what it would have found before; tell: as for `fit`."""
    correlations, held = [], []
    for frame, known in zip(looked, (tell or told)(gate, looked), strict=True):
        hints = torch.cat([known, frame.hints[:, FOUND_HINTS:]], dim=1)
        score = gate(frame.features.float()[None], hints[None])[0, frame.cells]
        correlations.append(rank_correlation(score, frame.importance))
        best = score.topk(max(1, round(share * len(score)))).indices
        held.append(float(frame.importance[best].sum() / frame.importance.sum()))
    return Quality(sum(correlations) / len(looked), sum(held) / len(looked), len(looked))


def rank_correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Spearman's, of two lists [K] without many ties."""
    ranks = torch.stack([each.argsort().argsort() for each in (first, second)]).double()
    return float(torch.corrcoef(ranks)[0, 1])


class _Rows:
    """All cells of all frames, from which every step takes some."""

    def __init__(self, looked: Sequence[Looked]) -> None:
        self.features = torch.cat([frame.features[frame.cells] for frame in looked])
        self.hints = torch.cat([frame.hints[frame.cells] for frame in looked])
        self.cells = torch.cat([frame.cells for frame in looked])
        mean = torch.cat([frame.importance * len(frame.cells) for frame in looked])
        self.target = mean.clamp_min(LEAST_IMPORTANCE).log()
        self._looked = looked
        some = self.features[:: max(1, len(self.features) // 100_000)].float()
        self.center, self.width = some.mean(dim=0), some.std(dim=0).clamp_min(1e-4)

    def tell(self, found: Sequence[torch.Tensor]) -> None:
        """Put in what earlier frames found."""
        parts = [each[frame.cells] for each, frame in zip(found, self._looked, strict=True)]
        self.hints[:, :FOUND_HINTS] = torch.cat(parts)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features of mean 0 and width 1, hints, cells and targets of some rows."""
        rows = torch.randint(len(self.target), (min(ROWS, len(self.target)),))
        hints = self.hints[rows]
        hints[torch.rand(len(rows)) < BLIND, :FOUND_HINTS] = 0.0
        return (self.features[rows] - self.center) / self.width, hints, self.cells[rows], self.target[rows]

    def unscaled(self, gate: KeyGate) -> KeyGate:
        """A gate that takes features as they are, from one that takes those of `batch`."""
        plain = copy.deepcopy(gate).eval().requires_grad_(False)
        plain.features.weight /= self.width
        plain.row -= plain.features.weight @ self.center
        return plain


def _fit(gate: KeyGate, rows: _Rows, steps: int, on_step: Callable[[], object]) -> None:
    optimizer = torch.optim.AdamW(gate.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        features, hints, cells, target = rows.batch()
        loss = functional.smooth_l1_loss(gate.of_cells(features, hints, cells), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        on_step()
