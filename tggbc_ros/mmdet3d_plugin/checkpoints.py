"""Checkpoints between three worlds: StreamPETR's own, mmengine's and the node's. The weights' names are the node's.

An mmengine checkpoint holds training state beside the weights, some of it as objects of mmengine's and NumPy's, which
torch loads only if told that they are harmless.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from tggbc_ros.core.checkpoint import CheckpointError, fitting, load_into, read_state_dict
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.official_keys import official_names


def own_objects() -> list[Any]:
    """What mmengine puts into a checkpoint beside tensors, as torch's restricted unpickler wants to be told."""
    reconstruct: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    numbers = [reconstruct, scalar, np.ndarray, np.dtype, *(type(np.dtype(code)) for code in "?bhilqefd")]
    return [HistoryBuffer, (history_method, "builtins.getattr"), *numbers]


def history_method(owner: Any, name: str) -> Callable[..., Any]:
    """In place of getattr, by which a log names its methods: these, and nothing else of anything else."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise CheckpointError(f"a checkpoint asks for {name!r} of {owner!r}, expected a method of HistoryBuffer")
    method: Callable[..., Any] = getattr(owner, name)
    return method


def allow_own_checkpoints() -> None:
    """Let mmengine resume from checkpoints that it wrote itself, which torch 2.6 and later refuse by default."""
    torch.serialization.add_safe_globals(own_objects())


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """`core.checkpoint.read_state_dict`, for mmengine's checkpoints too."""
    allow_own_checkpoints()
    state = read_state_dict(path)
    allow_own_checkpoints()  # reading has taken back those of NumPy's objects that it allows for the while
    return state


def expect_shape(path: Path, model: ModelConfig) -> None:
    """Raise CheckpointError where a file says that its backbone was cut, and the model's was not, or not so."""
    found = fitting(dataclasses.replace(model, shape=None), path).shape
    if found is not None and found != model.shape:
        raise CheckpointError(
            f"checkpoint {path} has a backbone that was cut: give StreamPETRBackbone, StreamPETRNeck and "
            f"StreamPETRHead shape={str(path)!r}"
        )


def read_weights(path: Path, model: ModelConfig) -> StreamPETR:
    """A network with the weights of a checkpoint: StreamPETR's own, mmengine's, or the node's.

    Raises CheckpointError naming the file where it is damaged or does not fit.
    """
    state = read_state(path)
    module = StreamPETR(fitting(model, path))
    load_into(module, state, f"checkpoint {path}")
    return module


def read_backbone(path: Path, model: ModelConfig) -> dict[str, torch.Tensor]:
    """The backbone's weights, by our names, of a file that may hold more: ``img_backbone.…`` or bare names.

    Raises CheckpointError naming the file and what is missing or has another shape.
    """
    state = read_state(path)
    own = {name: value for name, value in StreamPETR(model).state_dict().items() if name.startswith("backbone.")}
    found = {}
    for official, name in official_names(own, model.num_layers).items():
        if name.endswith("num_batches_tracked"):
            continue  # a counter that no statistics depend on, and that older files lack
        value = state.get(official, state.get(official.removeprefix("img_backbone."), state.get(name)))
        if value is None or value.shape != own[name].shape:
            has = "nothing" if value is None else tuple(value.shape)
            raise CheckpointError(f"checkpoint {path} has {has} under {official}, expected {tuple(own[name].shape)}")
        found[name] = value
    return found


def write_mmengine(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights as a checkpoint for ``load_from`` of an mmdet3d config."""
    if path.suffix != ".pth":
        raise CheckpointError(f"cannot write {path}: a checkpoint for mmengine is a .pth file, the node's .safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": {}, "state_dict": state}, path)
