from __future__ import annotations

import torch

from bench.before import PARTS, calls_of, measure_before
from bench.scene import frame_at
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.position import PositionEmbedding
from tggbc_ros.core.preprocess import preprocess

CPU = torch.device("cpu")


@torch.inference_mode()
def test_parts_make_up_the_whole(tiny: ModelConfig) -> None:
    module = PositionEmbedding(tiny)
    calls = calls_of(module, preprocess(frame_at(0, 90, 160), tiny, CPU))
    anew, kept = calls["all"](), calls["kept_rays"]()
    torch.testing.assert_close(anew.key, kept.key)
    position, value = calls["position_embedding"](), calls["alignment"]()
    torch.testing.assert_close(value, anew.value)
    torch.testing.assert_close(value + module.featurized(position, value), anew.key)
    assert anew.key.std() > 0.1


@torch.inference_mode()
def test_every_part_is_told(tiny: ModelConfig) -> None:
    row = measure_before(tiny, CPU, repeats=1)
    assert (row["shape"], row["keys"]) == ("28x144", 144)
    assert all(row[f"{part}_ms"] > 0.0 for part in ("all", "kept_rays", *PARTS))
