"""Sparse weights in a .safetensors file: of a tensor that is mostly zeros, its other values, and a bit for each place.

In the place of tensor NAME stand ``NAME.values`` [kept], in order, and ``NAME.mask`` [ceil(n / 8)] uint8, a bit a
number, the lowest bit of a byte first; the metadata says under `SPARSE_KEY` what shapes they have, as JSON. Whatever
reads a checkpoint gets the dense tensors, to the bit.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping

import numpy as np
import torch

SPARSE_KEY = "tggbc_ros.sparse"
VALUES, MASK = ".values", ".mask"
MAX_TEXT = 1 << 20
MOST_AXES = 8

State = Mapping[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]


def packed(state: State) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors with every one that gets smaller by it in two parts, and the metadata that tells."""
    found: dict[str, torch.Tensor] = {}
    shapes: Shapes = {}
    for name, value in state.items():
        mask = value != 0
        kept = int(mask.sum())
        if value.ndim < 2 or packed_bytes(value.numel(), kept, value.element_size()) >= value.nbytes:
            found[name] = value
            continue
        bits = np.packbits(mask.flatten().numpy(), bitorder="little")
        found[f"{name}{VALUES}"], found[f"{name}{MASK}"] = value[mask].contiguous(), torch.from_numpy(bits)
        shapes[name] = tuple(value.shape)
    return found, {SPARSE_KEY: json.dumps(shapes)} if shapes else {}


def packed_bytes(size: int, kept: int, item: int) -> int:
    """What a tensor of so many numbers, of which some are kept, takes in two parts."""
    return kept * item + -(-size // 8)


def unpacked(state: State, metadata: Mapping[str, str], prefix: str = "") -> dict[str, torch.Tensor]:
    """All tensors dense; prefix: of the names that there are.

    Raises ValueError naming the tensor whose parts are missing or do not count up.
    """
    whole = dict(state)
    for name, shape in sparse_shapes(metadata).items():
        if not name.startswith(prefix):
            continue
        values, mask = (whole.pop(f"{name}{part}", None) for part in (VALUES, MASK))
        if values is None or mask is None:
            raise ValueError(f"holds no {name}{VALUES if values is None else MASK}, but says that {name} is sparse")
        whole[name] = _dense(name, shape, values, mask)
    return whole


def _dense(name: str, shape: tuple[int, ...], values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    size = math.prod(shape)
    if mask.dtype != torch.uint8 or mask.shape != (-(-size // 8),):
        expected = f"{list(shape)} takes [{-(-size // 8)}] of uint8"
        raise ValueError(f"has a mask of {name} of shape {list(mask.shape)}, {mask.dtype}, but {expected}")
    bits = np.unpackbits(mask.numpy(), bitorder="little")
    count = int(bits.sum())
    if bits[size:].any() or values.shape != (count,):
        raise ValueError(f"has {list(values.shape)} values of {name}, but its mask counts {count} for {list(shape)}")
    dense = torch.zeros(size, dtype=values.dtype)
    dense[torch.from_numpy(bits[:size].view(np.bool_))] = values
    return dense.view(shape)


def sparse_shapes(metadata: Mapping[str, str]) -> Shapes:
    """The shapes of the tensors that a file holds in two parts; raises ValueError where its metadata are none."""
    text = metadata.get(SPARSE_KEY)
    if text is None:
        return {}
    try:
        shapes = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        shapes = None
    if not isinstance(shapes, dict) or not all(_is_shape(each) for each in shapes.values()):
        raise ValueError(f"says of its sparse tensors {reprlib.repr(text)}, expected shapes by name")
    return {name: tuple(shape) for name, shape in shapes.items()}


def _is_shape(given: object) -> bool:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_AXES:
        return False
    return all(type(each) is int and 0 <= each < 1 << 31 for each in given)
