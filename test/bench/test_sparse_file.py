"""bench.sparse_file on a tiny network: bytes, times, bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import TINY

from bench.sparse_file import main
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import write_network


def test_a_sparse_file_is_compared_with_the_same_weights_dense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, TINY.name, TINY)
    torch.manual_seed(0)
    state = StreamPETR(TINY).state_dict()
    for value in state.values():
        if value.ndim > 1:
            value *= torch.rand(value.shape) < 0.5
    write_network(state, path := tmp_path / "sparse.safetensors", sparse=True)
    assert main([str(path), "--model", TINY.name, "--repeats", "1"]) == 0
    said = capsys.readouterr().out
    share = float(said.splitlines()[0].rpartition(" ")[2])
    assert 0.5 < share < 0.56 and "torch: the same bits" in said
