"""A sparse network as a file: in the precision of the dense one's, with its key gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tggbc_ros.core.checkpoint import GATE_PREFIX, read_gate_state, read_state_dict
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import write_network


def write(network: StreamPETR, out: Path, history: Sequence[Mapping[str, Any]], like: Path) -> None:
    """Write a network as sparse as it is, every tensor in the precision that it has in ``like``."""
    kinds = {name: value.dtype for name, value in read_state_dict(like).items()}
    floating = {kind for kind in kinds.values() if kind.is_floating_point}
    usual = next(iter(floating)) if len(floating) == 1 else None
    state = {}
    for name, value in network.state_dict().items():
        kind = kinds.get(name, usual if value.is_floating_point() else None)
        state[name] = value.detach().cpu().contiguous().to(kind or value.dtype)
    state |= {f"{GATE_PREFIX}{name}": value for name, value in read_gate_state(like).items()}
    write_network(state, out, network.model.shape, history, sparse=True)
