"""A pass through JSON is the same to the bit, and passes over scenes add up to one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.evaluation.pass_file import as_data, from_data, joined
from tggbc_ros.evaluation.passes import Detections, Pass


def record(seed: int, count: int) -> Pass:
    rng = np.random.default_rng(seed)
    boxes = Boxes3D(
        rng.normal(size=(count, 3)),
        rng.random((count, 3)),
        rng.normal(size=count),
        rng.normal(size=(count, 2)),
        rng.random(count),
        rng.integers(0, 10, count),
        np.arange(count),
    )
    found = {f"token{seed}": Detections(boxes, rng.normal(size=(4, 4)))}
    lists = {item.name: [seed / 3] for item in dataclasses.fields(Pass) if item.name.endswith(("_ms", "_rates"))}
    return Pass(0.3, found, [(7, 3)], **lists, settings={"model": "demo"}, notes={"odd": seed})


@pytest.mark.parametrize("count", [0, 5])
def test_nothing_is_lost_on_the_way(count: int) -> None:
    before = record(1, count)
    after = from_data(json.loads(json.dumps(as_data(before))))
    for token, found in before.detections.items():
        np.testing.assert_array_equal(after.detections[token].frame2global, found.frame2global)
        for field in dataclasses.fields(Boxes3D):
            one, other = getattr(found.boxes, field.name), getattr(after.detections[token].boxes, field.name)
            assert one.shape == other.shape and one.dtype.kind == other.dtype.kind
            np.testing.assert_array_equal(one, other)
    assert (after.keep_ratio, after.keys, after.decoder_ms, after.settings) == (
        0.3,
        [(7, 3)],
        [1 / 3],
        {"model": "demo"},
    )


def test_scenes_add_up() -> None:
    whole = joined([record(1, 2), record(2, 3)])
    assert list(whole.detections) == ["token1", "token2"]
    assert (whole.keys, whole.notes) == ([(7, 3), (7, 3)], {"odd": 3})
    assert whole.frame_ms == whole.encode_ms == whole.token_rates == [1 / 3, 2 / 3]
    other = record(3, 1)
    other.settings["model"] = "another"
    with pytest.raises(ValueError, match="expected the same"):
        joined([record(1, 2), other])
