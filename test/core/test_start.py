"""Choosing keys before anything of them is embedded: who is chosen, what is computed of them, and who may not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import SMALL

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core import geometry, start
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig, StartConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.key_gate import HINTS, GateError, KeyGate, gate_from, hints_of, sights
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import CameraFrame, Rig

CELLS = 4 * 6
KEYS = 6 * CELLS


def frame_at(number: int) -> CameraFrame:
    """Six noise images from a ring of cameras on a standing vehicle."""
    rng = np.random.default_rng(number)
    images = tuple(rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(6))
    optical = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    cameras = [geometry.rigid(optical @ geometry.yaw_rotation(i * np.pi / 3), [0, 1.5, 0]) for i in range(6)]
    intrinsics = np.array([[[100.0 + i, 0, 80], [0, 90.0 - i, 45], [0, 0, 1]] for i in range(6)])
    rig = Rig(tuple(f"cam{i}" for i in range(6)), intrinsics, np.stack(cameras))
    return CameraFrame(images, rig, 10**18 + number * 500_000_000, np.eye(4))


def make_gate(cameras: int = 6) -> KeyGate:
    torch.manual_seed(1)
    gate = KeyGate(SMALL, cameras, 8)
    with torch.no_grad():
        gate.row.normal_()
    return gate.eval().requires_grad_(False)


@pytest.fixture
def network() -> TorchNetwork:
    network = TorchNetwork.load(SMALL, None, "cpu")
    network.gate = make_gate()
    return network


def starting(ratio: float = 0.4, keep_ratio: float = 0.2, **more: object) -> PruningConfig:
    return PruningConfig(keep_ratio, start=StartConfig(ratio), **more)  # type: ignore[arg-type]


class TestBestAndNext:
    def test_the_best_start_and_those_whose_turn_it_is(self) -> None:
        score = torch.rand(200, generator=torch.Generator().manual_seed(0))
        config = PruningConfig(0.3, start=StartConfig(0.3, explore=0.25), carry=CarryConfig(refresh=100))
        chosen = start.best_and_next(score, (2, 10, 10), config, 40).tolist()  # a frame in which no region is due
        first, step = start.turn(200, 60, 0.25, 40)
        turn = set(range(first, 200, step))
        best = [cell for cell in score.argsort(descending=True).tolist() if cell not in turn]
        assert len(turn) <= 15
        assert set(chosen) == turn | set(best[: 60 - len(turn)])
        assert chosen == sorted(chosen)

    @pytest.mark.parametrize("explore", [0.05, 0.3, 0.9])
    def test_every_cell_has_its_turn_and_regions_soon(self, explore: float) -> None:
        total, count = 300, 90
        _, period = start.turn(total, count, explore, 0)
        turns = [set(range(start.turn(total, count, explore, frame)[0], total, period)) for frame in range(2 * period)]
        for first in range(period):
            assert set.union(*turns[first : first + period]) == set(range(total))
        soon = min(8, period)
        seen = set.union(*turns[3 : 3 + soon])
        width = -(-3 * period // soon)
        assert all(seen & set(range(cell, cell + width)) for cell in range(total - width))

    def test_hidden_cells_are_never_chosen_and_too_few_are_all_taken(self) -> None:
        cells = np.zeros((1, 10, 10), np.bool_)
        cells[0, 2:4] = True
        chosen = start.best_and_next(torch.rand(100), (1, 10, 10), starting(0.5), 0, cells)
        assert chosen.tolist() == list(range(20, 40))
        with pytest.raises(ValueError, match=r"cells have shape \(1, 10, 10\), expected as many .*: 99"):
            start.best_and_next(torch.rand(99), (1, 9, 11), starting(0.5), 0, cells)


class TestRegions:
    def test_they_part_every_cameras_cells(self) -> None:
        shape = 2, 6, 9
        found = [set(region) for region in start.regions(shape, "cpu").tolist()]
        assert len(found) == 2 * 2 * 3
        assert sorted(cell for region in found for cell in region) == list(range(2 * 6 * 9))
        assert found[0] == {row * 9 + column for row in range(4) for column in range(4)}
        assert found[5] == {4 * 9 + 8, 5 * 9 + 8}
        assert min(found[6]) == 6 * 9

    @settings(deadline=None, max_examples=60)
    @given(
        ratio=st.floats(0.001, 0.99),
        explore=st.floats(0.001, 0.999),
        refresh=st.integers(1, 40),
        carry_ratio=st.none() | st.floats(0.05, 0.9),
        first=st.integers(0, 1000),
        hidden=st.booleans(),
    )
    def test_each_starts_a_key_within_so_many_frames_whatever_is_asked_for(
        self, ratio: float, explore: float, refresh: int, carry_ratio: float | None, first: int, hidden: bool
    ) -> None:
        shape = 2, 7, 13
        score = torch.linspace(9.0, 0.0, 2 * 7 * 13)  # the last cells never matter
        carry = CarryConfig(carry_ratio, max(refresh, 21)) if carry_ratio else CarryConfig(refresh=refresh)
        config = PruningConfig(0.001, start=StartConfig(ratio, explore), carry=carry)
        cells = np.ones(shape, np.bool_)
        if hidden:
            cells[0, 2:], cells[1, :, 5:] = False, False
        seen: set[int] = set()
        for frame in range(first, first + carry.refresh):
            seen |= set(start.best_and_next(score, shape, config, frame, cells).tolist())
        visible = set(np.flatnonzero(cells).tolist())
        assert seen <= visible
        there = [set(region) & visible for region in start.regions(shape, "cpu").tolist()]
        assert all(region & seen for region in there if region)

    def test_a_region_that_is_seen_anyway_costs_no_key(self) -> None:
        score = torch.arange(96.0)
        config = PruningConfig(0.1, start=StartConfig(0.25), carry=CarryConfig(refresh=2))
        chosen = start.best_and_next(score, (1, 8, 12), config, 3).tolist()
        assert len(chosen) == 24
        first, step = start.turn(96, 24, config.start.explore, 3)
        turn = set(range(first, 96, step))
        due = start.regions((1, 8, 12), "cpu")[1::2].tolist()
        forced = {next(iter(set(r) & turn), max(r)) for r in due}
        assert forced <= set(chosen)
        assert all(len(set(region) & turn) or max(region) in chosen for region in due)


class TestDetector:
    def test_a_ratio_of_one_is_bit_for_bit_what_it_was(self, network: TorchNetwork) -> None:
        without = TorchNetwork.load(SMALL, None, "cpu")
        plain, gated = Detector(without, PruningConfig(0.3)), Detector(network, PruningConfig(0.3))
        for number in range(3):
            boxes, again = plain.step(frame_at(number))[0], gated.step(frame_at(number))[0]
            np.testing.assert_array_equal(boxes.center, again.center)
            np.testing.assert_array_equal(boxes.score, again.score)

    def test_chosen_keys_are_those_of_the_whole_and_nothing_else_is_embedded(self, network: TorchNetwork) -> None:
        frame = frame_at(0)
        inputs = preprocess(frame, SMALL, "cpu")
        features = network.encode(inputs.images)
        whole = network.embed(features, inputs)
        cells = torch.tensor([0, 5, 30, 143])
        network._rays = None
        some = network.embed(features, inputs, cells)
        assert some.index.tolist() == [cells.tolist()]
        assert some.num_cells == KEYS
        torch.testing.assert_close(some.key[0], whole.key[0, cells], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(some.value[0], whole.value[0, cells], rtol=1e-5, atol=1e-5)

    def test_first_frame_and_all_others_start_with_their_share(self, network: TorchNetwork) -> None:
        detector = Detector(network, starting())
        for number in range(4):
            _, report = detector.step(frame_at(number))
            assert report.keys == (58, 29, 29)
            assert report.total_keys == KEYS
            assert report.started_by == "gate"
            assert set(report.kept) <= set(report.started)

    def test_without_a_gate_carry_alone_decides_and_the_report_says_so(self, network: TorchNetwork) -> None:
        network.gate = None
        detector = Detector(network, starting())
        reports = [detector.step(frame_at(number))[1] for number in range(3)]
        assert [report.keys[0] for report in reports] == [KEYS, 58, 58]
        assert [report.started_by for report in reports] == ["", "carry", "carry"]

    @pytest.mark.parametrize(
        "pruning",
        [
            starting(schedule="once"),
            starting(layers=2),
            starting(layers=2, reactivate=True),
            starting(schedule="ratios", ratios=(0.4,)),
            starting(0.5, keep=KeepConfig("mass", min_ratio=0.1)),
            starting(0.5, keep=KeepConfig("budget", max_ratio=0.5)),
            starting(0.5, carry=CarryConfig(0.3)),
            starting(0.4, 0.4),
        ],
    )
    def test_goes_with_every_schedule_and_mode(self, network: TorchNetwork, pruning: PruningConfig) -> None:
        detector = Detector(network, pruning)
        for number in range(3):
            _, report = detector.step(frame_at(number))
            assert report.keys[0] <= pruning.start.ratio * KEYS + 1
            assert report.keys[-1] >= 1
            assert detector.carried is not None

    def test_missing_cameras_and_hidden_cells_have_no_keys(self, network: TorchNetwork) -> None:
        cells = np.ones((6, *SMALL.feature_size), np.bool_)
        cells[2] = False
        cells[0, 3] = False
        detector = Detector(network, starting(0.3, 0.1))
        for number in range(3):
            _, report = detector.step(replace(frame_at(number), cells=cells))
            assert cells.flatten()[report.started].all()
            assert report.keys[0] == 43

    @pytest.mark.parametrize("carry_ratio", [1.0, 0.2])
    @pytest.mark.parametrize("gated", [True, False])
    def test_the_first_layer_sees_every_region_in_time(
        self, network: TorchNetwork, gated: bool, carry_ratio: float
    ) -> None:
        network.gate = network.gate if gated else None
        pruning = PruningConfig(0.01, start=StartConfig(0.15, 0.01), carry=CarryConfig(carry_ratio, 6))
        detector = Detector(network, pruning)
        seen = [detector.step(frame_at(number))[1].started for number in range(9)]
        regions = [set(region) for region in start.regions((6, *SMALL.feature_size), "cpu").tolist()]
        for first in (1, 2, 3):
            window = {int(cell) for started in seen[first : first + 6] for cell in started}
            assert all(region & window for region in regions)

    def test_a_gate_of_another_rig_is_named(self, network: TorchNetwork) -> None:
        network.gate = make_gate(cameras=5)
        with pytest.raises(ValueError, match="the frame has 6 cameras, and the key gate was fitted on 5: fit one"):
            Detector(network, starting()).step(frame_at(0))


class TestHints:
    def test_no_past_no_hints(self) -> None:
        inputs = preprocess(frame_at(0), SMALL, "cpu")
        assert not hints_of(SMALL, inputs, None, None).any()

    def test_what_was_found_is_a_logarithm_over_the_mean(self) -> None:
        inputs = preprocess(frame_at(0), SMALL, "cpu")
        importance = torch.ones(1, KEYS)
        importance[0, 7] = 3.0 * KEYS
        hints = hints_of(SMALL, inputs, None, Carried(importance, 1))
        assert hints.shape == (1, KEYS, HINTS)
        assert float(hints[0, 7, 0]) == pytest.approx(float((3.0 * KEYS / importance.mean()).log()), rel=1e-5)
        assert (hints[0, :, 1] == 1.0).all()

    def test_a_point_is_seen_where_it_projects_and_not_behind(self) -> None:
        inputs = preprocess(frame_at(0), SMALL, "cpu")
        point = torch.tensor([[[0.0, 9.0, 0.0]]])  # ahead of the first camera, whose centre is at (80, 45) of 160 x 90
        seen = sights(point, inputs.lidar2img, SMALL)[0, :, 0].view(6, *SMALL.feature_size)
        assert float(seen[0].sum()) == pytest.approx(np.log(2.0))
        assert seen[3].sum() == 0.0
        uvd = inputs.lidar2img[0, 0] @ torch.tensor([0.0, 9.0, 0.0, 1.0])
        column, row = (int(uvd[axis] / uvd[2] / SMALL.stride) for axis in (0, 1))
        assert seen[0, row, column] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out.bias": None}, "lacks out.bias"),
        ({"extra": torch.zeros(1)}, "has an unknown extra"),
        ({"features.weight": torch.zeros(8, 32)}, r"features.weight of shape \(8, 32\), expected \(8, 64\)"),
        ({"row": torch.zeros(6, 5, 1, 8)}, r"row of shape \(6, 5, 1, 8\), expected \(6, 4, 1, 8\)"),
        ({"column": torch.zeros(5, 1, 6, 8)}, r"column of shape \(5, 1, 6, 8\), expected \(6, 1, 6, 8\)"),
        ({"row": torch.zeros(10**5, 1), "features.weight": torch.zeros(10**5, 1)}, r"row of shape \(100000, 1\), exp"),
        ({"row": torch.zeros(())}, r"row of shape \(\), expected"),
        ({"out.weight": torch.full((1, 8), torch.nan)}, "NaN or infinity in out.weight"),
        ({"row": torch.zeros(10**9, 0)}, r"row of shape \(1000000000, 0\), expected \(1000000000, 4, 1, 8\)"),
        ({"features.weight": torch.zeros(10**12, 0)}, r"features.weight of shape \(1000000000000, 0\), expected"),
    ],
)
def test_a_gate_that_does_not_fit_is_refused(change: dict[str, torch.Tensor | None], words: str) -> None:
    state = {**make_gate().state_dict(), **change}
    with pytest.raises(GateError, match=f"the key gate in here does not fit model small: it .*{words}"):
        gate_from(SMALL, {name: value for name, value in state.items() if value is not None}, "here")
