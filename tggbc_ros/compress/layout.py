"""The convolutions of a backbone as pruning sees them: whose channels each puts out, whose it reads, what goes with it.

Convolutions whose outputs meet in an addition share a group: they keep the same channels. Names are those of the
backbone's modules; a trunk's group and a block are called as the stage and the block are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tggbc_ros.core.shape import ResNetShape, Shape, Stage, VoVNetShape

STEM = "stem"


@dataclass(frozen=True)
class Layer:
    """One convolution. name and norm: of its module and its batch norm's.

    group: whose channels it puts out. reads: groups whose channels it takes in, concatenated; none for the image.
    block: what it vanishes with; empty for one that always stays.
    """

    name: str
    norm: str
    group: str
    reads: tuple[str, ...]
    block: str
    kernel: int
    stride: int


def layers(shape: Shape) -> tuple[Layer, ...]:
    """All convolutions in the order in which an image passes them, those of blocks that are gone left out."""
    return tuple(_resnet(shape) if isinstance(shape, ResNetShape) else _vovnet(shape))


def widths(shape: Shape) -> dict[str, int]:
    """Channels of every group, also of those inside of blocks."""
    found = {}
    if isinstance(shape, VoVNetShape):
        found = {f"{STEM}.unit{index}": width for index, width in enumerate(shape.stem, start=1)}
    elif shape.block != "basic":
        found = {STEM: shape.stem}
    for stage_name, stage in stages(shape).items():
        found[stage_name] = stage.trunk
        for block_name, inner in _blocks(shape, stage_name, stage):
            found.update(zip(inner_groups(shape, block_name), inner or (), strict=False))
    return found


def stages(shape: Shape) -> dict[str, Stage]:
    """The stages by name."""
    first, name = (1, "layer") if isinstance(shape, ResNetShape) else (2, "stage")
    return {f"{name}{index}": stage for index, stage in enumerate(shape.stages, start=first)}


def out_groups(shape: Shape) -> tuple[str, str]:
    """The groups of the maps that the neck reads, at strides 16 and 32."""
    third, fourth = list(stages(shape))[2:]
    return third, fourth


def droppable(shape: Shape) -> tuple[str, ...]:
    """Names of the blocks that may go: those that add to something else."""
    return tuple(
        block
        for stage_name, stage in stages(shape).items()
        for index, (block, inner) in enumerate(_blocks(shape, stage_name, stage))
        if inner is not None and (index > 0 or isinstance(shape, ResNetShape))
    )


def block_names(shape: Shape, stage_name: str) -> tuple[str, ...]:
    """Of all blocks of a stage, gone ones too."""
    stage = stages(shape)[stage_name]
    if isinstance(shape, ResNetShape):
        return tuple(f"{stage_name}.{index}" for index in range(len(stage.blocks)))
    return tuple(f"{stage_name}.block{index + 1}" for index in range(len(stage.blocks)))


def inner_groups(shape: Shape, block: str) -> tuple[str, ...]:
    """The groups inside of a block, first to last, as many as it may have."""
    if isinstance(shape, ResNetShape):
        return (f"{block}.conv1",) if shape.block == "basic" else (f"{block}.conv1", f"{block}.conv2")
    stage = stages(shape)[block.partition(".")[0]]
    inner = stage.blocks[block_names(shape, block.partition(".")[0]).index(block)]
    return tuple(f"{block}.layers.{index}" for index in range(len(inner or ())))


def _blocks(shape: Shape, stage_name: str, stage: Stage) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    return zip(block_names(shape, stage_name), stage.blocks, strict=True)


def _resnet(shape: ResNetShape) -> Iterator[Layer]:
    before = "layer1" if shape.block == "basic" else STEM
    yield Layer("conv1", "bn1", before, (), "", 7, 2)
    for stage_name, stage in stages(shape).items():
        stride = 1 if stage_name == "layer1" else 2
        for index, (block, inner) in enumerate(_blocks(shape, stage_name, stage)):
            reads, step = (before, stride) if index == 0 else (stage_name, 1)
            if inner is not None and shape.block == "basic":
                yield Layer(f"{block}.conv1", f"{block}.bn1", f"{block}.conv1", (reads,), block, 3, step)
                yield Layer(f"{block}.conv2", f"{block}.bn2", stage_name, (f"{block}.conv1",), block, 3, 1)
            elif inner is not None:
                first, second = inner_groups(shape, block)
                yield Layer(first, f"{block}.bn1", first, (reads,), block, 1, 1)
                yield Layer(second, f"{block}.bn2", second, (first,), block, 3, step)
                yield Layer(f"{block}.conv3", f"{block}.bn3", stage_name, (second,), block, 1, 1)
            if index == 0 and before != stage_name:
                shortcut = f"{block}.downsample"
                yield Layer(f"{shortcut}.0", f"{shortcut}.1", stage_name, (reads,), "", 1, step)
        before = stage_name


def _vovnet(shape: VoVNetShape) -> Iterator[Layer]:
    before: tuple[str, ...] = ()
    for index, stride in enumerate((2, 1, 2), start=1):
        unit = f"{STEM}.unit{index}"
        yield Layer(f"{unit}.conv", f"{unit}.norm", unit, before, "", 3, stride)
        before = (unit,)
    for stage_name, stage in stages(shape).items():
        for index, (block, inner) in enumerate(_blocks(shape, stage_name, stage)):
            if inner is None:
                continue
            goes_with = block if index else ""
            chain = before
            for group in inner_groups(shape, block):
                yield Layer(f"{group}.conv", f"{group}.norm", group, chain[-1:], goes_with, 3, 1)
                chain = (*chain, group)
            yield Layer(f"{block}.concat.conv", f"{block}.concat.norm", stage_name, chain, goes_with, 1, 1)
            before = (stage_name,)
        before = (stage_name,)


def members(shape: Shape) -> Mapping[str, tuple[Layer, ...]]:
    """Group -> the layers whose outputs meet in it."""
    found: dict[str, tuple[Layer, ...]] = {}
    for layer in layers(shape):
        found[layer.group] = (*found.get(layer.group, ()), layer)
    return found
