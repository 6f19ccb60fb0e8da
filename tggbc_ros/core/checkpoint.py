"""Weights on disk -> our network: StreamPETR's published checkpoints, and our own.

A checkpoint fits as a whole or is refused: every key it has is used, or ignored by name, and no tensor
of the network keeps its random start.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import shape_in
from tggbc_ros.core.official_keys import is_official, official_names
from tggbc_ros.core.position import depth_bins
from tggbc_ros.core.shape import ShapeError
from tggbc_ros.core.sparse_file import unpacked
from tggbc_ros.core.vit_checkpoint import gates_as_in, rotary_tables, weights_alone
from tggbc_ros.core.wrappings import State, bare, is_safetensors, weights_in, why_no_checkpoint, with_shared

GATE_PREFIX = "key_gate."  # core/key_gate.py: no part of the network, and read by itself
LISTED_KEYS = 8
UNUSED = ".num_batches_tracked"  # counts training steps; many converters leave it out
VARIANCE = ".running_var"
RANDOM_SEED = 0
CONSTANT_TOLERANCE = 1e-4
LOSS_WEIGHTS = ("pts_bbox_head.code_weights", "pts_bbox_head.match_costs")  # of the ten box codes, in training

# What the unpickler was seen to raise on files cut short or with bytes changed.
_DAMAGED = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


class CheckpointError(ValueError):
    """A file that is no checkpoint, or one that does not fit the network."""


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, by which a set of weights is known."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of torch's or a .safetensors file, whatever its name ends with, on the CPU.

    They may lie bare, or under a key as `wrappings.weights_in` knows it. Nothing in the file is executed. Raises
    CheckpointError naming the file if it is missing, cut short, not a checkpoint, or holds anything else than tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} {_why_no_file(path)}")
    why = why_no_checkpoint(path)
    if why:
        raise CheckpointError(f"checkpoint {path} is damaged or not a checkpoint: {why}")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    try:
        state = weights_in(content)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path} {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(state).__name__}, expected a state dict")
    strangers = [f"{key} ({type(item).__name__})" for key, item in state.items() if not isinstance(item, torch.Tensor)]
    if strangers or not state:
        raise CheckpointError(f"checkpoint {path} holds {_listing(strangers) or 'nothing'}, expected tensors by name")
    return dict(state)


def read_gate_state(path: Path) -> dict[str, torch.Tensor]:
    """The key gate's tensors in a checkpoint, without their prefix; empty where it has none. Errors as above."""
    state = _read_safetensors(path, GATE_PREFIX) if _is_safetensors(path) else read_state_dict(path)
    return {key[len(GATE_PREFIX) :]: value for key, value in state.items() if key.startswith(GATE_PREFIX)}


def _why_no_file(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which does not exist; git annex get or git lfs pull may fetch it"
    return "is not a file" if path.exists() else "does not exist"


def _is_safetensors(path: Path) -> bool:
    """By its first bytes; what is neither goes by its name, to be refused as damaged."""
    with path.open("rb") as file:
        head = file.read(2)
    return is_safetensors(path) or (path.suffix == ".safetensors" and head != b"PK" and head[:1] != b"\x80")


def build_network(model: ModelConfig, path: Path | None) -> tuple[StreamPETR, str]:
    """A network on the CPU with the weights of a file, and what they are called; without a file, RANDOM ones.

    Its backbone looks as the file says, or else as the model does. The random ones are the same every time. Raises
    what `load_checkpoint` does.
    """
    model = fitting(model, path) if path else model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        module = StreamPETR(model)
    if path is None:
        return module, "RANDOM"
    load_checkpoint(module, path)
    return module, f"{path.name} sha256:{sha256(path)[:16]}"


def fitting(model: ModelConfig, path: Path) -> ModelConfig:
    """The model with the backbone's shape that is in a checkpoint's metadata, if there is one.

    Raises CheckpointError for one that cannot be, before anything is allocated.
    """
    try:
        return dataclasses.replace(model, shape=shape_in(path, model) or model.shape)
    except ShapeError as error:
        raise CheckpointError(f"checkpoint {path} does not fit model {model.name}: its shape: {error}") from error


def load_checkpoint(module: StreamPETR, path: Path) -> None:
    """Give the module the weights of a file; see `read_state_dict` and `load_into` for what may go wrong."""
    load_into(module, read_state_dict(path), source=f"checkpoint {path}")


def load_into(module: StreamPETR, state: State, source: str = "state dict") -> None:
    """Copy a state dict, with official keys or our own, into the module, bare of prefixes as `wrappings.bare` does it.

    A vision transformer's gates are then those of the state. The batch norms' num_batches_tracked may be missing: no
    inference depends on it.
    Raises one CheckpointError that names ``source`` and lists all that is missing, unexpected, mis-shaped,
    not finite, or at odds with the module's configuration; the module is then as it was.
    """
    try:
        state = bare(state)
    except ValueError as error:
        raise CheckpointError(f"{source} {error}") from error
    with gates_as_in(state, module.backbone):
        _copy_into(module, state, source)


def _copy_into(module: StreamPETR, state: State, source: str) -> None:
    own = module.state_dict()
    names = official_names(own, module.model.num_layers) if is_official(state) else {key: key for key in own}
    constants = official_constants(module.model) if is_official(state) else {}
    expected = {key: own[name].shape for key, name in names.items()}
    expected.update((key, value.shape) for key, value in constants.items())
    state, table_problem = weights_alone(state, module.backbone, module.model.image_size, source)
    problems = [
        *_key_problems(state, expected),
        *_number_problems(state, names, own),
        *_constant_problems(state, constants),
        *_branch_problems(state, names),
        *filter(None, [table_problem]),
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit model {module.model.name}: " + "; ".join(problems))
    module.load_state_dict({name: state.get(key, own[name]) for key, name in names.items()})


def to_official(module: StreamPETR) -> dict[str, torch.Tensor]:
    """The module's weights as a StreamPETR checkpoint holds them, without the auxiliary 2D head."""
    own = module.state_dict()
    names, model = official_names(own, module.model.num_layers), module.model
    tables = rotary_tables(module.backbone, model.image_size)
    return {**{key: own[name] for key, name in names.items()}, **official_constants(model), **tables}


def official_constants(model: ModelConfig) -> dict[str, torch.Tensor]:
    """What an official checkpoint stores beside its weights, as the configuration has it."""
    loss_weights = torch.tensor([2.0, 2.0] + [1.0] * 8)
    return {
        **{key: loss_weights.clone() for key in LOSS_WEIGHTS},
        "pts_bbox_head.pc_range": torch.tensor(model.pc_range),
        "pts_bbox_head.position_range": torch.tensor(model.position_range),
        "pts_bbox_head.coords_d": depth_bins(model),
    }


def _key_problems(state: State, expected: Mapping[str, torch.Size]) -> list[str]:
    """One line for each way in which keys or shapes are not as expected."""
    shared = [key for key in state if key in expected]
    problems = {
        "missing": [key for key in expected if key not in state and not key.endswith(UNUSED)],
        "unexpected": [key for key in state if key not in expected],
        "mis-shaped": [
            f"{key} {tuple(state[key].shape)} (expected {tuple(expected[key])})"
            for key in shared
            if state[key].shape != expected[key]
        ],
    }
    return _lines(problems)


def _number_problems(state: State, names: Mapping[str, str], own: State) -> list[str]:
    """One line for each way in which weights are numbers that no network computes with.

    Of tensors that have the expected shape alone: others may be of any size, and are refused without a look inside.
    """
    fitting = {key: state[key] for key, name in names.items() if key in state and state[key].shape == own[name].shape}
    weights = {key: value for key, value in fitting.items() if own[names[key]].is_floating_point()}
    kinds = {key: str(value.dtype).removeprefix("torch.") for key, value in weights.items()}
    return _lines(
        {
            "not of real numbers": [
                f"{key} ({kinds[key]})" for key, value in weights.items() if not value.is_floating_point()
            ],
            "with NaN or infinity": [key for key, value in fitting.items() if not torch.isfinite(value).all()],
            "with variances below 0": [
                key for key, value in weights.items() if key.endswith(VARIANCE) and bool((value.float() < 0).any())
            ],
        }
    )


def _lines(problems: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{len(keys)} {what}: {_listing(keys)}" for what, keys in problems.items() if keys]


def _constant_problems(state: State, constants: State) -> list[str]:
    """Ranges and depth bins that the checkpoint was trained with and the configuration does not have."""
    problems = []
    for key, value in constants.items():
        stored = state.get(key)
        if stored is None or stored.shape != value.shape or key in LOSS_WEIGHTS:
            continue  # reported as missing or mis-shaped; and how a loss was weighed does not matter here
        rounding = torch.finfo(stored.dtype).eps if stored.is_floating_point() else 0.0
        unlike = ~torch.isclose(stored.float().cpu(), value, rtol=rounding, atol=CONSTANT_TOLERANCE)
        if unlike.any():
            at = int(unlike.nonzero()[0])
            problems.append(f"{key}[{at}] is {stored[at]:.6g}, but the model's configuration says {value[at]:.6g}")
    return problems


def _branch_problems(state: State, names: Mapping[str, str]) -> list[str]:
    """Copies of a module that all layers share, and that are not copies."""
    first: dict[str, str] = {}
    unequal = []
    for key in filter(state.__contains__, names):
        original = first.setdefault(names[key], key)
        if key != original and not torch.equal(state[key], state[original]):
            unequal.append(key)
    if not unequal:
        return []
    return [f"{len(unequal)} unlike the first layer's, which all layers share: {_listing(unequal)}"]


def _listing(items: Sequence[str]) -> str:
    """The items, or the first few and how many more."""
    shown = ", ".join(items[:LISTED_KEYS])
    hidden = len(items) - LISTED_KEYS
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def _read_torch(path: Path) -> Any:
    """Tensors and plain Python values, by torch's restricted unpickler; of classes, NumPy's arrays alone."""
    try:
        # Not by its path: of a name that ends with .safetensors torch does not look into the file.
        with torch.serialization.safe_globals(_numpy_globals()), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused is None:
            raise CheckpointError(f"checkpoint {path} is damaged or not a checkpoint: {_reason(error)}") from error
        raise CheckpointError(
            f"checkpoint {path} is refused: loading it would call {refused[1]}, and only tensors, plain Python "
            "values and NumPy arrays may be in it; save its state_dict alone, with a program you trust"
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not a checkpoint: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What the error says, without the advice that torch wraps around it."""
    cause = str(error).rpartition("WeightsUnpickler error:")[2].partition("Check the documentation")[0]
    return f"{type(error).__name__}: {' '.join(cause.split())[:200]}"


def _numpy_globals() -> list[Any]:
    """NumPy's array and scalar constructors: training logs in a checkpoint's meta hold such numbers.

    Files written with NumPy 1 know them as numpy.core, with NumPy 2 as numpy._core. No object arrays.
    """
    reconstruct: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    renamed = [
        (function, f"{module}.multiarray.{function.__name__}")
        for module in ("numpy.core", "numpy._core")
        for function in (reconstruct, scalar)
    ]
    return [np.ndarray, np.dtype, *(type(np.dtype(code)) for code in "?bhilqBHILQefdFDSU"), *renamed]


def _read_safetensors(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """All tensors, or those alone whose names begin with ``prefix``."""
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(f"checkpoint {path} needs the library safetensors: pip install safetensors") from error
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118, it is no mapping
            some = {name: file.get_tensor(name) for name in names} if prefix else {}
        stored = some if prefix else dict(with_shared(load_file(path), metadata))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not a safetensors file: {_reason(error)}") from error
    try:
        return unpacked(stored, metadata, prefix)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path} {error}") from error
