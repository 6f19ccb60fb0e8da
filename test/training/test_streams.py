"""Order of frames: complete, in time order within a scene, and found again after a stop."""

from __future__ import annotations

from itertools import islice

from tggbc_ros.training.streams import shuffled_frames, streams


def test_every_frame_comes_once_an_epoch() -> None:
    frames = [frame for batch in islice(shuffled_frames(12, 4, seed=1), 3) for frame in batch]
    assert sorted(frames) == list(range(12)) and frames != sorted(frames)


def test_streams_play_scenes_in_time_order_each_once_an_epoch() -> None:
    lengths = (3, 2, 4, 3)
    batches = list(islice(streams(lengths, 2, seed=0), 6))
    begun = [frame for batch in batches for frame in batch if frame in (0, 3, 5, 9)]
    assert sorted(begun[:4]) == [0, 3, 5, 9]
    starts = {0, 3, 5, 9}
    for before, after in zip(batches, batches[1:], strict=False):
        for old, new in zip(before, after, strict=True):
            assert new == old + 1 or (new in starts and old + 1 in {*starts, 12})


def test_a_resumed_run_continues_where_the_other_stopped() -> None:
    whole = list(islice(streams((3, 5, 2), 3, seed=7), 20))
    assert list(islice(streams((3, 5, 2), 3, seed=7, first=8), 12)) == whole[8:]
    assert list(islice(shuffled_frames(7, 3, seed=7, first=4), 3)) == list(islice(shuffled_frames(7, 3, seed=7), 7))[4:]


def test_seeds_differ() -> None:
    assert next(shuffled_frames(50, 20, seed=1)) != next(shuffled_frames(50, 20, seed=2))
