"""detect: a sweep gives each ratio what a detector of its own would give, memory and all, and encodes once a frame."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ten_classes import SPLIT
from tiny_model import TINY, tiny_network

from tggbc_ros.core.config import DecodeConfig, KeepConfig, MemoryConfig, PreprocessConfig, PruningConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.gates import Decisions
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.types import Boxes3D, NetworkInput, Tokens
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import Sample
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.passes import Pass, Split, load_split

PRUNINGS = [PruningConfig(ratio, layers=2, queries=8) for ratio in (1.0, 0.4)]
DECODE = DecodeConfig(max_boxes=20)


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny_network()


def boxes_of(record: Pass, sample: Sample) -> Boxes3D:
    return record.detections[sample.token].boxes


def same(found: Boxes3D, sample: Sample, alone: Boxes3D) -> bool:
    expected = transform_boxes(sample.lidar2ego, alone)
    return np.array_equal(found.center, expected.center) and np.array_equal(found.score, expected.score)


def test_each_ratio_is_as_if_alone_and_forgets_between_scenes(network: Network, split: Split) -> None:
    passes = Sweep(network, PRUNINGS, DECODE).run(split, lambda: None)
    for pruning, record in zip(PRUNINGS, passes, strict=True):
        for samples in split.scenes.values():
            detector = Detector(network, pruning, decode=DECODE)
            for sample in samples:
                alone, report = detector.step(sample.camera_frame())
                assert same(boxes_of(record, sample), sample, alone)
                np.testing.assert_array_equal(record.detections[sample.token].frame2global, sample.ego2global)
        assert set(record.keys) == {report.keys}
        assert record.settings["prune_layers"] == 2
    assert passes[0].keys[0] == (48, 48, 48)
    assert passes[1].keys[0][0] == 48 > passes[1].keys[0][-1] == round(0.4 * 48)
    assert not same(boxes_of(passes[0], sample), sample, boxes_of(passes[1], sample))


def test_memory_does_not_cross_into_the_next_scene(network: Network, split: Split) -> None:
    """Two scenes that follow one another without a gap in time, where the detector itself sees nothing amiss."""
    first, second, _ = split.scenes["scene-0001"]
    one, two = Split("one", {"whole": (first, second)}), Split("two", {"a": (first,), "b": (second,)})
    (whole,), (cut,) = (Sweep(network, PRUNINGS[:1], DECODE).run(each, lambda: None) for each in (one, two))
    alone, _ = Detector(network, PRUNINGS[0], decode=DECODE).step(second.camera_frame())
    assert same(boxes_of(cut, second), second, alone)
    assert not same(boxes_of(whole, second), second, alone)


def test_memory_reset_every_frame_is_a_new_detector_every_frame(network: Network, split: Split) -> None:
    (kept,) = Sweep(network, PRUNINGS[:1], DECODE).run(split, lambda: None)
    (reset,) = Sweep(network, PRUNINGS[:1], DECODE, reset_every_frame=True).run(split, lambda: None)
    assert (kept.settings["memory"], reset.settings["memory"]) == ("kept", "reset every frame")
    samples = split.scenes["scene-0001"]
    for sample in samples:
        alone, _ = Detector(network, PRUNINGS[0], decode=DECODE).step(sample.camera_frame())
        assert same(boxes_of(reset, sample), sample, alone)
    assert not np.array_equal(boxes_of(kept, samples[2]).center, boxes_of(reset, samples[2]).center)


def test_images_are_encoded_once_a_frame_and_charged_to_every_ratio(
    network: Network, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, encode = [], network.encode

    def counted(images: torch.Tensor) -> torch.Tensor:
        calls.append(images.shape)
        return encode(images)

    monkeypatch.setattr(network, "encode", counted)
    frames = []
    passes = Sweep(network, PRUNINGS, DECODE).run(split, lambda: frames.append(None))
    assert len(calls) == len(frames) == 4
    for record in passes:
        assert len(record.frame_ms) == len(record.decoder_ms) == 4
        assert all(whole > part > 0 for whole, part in zip(record.frame_ms, record.decoder_ms, strict=True))
    assert passes[0].settings["model"] == TINY.name


def test_position_embedding_is_charged_to_every_ratio(
    network: Network, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes its time for the first detector of a frame only, whose rays the network keeps."""
    known: list[torch.Tensor] = []
    embed = network.embed

    def slow_at_first(features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        if not known or not torch.equal(known[-1], inputs.lidar2img):
            time.sleep(0.3)
            known.append(inputs.lidar2img)
        return embed(features, inputs)

    monkeypatch.setattr(network, "embed", slow_at_first)
    one = Split("one", {"scene": split.scenes["scene-0001"][:1]})
    passes = Sweep(network, PRUNINGS, DECODE).run(one, lambda: None)
    assert len(known) == 1
    assert all(record.frame_ms[0] > 300 for record in passes)


def test_budget_of_frames_is_refused_beside_others(network: Network) -> None:
    """Whose encoding is done for it; a budget of the decoder alone is not misled."""
    by_frame, by_decoder = (
        PruningConfig(keep=KeepConfig(mode="budget", budget_of=budget_of)) for budget_of in ("frame", "decoder")
    )
    Sweep(network, [by_frame], DECODE)
    Sweep(network, [by_decoder, PRUNINGS[0]], DECODE)
    Sweep(network, [PruningConfig(keep=KeepConfig(budget_of="frame")), PRUNINGS[0]], DECODE)
    with pytest.raises(ValueError, match="latency_budget_of is frame in 1 of 2 ways to prune, .*: run it alone"):
        Sweep(network, [PRUNINGS[0], by_frame], DECODE)


def test_each_rate_of_tokens_encodes_for_itself_and_is_charged_for_it(
    network: Network, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that is asked for fewer tokens gives other features; without gates it cannot be asked."""
    rates = [PruningConfig(), PruningConfig(token_rate=0.5), PruningConfig(0.5, token_rate=0.5)]
    with pytest.raises(ValueError, match=r"token_rate is 0\.5, expected 1\.0"):
        Sweep(network, rates, DECODE)
    calls: list[float] = []

    def encode_gated(images: torch.Tensor, shift: float) -> tuple[torch.Tensor, Decisions]:
        calls.append(shift)
        time.sleep(0.2)
        margin = torch.linspace(-1.0, 1.0, 8).view(1, 1, 2, 4)
        return network.encode(images) * 0.5, Decisions(margin, margin + shift > 0.0)

    monkeypatch.setattr(network, "encode_gated", encode_gated)
    monkeypatch.setattr(type(network), "gated_blocks", 1)
    passes = Sweep(network, rates, DECODE).run(split, lambda: None)
    assert len(calls) == 4  # one a frame, for both that ask for it
    assert [set(record.token_rates) for record in passes] == [{1.0}, {0.5}, {0.5}]
    assert passes[1].encode_ms == passes[2].encode_ms and min(passes[1].encode_ms) > 200
    assert passes[0].encode_ms != passes[1].encode_ms
    last = split.scenes["scene-0001"][-1]
    assert np.abs(boxes_of(passes[0], last).score - boxes_of(passes[1], last).score).max() > 1e-4


def test_sweeps_are_seen_and_keyframes_scored(network: Network, root: Path, split: Split) -> None:
    """Memory of every set gives other boxes than memory of the keyframes only, which the interval brings back."""
    fast = load_split(NuScenes(root), SPLIT, sweeps=True)
    assert len(fast.scenes["scene-0001"]) == 13  # three keyframes, five sweeps after each but the last
    assert [sample.token for sample in fast.samples()] == [sample.token for sample in split.samples()]
    frames: list[None] = []
    (slow,) = Sweep(network, PRUNINGS[:1], DECODE).run(split, lambda: None)
    last_one = MemoryConfig(interval_s=0.0)
    (every,) = Sweep(network, PRUNINGS[:1], DECODE, memory=last_one).run(fast, lambda: frames.append(None))
    (gated,) = Sweep(network, PRUNINGS[:1], DECODE).run(fast, lambda: None)
    assert len(frames) == len(every.keys) == 14
    assert len(every.detections) == len(slow.detections) == 4
    last = split.scenes["scene-0001"][-1]
    # Not to the last bit: rays that hardly moved are those of the frame before, which is another one here.
    np.testing.assert_allclose(boxes_of(gated, last).center, boxes_of(slow, last).center, atol=1e-4)
    assert np.abs(boxes_of(every, last).score - boxes_of(slow, last).score).max() > 1e-3
    assert (every.settings["memory_interval_s"], gated.settings["memory_interval_s"]) == (0.0, 0.5)


def test_images_come_as_the_node_would_take_them(network: Network, split: Split) -> None:
    """Decoded smaller and resized by the fast filter, intrinsics and all."""
    first = split.scenes["scene-0001"][0]
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 16, 3), np.uint8), (320, 180))
    encoded = cv2.imencode(".jpg", smooth)[1].tobytes()
    large = replace(first, cameras=tuple(replace(s, jpeg=encoded, width=320, height=180) for s in first.cameras))
    one, exact, fast = Split("one", {"scene": (large,)}), PreprocessConfig("exact"), PreprocessConfig("fast")
    (full,) = Sweep(network, PRUNINGS[:1], DECODE, images=exact).run(one, lambda: None)
    (reduced,) = Sweep(network, PRUNINGS[:1], DECODE, images=fast, reduced=True).run(one, lambda: None)
    frame = large.camera_frame(TINY)
    assert frame.images[0].shape == (45, 80, 3)
    alone, _ = Detector(network, PRUNINGS[0], decode=DECODE, images=fast).step(frame)
    assert same(boxes_of(reduced, large), large, alone)
    assert not same(boxes_of(full, large), large, alone)
    np.testing.assert_allclose(boxes_of(full, large).score, boxes_of(reduced, large).score, atol=0.05)
    assert (full.settings["jpeg_decode"], full.settings["resize"]) == ("full", "exact")
    assert (reduced.settings["jpeg_decode"], reduced.settings["resize"]) == ("reduced", "fast")
