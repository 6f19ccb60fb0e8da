"""What a backbone looks like, as data: its widths, and which of its blocks are gone. JSON both ways.

A shape is checked when it is made, so that one read from a file can be built from. The names of core/backbones are
presets. What each number is of is said by the backbone that is built from it.
"""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_WIDTH = 4096
MAX_BLOCKS = 48
MAX_LAYERS = 8
MAX_TEXT = 1 << 16
STAGES = 4
INNER_WIDTHS = {"basic": 1, "bottleneck": 2}
"""Kind of ResNet block -> how many widths it has inside."""

STEM_CHANNELS = (64, 64, 128)
LAYER_CHANNELS = (128, 160, 192, 224)
STAGE_CHANNELS = (256, 512, 768, 1024)
LAYERS_PER_BLOCK = 5
"""Of VoVNet as it was published."""

Block = tuple[int, ...] | None
"""The widths inside of a block, first to last; None where the block is gone."""


class ShapeError(ValueError):
    """A shape that no backbone has, or text that is none."""


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ShapeError(f"{name} is {reprlib.repr(value)}, expected {expected}")


def _require_width(name: str, value: object) -> None:
    whole = type(value) is int and 1 <= value <= MAX_WIDTH  # a bool is an int, but no width
    _require(whole, name, value, f"a whole number of channels from 1 to {MAX_WIDTH}")


def _require_widths(name: str, values: object, counts: range) -> None:
    many = isinstance(values, tuple) and len(values) in counts
    _require(many, name, values, f"{counts.start} to {counts.stop - 1} widths" if len(counts) > 1 else "3 widths")
    for value in values if isinstance(values, tuple) else ():
        _require_width(name, value)


def _require_stages(stages: object) -> None:
    many = isinstance(stages, tuple) and len(stages) == STAGES and all(isinstance(each, Stage) for each in stages)
    _require(many, "stages", stages, f"{STAGES} stages")


def _require_flag(name: str, value: object) -> None:
    _require(isinstance(value, bool), name, value, "true or false")


@dataclass(frozen=True)
class Stage:
    """The blocks of one resolution, and how many channels each of them puts out (trunk)."""

    trunk: int
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        _require_width("trunk", self.trunk)
        count = len(self.blocks) if isinstance(self.blocks, tuple) else 0
        _require(1 <= count <= MAX_BLOCKS, "blocks", self.blocks, f"1 to {MAX_BLOCKS} blocks")
        for block in self.blocks:
            if block is not None:
                _require_widths("block", block, range(1, MAX_LAYERS + 1))


@dataclass(frozen=True)
class ResNetShape:
    """A ResNet. block: basic or bottleneck; its inner widths are those of its convolutions but the last.

    A stage's first block takes the stride and has a shortcut of its own, which stays where the block is gone; but
    in the first stage of basic blocks it has none, so the stem is as wide as that trunk.
    constants: whether dropped channels and blocks left constants behind, for which there is then room in the network.
    """

    block: str
    stem: int
    stages: tuple[Stage, ...]
    constants: bool = False
    family: str = field(default="resnet", init=False)

    def __post_init__(self) -> None:
        known = isinstance(self.block, str) and self.block in INNER_WIDTHS
        _require(known, "block", self.block, f"one of {', '.join(INNER_WIDTHS)}")
        _require_width("stem", self.stem)
        _require_stages(self.stages)
        _require_flag("constants", self.constants)
        inner = INNER_WIDTHS[self.block]
        for stage in self.stages:
            for block in stage.blocks:
                fits = block is None or len(block) == inner
                _require(fits, "block", block, f"{inner} inner widths, as a {self.block} block has")
        if self.block == "basic":
            _require(self.stem == self.stages[0].trunk, "stem", self.stem, f"the first trunk, {self.stages[0].trunk}")

    @property
    def out_channels(self) -> tuple[int, int]:
        """Of the maps at strides 16 and 32."""
        return self.stages[2].trunk, self.stages[3].trunk


@dataclass(frozen=True)
class VoVNetShape:
    """A VoVNet. stem: of its three convolutions; a block's inner widths are those of its chain of 3x3 convolutions.

    What a block concatenates and its gate's size follow from them. A stage's first block adds no input: it is never
    gone. constants: as in `ResNetShape`.
    """

    stem: tuple[int, ...]
    stages: tuple[Stage, ...]
    constants: bool = False
    family: str = field(default="vovnet", init=False)

    def __post_init__(self) -> None:
        _require_widths("stem", self.stem, range(3, 4))
        _require_stages(self.stages)
        _require_flag("constants", self.constants)
        for stage in self.stages:
            _require(stage.blocks[0] is not None, "blocks", stage.blocks, "a first block: nothing else makes the trunk")

    @property
    def out_channels(self) -> tuple[int, int]:
        """Of the maps at strides 16 and 32."""
        return self.stages[2].trunk, self.stages[3].trunk


Shape = ResNetShape | VoVNetShape


def resnet(block: str, depths: tuple[int, ...], width: int = 64) -> ResNetShape:
    """A ResNet as it was published. depths: blocks of each stage; width: of the stem, doubled from stage to stage."""
    inner, expansion = INNER_WIDTHS[block], 4 if block == "bottleneck" else 1
    widths = [width << index for index in range(len(depths))]
    stages = (Stage(each * expansion, ((each,) * inner,) * depth) for each, depth in zip(widths, depths, strict=True))
    return ResNetShape(block, width, tuple(stages))


def vovnet(depths: tuple[int, ...]) -> VoVNetShape:
    """A VoVNet as it was published. depths: blocks of each stage."""
    stages = (
        Stage(trunk, ((layer,) * LAYERS_PER_BLOCK,) * depth)
        for trunk, layer, depth in zip(STAGE_CHANNELS, LAYER_CHANNELS, depths, strict=True)
    )
    return VoVNetShape(STEM_CHANNELS, tuple(stages))


PRESETS: dict[str, Shape] = {
    "resnet18": resnet("basic", (2, 2, 2, 2)),
    "resnet18_half": resnet("basic", (2, 2, 2, 2), width=32),
    "resnet34": resnet("basic", (3, 4, 6, 3)),
    "resnet50": resnet("bottleneck", (3, 4, 6, 3)),
    "vovnet99": vovnet((1, 3, 9, 3)),
}


def alike(one: Shape, other: Shape) -> bool:
    """Whether both are made of blocks of one kind, so that one may be what the other was cut to."""
    return (one.family, getattr(one, "block", "")) == (other.family, getattr(other, "block", ""))


def to_json(shape: Shape) -> str:
    """One line of JSON, the same for equal shapes."""
    return json.dumps(dataclasses.asdict(shape), sort_keys=True)


def from_json(text: str) -> Shape:
    """The shape that `to_json` wrote; raises ShapeError in one line for anything else."""
    if len(text) > MAX_TEXT:
        raise ShapeError(f"shape has {len(text)} characters, expected at most {MAX_TEXT}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShapeError(f"shape is no JSON: {reprlib.repr(str(error))}") from error
    return from_data(data)


def from_data(data: object) -> Shape:
    """The shape that dicts, lists and numbers describe, as ``dataclasses.asdict`` and JSON have it; or ShapeError."""
    given = dict(_mapping("shape", data))
    families: dict[str, type[Shape]] = {"resnet": ResNetShape, "vovnet": VoVNetShape}
    family = given.pop("family", None)
    if not isinstance(family, str) or family not in families:
        raise ShapeError(f"family is {reprlib.repr(family)}, expected one of {', '.join(families)}")
    kind = families[family]
    _require_keys(family, given, {item.name for item in dataclasses.fields(kind) if item.init})
    stages = _list("stages", given["stages"])
    given["stages"] = tuple(_stage(each) for each in stages[: STAGES + 1])
    if isinstance(given["stem"], list | tuple):
        given["stem"] = tuple(given["stem"][:MAX_LAYERS])
    return kind(**given)


def _stage(data: object) -> Stage:
    given = _mapping("stage", data)
    _require_keys("stage", given, {"trunk", "blocks"})
    blocks = _list("blocks", given["blocks"])[: MAX_BLOCKS + 1]
    return Stage(given["trunk"], tuple(None if each is None else tuple(_list("block", each)) for each in blocks))


def _mapping(name: str, data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ShapeError(f"{name} is {reprlib.repr(data)}, expected names and values")
    return data


def _list(name: str, data: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        raise ShapeError(f"{name} is {reprlib.repr(data)}, expected a list")
    return data


def _require_keys(name: str, given: Mapping[str, Any], expected: set[str]) -> None:
    if given.keys() != expected:
        raise ShapeError(f"{name} has {reprlib.repr(sorted(given))}, expected {', '.join(sorted(expected))}")
