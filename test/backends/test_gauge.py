"""gauge: shares of pixels and features beyond what calibration saw."""

from __future__ import annotations

import pytest
import torch

from tggbc_ros.backends.gauge import EVERY, Gauge
from tggbc_ros.export.calibration import Calibration

CALIBRATION = Calibration("noise", 8, 6, "", image_range=(-2.0, 2.0), feature_limits=(1.0, 10.0))


def test_one_frame_of_several_is_counted() -> None:
    gauge = Gauge(CALIBRATION, torch.device("cpu"))
    features = torch.zeros(6, 2, 2, 4)
    gauge.note(torch.zeros(6, 3, 32, 64), features)
    for _ in range(EVERY - 1):
        gauge.note(torch.full((6, 3, 32, 64), 9.0), features)
        assert gauge.share() == 0.0
    gauge.note(torch.full((6, 3, 32, 64), 9.0), features)
    assert gauge.share() == 1.0


def test_the_larger_share_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gauge, "_is_counted", lambda self: True)
    gauge = Gauge(CALIBRATION, torch.device("cpu"))
    assert gauge.share() is None
    images, features = torch.zeros(6, 3, 32, 64), torch.zeros(6, 2, 2, 4)
    gauge.note(images, features)
    assert gauge.share() == 0.0
    images[:3] = -2.5
    features[0, 0] = 1.5
    features[0, 1] = 9.5  # within its own channel's limit
    gauge.note(images, features)
    assert gauge.share() == 0.5
    gauge.note(torch.zeros(6, 3, 32, 64), features)
    assert gauge.share() == pytest.approx(8 / 96)
