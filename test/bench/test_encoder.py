from __future__ import annotations

import pytest
import torch

from bench import encoder
from bench.encoder import AS_TRAINED, Row, encoder_table, main, measure_encoder
from tggbc_ros.core.config import ModelConfig


def test_a_row_for_each_way_with_its_ratio_and_error(tiny: ModelConfig) -> None:
    rows = {row.way: row for row in measure_encoder(tiny, torch.device("cpu"), 2)}
    assert list(rows) == [AS_TRAINED, "fp32", "fp16", "bf16"]
    assert (rows[AS_TRAINED].ratio, rows[AS_TRAINED].error) == (1.0, 0.0)
    assert rows["fp32"].ratio == pytest.approx(rows[AS_TRAINED].encode_ms / rows["fp32"].encode_ms)
    assert rows["fp32"].error < 1e-5 < rows["fp16"].error < rows["bf16"].error < 0.1


def test_the_table_says_what_was_measured(
    tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(encoder.MODELS, "demo", tiny)
    assert main(["--models", "demo", "--precisions", "bf16", "--repeats", "1", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == ["model", "tiny", "tiny", "cpu,"]
    assert encoder_table([Row("r50_704", "fp32", 1234.56, 1.5, 2e-7)]).splitlines()[1].split() == [
        *("r50_704", "fp32", "1234.6", "1.50", "2.0e-07")
    ]
