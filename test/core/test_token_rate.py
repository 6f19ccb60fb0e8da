"""The threshold that holds a rate of tokens: it starts as the gates decide, and settles where the rate is."""

from __future__ import annotations

import math

import pytest
import torch

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import DEMO, DEMO_VIT, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.gates import Decisions
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.token_rate import Threshold, after_frame, expect_gates, threshold_for
from tggbc_ros.core.warm_up import black_frame

CAMERAS = ("CAM_FRONT", "CAM_BACK")


def decisions(margin: torch.Tensor) -> Decisions:
    return Decisions(margin, margin > 0.0)


def network(gates: bool = True) -> TorchNetwork:
    torch.manual_seed(0)
    module = StreamPETR(DEMO_VIT)
    if gates:
        module.backbone.add_gates((2, 5))
        for gate in module.backbone.gates.values():
            torch.nn.init.normal_(gate.mlp.fc2.weight)
    return TorchNetwork(module, torch.device("cpu"), "some")


def test_the_first_frame_is_the_gates_own_and_the_next_holds_the_rate() -> None:
    first = threshold_for(None, 0.3)
    assert first == Threshold(0.3, 0.0, settled=False)
    margin = torch.randn(2, 1, 6, 10, generator=torch.Generator().manual_seed(1)) + 1.0
    second = after_frame(first, decisions(margin))
    assert float(torch.sigmoid(margin + second.shift).mean()) == pytest.approx(0.3, abs=0.001)
    third = after_frame(second, decisions(margin - 2.0))
    assert third.shift == pytest.approx(second.shift + 0.2 * 2.0, abs=3e-3)


def test_a_new_rate_is_gone_to_at_once_and_1_asks_no_gate() -> None:
    settled = Threshold(0.3, -1.0, settled=True)
    assert threshold_for(settled, 0.3) is settled
    assert threshold_for(settled, 0.6) == Threshold(0.6, -1.0, settled=False)
    assert threshold_for(settled, 1.0) is None


def test_margins_that_are_nan_say_nothing() -> None:
    margin = torch.full((1, 1, 2, 2), math.nan)
    assert after_frame(Threshold(0.5, 0.25), decisions(margin)) == Threshold(0.5, 0.25)
    margin[0, 0, 0] = torch.tensor([1.0, -1.0])
    assert after_frame(Threshold(0.5, 0.25), decisions(margin)).shift == pytest.approx(0.0, abs=2e-3)


@pytest.mark.parametrize("rate", [0.0, 1.01, math.nan])
def test_rates_that_are_no_share_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="token_rate is"):
        PruningConfig(token_rate=rate)


def test_without_gates_fewer_tokens_are_refused() -> None:
    expect_gates(network(), PruningConfig(token_rate=0.5))
    for other in (network(gates=False), object()):
        expect_gates(other, PruningConfig())
        with pytest.raises(ValueError, match=r"token_rate is 0\.5, expected 1\.0: the network has no gates"):
            expect_gates(other, PruningConfig(token_rate=0.5))
    resnet = TorchNetwork(StreamPETR(DEMO), torch.device("cpu"), "some")
    with pytest.raises(ValueError, match="token_rate"):
        Detector(resnet, PruningConfig(token_rate=0.5)).step(black_frame(DEMO, CAMERAS))


def test_a_detector_holds_a_rate_and_reports_it() -> None:
    gated, dense = network(), network(gates=False)
    detector = Detector(gated, PruningConfig(token_rate=0.4))
    frame = black_frame(DEMO_VIT, CAMERAS)
    noise = torch.Generator().manual_seed(2)
    images = tuple(torch.randint(0, 256, (128, 352, 3), dtype=torch.uint8, generator=noise).numpy() for _ in CAMERAS)
    frame = type(frame)(images, frame.rig, frame.timestamp_ns, frame.lidar2global)
    reports = [detector.step(frame)[1] for _ in range(3)]
    used = [report.token_rate_used for report in reports]
    assert used[1] == pytest.approx(0.4, abs=0.06) and used[2] == pytest.approx(0.4, abs=0.06)
    assert reports[2].tokens is not None and reports[2].tokens.shape == (2, 2 * 8 * 22)
    assert sum(reports[2].token_shares) / 2 == pytest.approx(used[2])
    detector.pruning = PruningConfig()
    _, report = detector.step(frame)
    assert report.tokens is None and report.token_rate_used == 1.0 and detector.threshold is None
    pixels = torch.randn(1, 2, 3, 128, 352, generator=noise)
    torch.testing.assert_close(gated.encode(pixels), dense.encode(pixels), rtol=0, atol=1e-5)
    open_all, found = gated.encode_gated(pixels, 1e6)
    assert bool(found.keep.all())
    torch.testing.assert_close(open_all, dense.encode(pixels), rtol=0, atol=1e-5)
