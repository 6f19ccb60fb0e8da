"""Samplers: whole scenes in order, each process its own share, nothing lost when results are collected."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from tiny_setup import TinySetup

from tggbc_ros.mmdet3d_plugin import samplers
from tggbc_ros.mmdet3d_plugin.samplers import ContiguousSampler, StreamBatchSampler, scene_lengths


@pytest.fixture
def dataset(tiny: TinySetup, tmp_path: Path):  # noqa: ANN201
    return Runner.build_dataloader(tiny.config(tmp_path).train_dataloader).dataset


def test_scenes_are_found(dataset) -> None:  # noqa: ANN001
    assert scene_lengths(dataset) == [5, 3]


def test_scenes_are_found_without_scene_tokens(dataset) -> None:  # noqa: ANN001
    """mmdet3d's own infos have none: time and pose tell."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    for info in infos:
        del info["scene_token"]
    with mock.patch.object(dataset, "get_data_info", lambda index: infos[index]):
        assert scene_lengths(dataset) == [5, 3]


def test_processes_play_different_streams(dataset) -> None:  # noqa: ANN001
    def played(rank: int) -> list[list[int]]:
        sampler = DefaultSampler(dataset, shuffle=False)
        sampler.rank, sampler.world_size = rank, 2
        batches = StreamBatchSampler(sampler, batch_size=1, seed=5)
        assert len(batches) == 4
        return [*batches, *batches]

    first, second = played(0), played(1)
    assert len(first) == 8 and all(len(batch) == 1 for batch in first)
    assert not any(a == b for a, b in zip(first, second, strict=True))
    assert {frame for batch in first + second for frame in batch} == set(range(8))
    for stream in (first, second):
        for (before,), (now,) in zip(stream[:-1], stream[1:], strict=True):
            assert now in (0, 5) if before in (4, 7) else now == before + 1


def test_a_dataset_that_replaces_frames_is_refused(dataset) -> None:  # noqa: ANN001
    dataset.filter_empty_gt = True
    with pytest.raises(ValueError, match="filter_empty_gt is True, expected False"):
        StreamBatchSampler(DefaultSampler(dataset, shuffle=False), batch_size=1)


@pytest.mark.parametrize(("frames", "processes"), [(8, 1), (8, 3), (9, 3), (7, 4)])
def test_parts_are_contiguous_and_collected_whole(frames: int, processes: int) -> None:
    parts = []
    for rank in range(processes):
        with mock.patch.object(samplers, "get_dist_info", return_value=(rank, processes)):
            sampler = ContiguousSampler(range(frames))
            parts.append(list(sampler))
            assert len(parts[-1]) == len(sampler)
    for part in parts:
        assert all(now - before in (0, 1) for before, now in zip(part[:-1], part[1:], strict=True))
    collected = [frame for row in zip(*parts, strict=True) for frame in row][:frames]  # as mmengine's collect_results
    assert sorted(collected) == list(range(frames))
