from __future__ import annotations

import pytest
import torch

from bench.frames import measure_frames, raw_frame
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import DEMO, ModelConfig


@torch.inference_mode()
def test_a_row_for_each_ratio_with_all_stages(tiny: ModelConfig) -> None:
    rows = measure_frames(TorchNetwork.load(tiny, None, "cpu"), repeats=1, keep_ratios=(1.0, 0.25))
    assert [(row["model"], row["keep_ratio"], row["keys"]) for row in rows] == [
        ("tiny", 1.0, (144,) * 6),
        ("tiny", 0.25, (144, *[36] * 5)),
    ]
    for row in rows:
        assert list(row["stage_ms"]) == ["preprocess", "align", "encode", "embed", "decode", "boxes"]
        assert row["frame_ms"] == pytest.approx(sum(row["stage_ms"].values()))


def test_frames_are_a_vehicle_that_stands_still() -> None:
    before, after = raw_frame(DEMO, 0), raw_frame(DEMO, 1)
    assert after.timestamp_ns - before.timestamp_ns == 500_000_000
    assert (before.rig.lidar2cam == after.rig.lidar2cam).all()
    assert (before.images[0] != after.images[0]).mean() > 0.9
    height, width, _ = before.images[0].shape
    assert DEMO.image_size[1] / width == 1.0
    assert DEMO.image_size[0] <= height
