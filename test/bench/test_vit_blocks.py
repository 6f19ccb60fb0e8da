from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.vit_blocks import main, measure


@pytest.mark.usefixtures("one_thread")
def test_every_way_is_timed_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shapes", "64:5x7:4", "--repeats", "1", "--out", str(tmp_path)]) == 0
    (row,) = json.loads((tmp_path / "vit_blocks.json").read_text())
    assert list(row["ms"]) == ["padded", "dense", "all open", "keep 0.7", "keep 0.49", "keep 0.343"]
    assert all(each > 0.0 for each in row["ms"].values())
    assert "64:5x7:4" in capsys.readouterr().out


def test_padding_costs_nothing_where_there_is_the_most() -> None:
    """16 of 256 slots are tokens; measured with less to compute than where it matters."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert measure("128:4x20:16", repeats=3)["over padded"] > 2.0
    finally:
        torch.set_num_threads(threads)
