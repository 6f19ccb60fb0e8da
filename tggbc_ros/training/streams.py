"""Which frames make up a batch: shuffled ones, or parallel streams of scenes in time order.

Both depend on nothing but their seed, so a resumed run finds its place by counting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np


def shuffled_frames(count: int, batch: int, seed: int, first: int = 0) -> Iterator[list[int]]:
    """Endless batches of frames, each frame once an epoch; ``first`` batches are passed over."""
    return islice(_batches(_epochs(count, np.random.default_rng(seed)), batch), first, None)


def streams(scene_lengths: Sequence[int], batch: int, seed: int, first: int = 0) -> Iterator[list[int]]:
    """Endless batches of ``batch`` frames, one from each of as many streams that play scene after scene.

    Every scene is played once an epoch by one of the streams; ``first`` batches are passed over.
    """
    starts = np.cumsum([0, *scene_lengths])
    scenes = _epochs(len(scene_lengths), np.random.default_rng(seed))
    return islice(_play(scenes, starts, batch), first, None)


def _epochs(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()


def _batches(frames: Iterator[int], batch: int) -> Iterator[list[int]]:
    while True:
        yield list(islice(frames, batch))


def _play(scenes: Iterator[int], starts: np.ndarray, batch: int) -> Iterator[list[int]]:
    playing = [iter(()) for _ in range(batch)]
    while True:
        frames = []
        for index in range(batch):
            frame = next(playing[index], None)
            if frame is None:
                scene = next(scenes)
                playing[index] = iter(range(starts[scene], starts[scene + 1]))
                frame = next(playing[index])
            frames.append(int(frame))
        yield frames
