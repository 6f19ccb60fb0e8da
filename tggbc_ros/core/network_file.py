"""A network as one .safetensors file: weights, and in its metadata the backbone's shape and how it came to look so.

Metadata is text and read as data. What it says is checked against the tensors that the file's header lists before
anything is allocated.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.core.backbones import build_backbone
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.neck import CPFPN
from tggbc_ros.core.shape import PRESETS, Shape, ShapeError, alike, from_json, to_json
from tggbc_ros.core.sparse_file import MASK, VALUES, packed, sparse_shapes

SHAPE_KEY = "tggbc_ros.shape"
HISTORY_KEY = "tggbc_ros.history"
MAX_HISTORY = 1 << 20
LISTED_KEYS = 4
UNUSED = ".num_batches_tracked"  # some files lack them

History = tuple[Mapping[str, Any], ...]
"""What was done to a network, first to last: plain values by name, such as {"step": "cut", "kept": 0.55}."""


def shape_in(path: Path, model: ModelConfig) -> Shape | None:
    """The shape that a file says its backbone has; None for one that says none, or the one of the backbone's name.

    Raises ShapeError for a shape that is none, that is not of the model's kind of backbone, or that the file's
    tensors do not have.
    """
    text = _metadata(path).get(SHAPE_KEY)
    if text is None:
        return None
    shape, usual = from_json(text), PRESETS.get(model.backbone)
    if usual is None or not alike(shape, usual):
        raise ShapeError(f"it is of a {shape.family}, expected one of a {model.backbone}")
    _expect_tensors(path, model, shape)
    return None if shape == usual else shape


def history_of(path: Path) -> History:
    """What a file says was done to its network; nothing for one that says nothing.

    Raises ValueError naming the file for what is no history.
    """
    text = _metadata(path).get(HISTORY_KEY, "[]")
    try:
        return as_history(json.loads(text) if len(text) <= MAX_HISTORY else None)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"checkpoint {path} has no history, but {reprlib.repr(text)}") from error


def as_history(data: object) -> History:
    """The history that parsed JSON holds; raises ValueError where it is none."""
    if not isinstance(data, list) or not all(isinstance(step, dict) for step in data):
        raise ValueError(f"history is {reprlib.repr(data)}, expected a list of names and values")
    return tuple(data)


def write_network(
    state: Mapping[str, torch.Tensor],
    path: Path,
    shape: Shape | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    sparse: bool = False,
) -> None:
    """Write a state dict, by our own names, with its backbone's shape and history, in place of what was there.

    shape: None where the backbone looks as its name says. sparse: tensors of mostly zeros as values and bits, as
    `sparse_file` has them. Raises OSError where it cannot be written whole; what was there then stays. ValueError for a
    history that holds NaN.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError(f"writing {path} needs the library safetensors: pip install safetensors") from error
    metadata = {SHAPE_KEY: to_json(shape)} if shape else {}
    metadata |= {HISTORY_KEY: json.dumps(list(history), allow_nan=False)} if history else {}
    if sparse:
        state, told = packed(state)
        metadata |= told
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        save_file(dict(state), unfinished, metadata or None)
        os.replace(unfinished, path)
    except SafetensorError as error:  # it wraps what the system says
        raise OSError(f"cannot write {path}: {' '.join(str(error).split())}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _metadata(path: Path) -> Mapping[str, str]:
    """The texts beside a file's tensors; none of a file of another kind, or a damaged one: whoever reads it says so."""
    if not path.is_file():
        return {}
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        return {}  # `checkpoint.read_state_dict` says what to install
    try:
        with safe_open(path, "pt") as file:
            found: Mapping[str, str] | None = file.metadata()
            return found or {}
    except (SafetensorError, OSError):
        return {}


def _whole(path: Path, found: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes by name with those of sparse tensors in the place of their parts'."""
    try:
        sparse = sparse_shapes(_metadata(path))
    except ValueError as error:
        raise ShapeError(f"it {error}") from error
    for name in sparse.keys() & {each.removesuffix(MASK) for each in found}:
        found |= {name: sparse[name]}
        for part in (VALUES, MASK):
            found.pop(f"{name}{part}", None)
    return found


def _expect_tensors(path: Path, model: ModelConfig, shape: Shape) -> None:
    """Raise ShapeError where backbone or neck would have other tensors than the file."""
    from safetensors import safe_open

    with torch.device("meta"):  # sizes without memory
        modules = {
            "backbone": build_backbone(model.backbone, shape),
            "neck": CPFPN(shape.out_channels, model.embed_dims),
        }
        states = {part: module.state_dict() for part, module in modules.items()}
    wanted = {f"{part}.{name}": tuple(each.shape) for part, state in states.items() for name, each in state.items()}
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        found = {name: tuple(file.get_slice(name).get_shape()) for name in names if name.partition(".")[0] in modules}
    found = _whole(path, found)
    wrong = [
        f"{name} {found.get(name, 'is missing')} (expected {wanted.get(name, 'none')})"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name) and not name.endswith(UNUSED)
    ]
    if wrong:
        more = f" and {len(wrong) - LISTED_KEYS} more" if len(wrong) > LISTED_KEYS else ""
        raise ShapeError(f"the file's tensors are not of it: {', '.join(wrong[:LISTED_KEYS])}{more}")
