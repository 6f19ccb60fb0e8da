from __future__ import annotations

import time

import pytest
import torch

from bench.decoder import Row, Setting, measure_shape, scoring_ms
from bench.modes import DENSE, Mode, all_modes
from bench.shapes import speedup_limit
from bench.workload import Workload, make_workload
from tggbc_ros.core import pruning
from tggbc_ros.core.config import ModelConfig, PruningConfig

CPU = torch.device("cpu")
SETTING = Setting(CPU, torch.float32, "eager", repeats=3)


@pytest.fixture(scope="module")
def work(tiny: ModelConfig) -> Workload:
    return make_workload(tiny, CPU, torch.float32)


@pytest.fixture(scope="module")
def rows(tiny: ModelConfig) -> dict[str, Row]:
    with torch.inference_mode():
        return {str(row["label"]): row for row in measure_shape(tiny, all_modes((0.5, 0.25), (1, 3)), SETTING)}


def test_rows_say_what_was_measured(rows: dict[str, Row]) -> None:
    row = rows["pruned 0.25 n=3"]
    told = {"shape": "28x144", "mode": "pruned", "keep_ratio": 0.25, "n": 3, "device": "cpu", "dtype": "float32"}
    assert {name: row[name] for name in told} == told
    assert row["keys"] == (144, 108, 72, 36, 36, 36)
    assert rows["dense_explicit"]["keys"] == (144,) * 6
    assert rows["carry 0.25 n=1 from 0.5"]["keys"] == (72, 36, 36, 36, 36, 36)


def test_ratios_are_of_medians(rows: dict[str, Row]) -> None:
    dense_ms, explicit_ms = (sorted(rows[name]["decoder_ms_each"])[1] for name in ("dense_sdpa", "dense_explicit"))
    for row in rows.values():
        decoder_ms = sorted(row["decoder_ms_each"])[1]
        assert row["decoder_ms"] == decoder_ms > 0.0
        assert row["ratio_to_dense_sdpa"] == pytest.approx(dense_ms / decoder_ms)
        assert row["ratio_to_dense_explicit"] == pytest.approx(explicit_ms / decoder_ms)


def test_limits_follow_the_keys_that_layers_saw(tiny: ModelConfig, rows: dict[str, Row]) -> None:
    assert rows["dense_sdpa"]["multiply_add_limit"] == 1.0
    assert rows["pruned 0.5 n=1"]["multiply_add_limit"] == speedup_limit(tiny, (144, *[72] * 5)) > 1.0


def test_memory_tells_the_attention_map_apart(rows: dict[str, Row]) -> None:
    map_mb = 4 * 28 * 144 * 4 / 2**20
    fused, explicit = (rows[name]["peak_extra_mb"] for name in ("dense_sdpa", "dense_explicit"))
    assert explicit > fused + 0.5 * map_mb
    assert 0.0 < rows["pruned 0.25 n=1"]["scoring_peak_mb"] < rows["pruned 0.25 n=1"]["peak_extra_mb"]
    assert rows["dense_sdpa"]["scoring_peak_mb"] == 0.0


def test_scoring_is_told_where_it_is_a_step_of_its_own(rows: dict[str, Row]) -> None:
    assert rows["dense_sdpa"]["scoring_ms"] == 0.0
    assert rows["pruned_explicit 0.25 n=1"]["scoring_ms"] is None
    row = rows["pruned 0.25 n=1"]
    assert row["scoring_share_of_dense"] == row["scoring_ms"] / rows["dense_sdpa"]["decoder_ms"] > 0.0


@torch.inference_mode()
def test_scoring_counts_every_trim_and_nothing_else(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only trims and layers advance, so that a busy machine has no say."""
    trim, layer, now_s = pruning.trim, work.head.decoder.layers[0], [0.0]

    def advance(by_s: float) -> None:
        now_s[0] += by_s

    monkeypatch.setattr(time, "perf_counter", lambda: now_s[0])
    monkeypatch.setattr(pruning, "trim", lambda *given: advance(0.05) or trim(*given))
    with layer.register_forward_pre_hook(lambda *_: advance(1.0)):
        spent = {count: scoring_ms(work, (Mode("", PruningConfig(0.3, layers=count)), None), CPU) for count in (1, 3)}
    assert spent == pytest.approx({1: 50.0, 3: 150.0})
    assert scoring_ms(work, (DENSE, None), CPU) == 0.0


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_decode_too(tiny: ModelConfig, dtype: torch.dtype) -> None:
    output = make_workload(tiny, CPU, dtype).decode(Mode("", PruningConfig(0.25, layers=2)))
    assert output.logits.dtype == dtype
    assert torch.isfinite(output.logits).all()
