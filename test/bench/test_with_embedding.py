"""with_embedding: every way is measured with rays kept and anew, and the keys that start are fewer."""

from __future__ import annotations

import torch

from bench.with_embedding import _embed, _given, measure_with_embedding
from tggbc_ros.core.config import ModelConfig, PruningConfig, StartConfig

CPU = torch.device("cpu")


@torch.inference_mode()
def test_rows_tell_what_started_and_what_it_saved(tiny: ModelConfig) -> None:
    rows = measure_with_embedding(tiny, CPU, repeats=1)
    assert [(row["label"], row["start_ratio"]) for row in rows[:3]] == [
        ("dense, rays kept", 1.0),
        ("pruned 0.2, rays kept", 1.0),
        ("start 0.4 keep 0.2, rays kept", 0.4),
    ]
    assert {row["rays"] for row in rows[3:]} == {"anew"}
    assert all(row["embed_ms"] > 0.0 and row["embed_and_decoder_ms"] > 0.0 for row in rows)
    assert rows[0]["ratio_with_embed"] == rows[3]["ratio_with_embed"] == 1.0


@torch.inference_mode()
def test_kept_rays_and_new_ones_give_the_same_tokens(tiny: ModelConfig) -> None:
    given, way = _given(tiny, CPU), PruningConfig(0.2, start=StartConfig(0.4))
    kept, anew = _embed(given, way, False), _embed(given, way, True)
    assert kept.index.shape[1] == round(0.4 * kept.num_cells)
    torch.testing.assert_close(kept.key, anew.key, rtol=1e-5, atol=1e-5)
    dense = _embed(given, PruningConfig(), False)
    torch.testing.assert_close(kept.key[0], dense.key[0, kept.index[0]], rtol=1e-5, atol=1e-5)
