"""Whole transformers as they are measured: the ways through them are the same network, and as many tokens as said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from bench import vit_backbone
from tggbc_ros.core.backbones.vit import ViT, ViTShape
from tggbc_ros.core.gates import even_targets

SHAPE = ViTShape(32, 4, 2, window=3, global_window=5, global_blocks=(1,))


@torch.inference_mode()
def test_the_ways_differ_in_work_alone() -> None:
    torch.manual_seed(0)
    backbone, images = ViT(SHAPE).eval(), torch.randn(2, 3, 80, 112)
    backbone.add_gates(even_targets(4))
    published = vit_backbone.as_published(backbone, images)
    dense = backbone.decide(images, math.inf)[0][0].permute(0, 2, 3, 1)
    opened = vit_backbone.at_rates(backbone, images, dict.fromkeys((1, 2, 3), 1.0))
    torch.testing.assert_close(published, dense, rtol=0, atol=1e-4)
    assert torch.equal(opened, dense)
    assert not torch.allclose(vit_backbone.at_rates(backbone, images, even_targets(4)), dense, atol=1e-3)


def test_each_image_keeps_its_share_of_other_cells() -> None:
    keep = vit_backbone.scattered(torch.zeros(6, 20, 50, dtype=torch.bool), 0.343)
    assert keep.flatten(1).sum(dim=1).tolist() == [343] * 6
    assert not torch.equal(keep[0], keep[1])


def test_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        assert (
            vit_backbone.main(["--models", "demo_vit", "--repeats", "1", "--threads", "1", "--out", str(tmp_path)]) == 0
        )
    finally:
        torch.set_num_threads(threads)
    (row,) = json.loads((tmp_path / "vit_backbone.json").read_text())
    assert list(row["wall_ms"]) == ["published", "dense", "all open", "gated"]
    assert row["cpu_ms"]["gated"] < row["cpu_ms"]["published"]
    assert "demo_vit wall_ms" in capsys.readouterr().out
    with pytest.raises(ValueError, match="model is 'demo', expected one with a vision transformer"):
        vit_backbone.measure("demo", 1)
