"""Weights between stages, and the file that is shipped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from tggbc_ros.core.checkpoint import GATE_PREFIX, fitting, load_into, read_gate_state, read_state_dict
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import History, as_history, history_of, write_network
from tggbc_ros.core.shape import from_data
from tggbc_ros.core.vit_checkpoint import gates_as_in
from tggbc_ros.core.wrappings import State
from tggbc_ros.data.nuscenes.tables import read_json
from tggbc_ros.training.loop import STATE_FILE
from tggbc_ros.training.tasks import Net

WEIGHTS_FILE = "weights.safetensors"
"""In the folder of a run that ended: the averaged weights."""

GATE_FILE = "key_gate.safetensors"
NETWORK_FILE = "network.json"
"""In the folder of a run whose network was cut: its backbone's shape, and what was done to it."""


def network_at(model: ModelConfig, path: Path) -> tuple[ModelConfig, History]:
    """What the network of a run's folder, or of a checkpoint, looks like, and what was done to it.

    It is the model's own, and nothing, unless the folder or file says otherwise. Raises ValueError naming the file.
    """
    if not path.is_dir():
        return fitting(model, path), history_of(path)
    file = path / NETWORK_FILE
    if not file.is_file():
        return model, ()
    said = read_json(file)
    try:
        shape = from_data(said["shape"]) if said["shape"] is not None else None
        return dataclasses.replace(model, shape=shape), as_history(said["history"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} does not say what a network looks like: {error}") from error


def note_network(model: ModelConfig, history: History, folder: Path) -> None:
    """Leave what `network_at` reads in a run's folder; nothing for a network that is as its name says."""
    if model.shape is None and not history:
        (folder / NETWORK_FILE).unlink(missing_ok=True)
        return
    said = {"shape": dataclasses.asdict(model.shape) if model.shape else None, "history": list(history)}
    (folder / NETWORK_FILE).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def begin_from(net: Net, path: Path) -> None:
    """Start where another run ended: its folder (averaged weights, dense head too), or a detector's checkpoint.

    Raises FileNotFoundError or ValueError naming the file and what does not fit.
    """
    if not path.is_dir():
        load_into(net.detector, read_state_dict(path), f"checkpoint {path}")
        return
    source = path / STATE_FILE
    if not source.is_file():
        raise FileNotFoundError(f"no checkpoint {source} to go on from")
    average = torch.load(source, map_location="cpu", weights_only=True)["average"]
    with gates_as_in({name.removeprefix("detector."): value for name, value in average.items()}, net.detector.backbone):
        own = net.state_dict()
        wrong = sorted(name for name in own.keys() | average.keys() if _shape(own, name) != _shape(average, name))
        if wrong:
            found = ", ".join(wrong[:5])
            raise ValueError(f"checkpoint {source} does not fit model {net.detector.model.name}: {found} ...")
        net.load_state_dict(average)


def gate_at(path: Path) -> dict[str, torch.Tensor]:
    """The key gate (core/key_gate.py) that came with the network of a run's folder, or of a checkpoint; maybe none."""
    file = path / GATE_FILE if path.is_dir() else path
    return read_gate_state(file) if file.is_file() else {}


def note_gate(gate: State, folder: Path) -> None:
    """Leave what `gate_at` reads in a run's folder."""
    if not gate:
        (folder / GATE_FILE).unlink(missing_ok=True)
        return
    write_network({f"{GATE_PREFIX}{name}": value for name, value in gate.items()}, folder / GATE_FILE)


def export(detector: StreamPETR, path: Path, history: History = (), gate: State | None = None) -> None:
    """Write a detector's weights as float16 safetensors, its own key names, with its shape and history.

    gate: the key gate that it had before. Training leaves that as it was, though features move away below it: it goes
    along because an old gate was seen to choose better than none, and can be fitted anew (docs/slim.md).
    """
    state = {name: _half(value) for name, value in detector.state_dict().items()}
    state |= {f"{GATE_PREFIX}{name}": _half(value) for name, value in (gate or {}).items()}
    write_network(state, path, detector.model.shape, history)


def _half(value: torch.Tensor) -> torch.Tensor:
    """float16, contiguous; counters (BatchNorm's num_batches_tracked) stay integers."""
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value


def _shape(state: dict[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
