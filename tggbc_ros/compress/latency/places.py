"""Where each convolution lies: the size of the map that it reads, and what else is computed beside it.

Additions, poolings, concatenations and gates have no choice of their own: each belongs to a convolution whose widths it
follows, so that a network's time is a sum over its convolutions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tggbc_ros.compress import layout
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.shape import PRESETS, ResNetShape, Shape

Size = tuple[int, int]


@dataclass(frozen=True, order=True)
class Kind:
    """What convolutions have in common that take the same time at the same widths. height, width: of their input."""

    kernel: int
    stride: int
    height: int
    width: int

    @property
    def out_size(self) -> Size:
        """Of the map that comes out; the padding keeps the size at stride 1."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    def __str__(self) -> str:
        return f"{self.kernel}x{self.kernel} stride {self.stride} at {self.height}x{self.width}"


@dataclass(frozen=True)
class Place:
    """A convolution's kind, and for what comes with it how many cells of one camera's map there are to each channel.

    added, gated, pooled_out: by channel that it puts out; joined (concatenated), pooled_in: by channel that it reads.
    Zero where there is no such thing.
    """

    kind: Kind
    added: int = 0
    gated: int = 0
    pooled_out: int = 0
    pooled_in: int = 0
    joined: int = 0


def dense_shape(model: ModelConfig) -> Shape:
    """Of the model's backbone before anything is cut; raises ValueError for one that is no stack of convolutions."""
    shape = PRESETS.get(model.backbone)
    if shape is None:
        raise ValueError(f"model {model.name} has a backbone {model.backbone}, expected one of {', '.join(PRESETS)}")
    return shape


def places(shape: Shape, image_size: Size) -> dict[str, Place]:
    """Of each convolution of a backbone, by its name in `layout`."""
    return _resnet(shape, image_size) if isinstance(shape, ResNetShape) else _vovnet(shape, image_size)


def lateral_places(shape: Shape, image_size: Size) -> tuple[Place, Place]:
    """Of the neck's two convolutions that read the backbone's maps."""
    sizes = _stage_sizes(shape, image_size)
    third, fourth = (sizes[group] for group in layout.out_groups(shape))
    return Place(Kind(1, 1, *third)), Place(Kind(1, 1, *fourth))


def output_place(shape: Shape, image_size: Size) -> Place:
    """Of the neck's last convolution."""
    size = _stage_sizes(shape, image_size)[layout.out_groups(shape)[0]]
    return Place(Kind(3, 1, *size))


def _stage_sizes(shape: Shape, image_size: Size) -> dict[str, Size]:
    found = places(shape, image_size)
    return {layer.group: found[layer.name].kind.out_size for layer in layout.layers(shape)}


def _cells(size: Size) -> int:
    return size[0] * size[1]


def _resnet(shape: ResNetShape, image_size: Size) -> dict[str, Place]:
    found: dict[str, Place] = {}
    sizes: dict[str, Size] = {}
    for layer in layout.layers(shape):
        size = sizes[layer.reads[0]] if layer.reads else image_size
        place = Place(Kind(layer.kernel, layer.stride, *size))
        out = place.kind.out_size
        if not layer.reads:
            place = dataclasses.replace(place, pooled_out=_cells(out))
            out = Kind(3, 2, *out).out_size
        elif layer.block and layer.group not in layout.inner_groups(shape, layer.block):
            place = dataclasses.replace(place, added=_cells(out))
        found[layer.name] = place
        sizes[layer.group] = out
    return found


def _vovnet(shape: Shape, image_size: Size) -> dict[str, Place]:
    found: dict[str, Place] = {}
    sizes: dict[str, Size] = {}
    stages = layout.stages(shape)
    first_stage = next(iter(stages))
    for layer in layout.layers(shape):
        size = sizes[layer.reads[0]] if layer.reads else image_size
        stage = layer.name.partition(".")[0]
        before = layer.reads[0] if layer.reads else ""
        pooled = before in stages and before != stage and stage != first_stage
        if pooled:
            unpooled, size = size, _halved(size)
        place = Place(Kind(layer.kernel, layer.stride, *size))
        cells = _cells(place.kind.out_size)
        if layer.name.endswith(".concat.conv"):
            added = cells if layer.block else 0
            place = dataclasses.replace(place, joined=cells, gated=cells, added=added)
        elif pooled:
            place = dataclasses.replace(place, pooled_in=_cells(unpooled))
        found[layer.name] = place
        sizes[layer.group] = place.kind.out_size
    return found


def _halved(size: Size) -> Size:
    """As VoVNet pools: 3x3, stride 2, no padding, an odd rest counts."""
    height, width = (-(-(side - 3) // 2) + 1 for side in size)
    return height, width
