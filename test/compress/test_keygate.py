"""The key gate's fit: it finds what there is to find, the same every time, and judges itself on other frames."""

from __future__ import annotations

import pytest
import torch
from tiny_model import TINY

from tggbc_ros.compress import keygate
from tggbc_ros.compress.frames import Looked
from tggbc_ros.core.key_gate import HINTS

CELLS = 2 * 2 * 4


def looked(count: int, begins_every: int = 4) -> list[Looked]:
    """Frames whose importance is told by a feature and by the row."""
    generator = torch.Generator().manual_seed(0)
    frames = []
    for number in range(count):
        features = torch.randn(CELLS, TINY.embed_dims, generator=generator)
        importance = (2.0 * features[:, 3] + (torch.arange(CELLS) // 4 % 2)).exp()
        cells = torch.arange(CELLS)
        share = importance / importance.sum()
        hints = torch.zeros(CELLS, HINTS)
        frames.append(Looked(features.half(), hints, cells, share, begins=number % begins_every == 0))
    return frames


def test_it_finds_what_there_is_to_find_on_frames_it_never_saw() -> None:
    fitted, judged = keygate.split(looked(80))
    gate = keygate.fit(TINY, 2, fitted, steps=150)
    quality = keygate.judge(gate, judged)
    assert quality.frames == 16
    assert quality.rank_correlation > 0.8
    assert quality.held > 0.6


def test_a_seed_is_a_gate() -> None:
    frames = looked(8)
    one, two, other = (keygate.fit(TINY, 2, frames, seed=seed, steps=5).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["features.weight"], other["features.weight"])


def test_whole_drives_are_held_out_and_of_few_the_end() -> None:
    frames = looked(40)
    fitted, judged = keygate.split(frames)
    assert (len(fitted), len(judged)) == (32, 8)
    assert all(frame.begins for frame in judged[::4])
    single = looked(10, begins_every=100)
    fitted, judged = keygate.split(single)
    assert [id(frame) for frame in judged] == [id(frame) for frame in single[8:]]


def test_one_frame_is_too_few() -> None:
    with pytest.raises(ValueError, match="1 frames are too few to fit a key gate"):
        keygate.fit(TINY, 2, looked(1))


def test_cells_that_were_hidden_are_neither_fitted_nor_chosen() -> None:
    half = [
        Looked(f.features, f.hints, f.cells[:8], f.importance[:8] / f.importance[:8].sum(), f.begins) for f in looked(8)
    ]
    gate = keygate.fit(TINY, 2, half, steps=5)
    assert all(len(hints) == CELLS for hints in keygate.told(gate, half))
    assert keygate.judge(gate, half).frames == 8
