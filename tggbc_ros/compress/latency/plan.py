"""What is measured: which widths each layer may have, and shapes of whole encoders drawn at random."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from tggbc_ros.compress import layout
from tggbc_ros.compress.latency.engines import Lone
from tggbc_ros.compress.latency.grid import Grid
from tggbc_ros.compress.latency.places import Kind, Size, lateral_places, output_place, places
from tggbc_ros.core.shape import ResNetShape, Shape, Stage

SMALL_STEP, USUAL_STEP = 8, 32
SMALL_TRUNK = 256
"""A backbone whose widest trunk is no wider counts as small."""

IMAGE_CHANNELS = 3
LEAST_KEPT, MOST_GONE = 0.2, 0.5
"""Of a random shape: least share of channels, greatest chance of a block to be gone."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The widths that a layer may have: up to a greatest one each, or only that one."""

    out: int
    into: int
    fixed_out: bool = False
    fixed_in: bool = False

    def holds(self, out: int, into: int) -> bool:
        """Whether the layer may have these widths."""
        rows = out == self.out if self.fixed_out else out <= self.out
        return rows and (into == self.into if self.fixed_in else into <= self.into)


def usual_step(shape: Shape) -> int:
    """Channels by which widths are chosen, unless said otherwise."""
    return SMALL_STEP if max(stage.trunk for stage in shape.stages) <= SMALL_TRUNK else USUAL_STEP


def widths(most: int, step: int) -> list[int]:
    """Every multiple of a step, and the whole width."""
    return [*range(step, most, step), most]


def ranges(shape: Shape, neck: int, image_size: Size) -> dict[Kind, set[Range]]:
    """What every layer of an encoder may be cut to, by kind."""
    found: dict[Kind, set[Range]] = {}
    all_widths, where = layout.widths(shape), places(shape, image_size)
    for layer in layout.layers(shape):
        read = sum(all_widths[group] for group in layer.reads)
        limits = Range(all_widths[layer.group], read or IMAGE_CHANNELS, fixed_in=not read)
        found.setdefault(where[layer.name].kind, set()).add(limits)
    for place, read in zip(lateral_places(shape, image_size), shape.out_channels, strict=True):
        found.setdefault(place.kind, set()).add(Range(neck, read, fixed_out=True))
    output = output_place(shape, image_size).kind
    found.setdefault(output, set()).add(Range(neck, neck, fixed_out=True, fixed_in=True))
    return found


def lone_layers(shape: Shape, neck: int, image_size: Size, step: int) -> list[Lone]:
    """Every pair of widths, in multiples of a step, that a layer of an encoder may be cut to."""
    found = []
    for kind, limits in sorted(ranges(shape, neck, image_size).items()):
        out = _axis({(each.out, each.fixed_out) for each in limits}, step)
        into = _axis({(each.into, each.fixed_in) for each in limits}, step)
        found += [Lone(kind, o, i) for o in out for i in into if any(each.holds(o, i) for each in limits)]
    return found


def grids(times_us: Mapping[Lone, float]) -> dict[Kind, Grid]:
    """The times of lone layers, by kind."""
    found = {}
    for kind in {each.kind for each in times_us}:
        of_kind = {(each.out, each.into): us for each, us in times_us.items() if each.kind == kind}
        out, into = (tuple(sorted({pair[axis] for pair in of_kind})) for axis in (0, 1))
        found[kind] = Grid(out, into, np.array([[of_kind.get((o, i), np.nan) for i in into] for o in out]))
    return found


def random_shapes(shape: Shape, step: int, count: int, seed: int) -> list[Shape]:
    """Shapes that a backbone may be cut to: each wide or narrow as a whole, with more or fewer of its blocks."""
    random = np.random.default_rng(seed)
    return [_random_shape(shape, step, random) for _ in range(count)]


def _random_shape(shape: Shape, step: int, random: np.random.Generator) -> Shape:
    kept, gone = random.uniform(LEAST_KEPT, 1.0), random.uniform(0.0, MOST_GONE)

    def narrowed(width: int) -> int:
        choices = widths(width, step)
        share = min(1.0, kept * random.uniform(0.6, 1.4))
        return choices[max(0, round(share * len(choices)) - 1)]

    droppable = layout.droppable(shape)
    dropped = {name for name in droppable if random.random() < gone}
    stages = []
    for name, stage in layout.stages(shape).items():
        blocks = zip(layout.block_names(shape, name), stage.blocks, strict=True)
        left = tuple(
            None if inner is None or block in dropped else tuple(map(narrowed, inner)) for block, inner in blocks
        )
        stages.append(Stage(narrowed(stage.trunk), left))
    if isinstance(shape, ResNetShape):
        stem = stages[0].trunk if shape.block == "basic" else narrowed(shape.stem)
        return dataclasses.replace(shape, stem=stem, stages=tuple(stages))
    return dataclasses.replace(shape, stem=tuple(map(narrowed, shape.stem)), stages=tuple(stages))


def _axis(limits: Iterable[tuple[int, bool]], step: int) -> list[int]:
    """Widths of all layers of a kind: multiples of the step, and the greatest of each."""
    limits = set(limits)
    free = max((most for most, fixed in limits if not fixed), default=0)
    return sorted({*range(step, free, step), *(most for most, _ in limits)})
