"""Weights between stages, and the file that is shipped."""

from __future__ import annotations

from pathlib import Path

import torch

from tggbc_ros.core.checkpoint import load_into, read_state_dict
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.training.loop import STATE_FILE
from tggbc_ros.training.tasks import Net


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
    own = net.state_dict()
    wrong = sorted(name for name in own.keys() | average.keys() if _shape(own, name) != _shape(average, name))
    if wrong:
        found = ", ".join(wrong[:5])
        raise ValueError(f"checkpoint {source} does not fit model {net.detector.model.name}: {found} ...")
    net.load_state_dict(average)


def export(detector: StreamPETR, path: Path) -> None:
    """Write a detector's weights as float16 safetensors, its own key names."""
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError(f"writing {path} needs the library safetensors: pip install safetensors") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _half(value) for name, value in detector.state_dict().items()}, path)


def _half(value: torch.Tensor) -> torch.Tensor:
    """float16, contiguous; counters (BatchNorm's num_batches_tracked) stay integers."""
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value


def _shape(state: dict[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
