"""A pass as JSON and back, to the bit: what one process detected, another scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.evaluation.passes import Detections, Pass

INTEGERS = ("label", "query")
PLAIN = tuple(item.name for item in dataclasses.fields(Pass) if item.name not in ("detections", "keys"))
"""Fields that JSON has as they are."""


def as_data(record: Pass) -> dict[str, Any]:
    """Plain values; floating-point numbers are written in full by `json`."""
    detections = {
        token: {
            "frame2global": found.frame2global.tolist(),
            "boxes": {field.name: getattr(found.boxes, field.name).tolist() for field in dataclasses.fields(Boxes3D)},
        }
        for token, found in record.detections.items()
    }
    return {name: getattr(record, name) for name in PLAIN} | {"keys": record.keys, "detections": detections}


def from_data(data: Mapping[str, Any]) -> Pass:
    """The pass; raises KeyError, TypeError or ValueError for what `as_data` did not make."""
    detections = {
        token: Detections(_boxes(each["boxes"]), np.array(each["frame2global"], dtype=np.float64))
        for token, each in data["detections"].items()
    }
    keys = [tuple(int(count) for count in layer) for layer in data["keys"]]
    return Pass(**{name: data[name] for name in PLAIN}, keys=keys, detections=detections)


def joined(parts: Sequence[Pass]) -> Pass:
    """Passes over one scene after another as one; raises ValueError where they are of different settings."""
    first = parts[0]
    whole = Pass(first.keep_ratio, settings=dict(first.settings))
    for part in parts:
        if (part.keep_ratio, part.settings) != (first.keep_ratio, first.settings):
            raise ValueError(f"passes have settings {part.settings} and {first.settings}, expected the same")
        whole.detections |= part.detections
        for item in dataclasses.fields(Pass):
            if isinstance(values := getattr(whole, item.name), list):
                values.extend(getattr(part, item.name))
        for cause, count in part.notes.items():
            whole.notes[cause] = whole.notes.get(cause, 0) + count
    return whole


def _boxes(data: Mapping[str, Any]) -> Boxes3D:
    width = {"center": 3, "size": 3, "velocity": 2}
    arrays = {}
    for field in dataclasses.fields(Boxes3D):
        array = np.array(data[field.name], dtype=np.int64 if field.name in INTEGERS else np.float64)
        arrays[field.name] = array.reshape(-1, width[field.name]) if field.name in width else array
    return Boxes3D(**arrays)
