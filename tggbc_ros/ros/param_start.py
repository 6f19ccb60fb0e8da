"""rclpy's start, where rcl reads command line and parameter files; what it refuses, in one line with the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.utilities import remove_ros_args

WAYS_OUT = {
    "Sequence should be of same type": "write all numbers of a list alike, with a point: [0.9, 0.0, 1.0]; and quote "
    'texts that look like numbers: ["1", "2"]',
    "Cannot have a value before ros__parameters": "expected NODE:, below it ros__parameters:, below that NAME: VALUE",
    "Sequences": "expected NODE:, below it ros__parameters:, below that NAME: VALUE",
    "No value at line": 'write "" for an empty text and [] for an empty list, or leave the line out',
    "Error opening YAML file": "is there such a file, and may it be read?",
    "Error parsing a": "is it YAML, in UTF-8, indented by spaces, with every bracket closed?",
    "Expected lexeme": "expected NAME:=VALUE, names of letters, digits, _ and /, and quotes around what has spaces",
}
"""What rcl says -> what helps, where its own words do not tell."""

_PLACE_IN_SOURCE = re.compile(r",? at \S+:\d+\b")
_CALLS_BEFORE = re.compile(r"^(failed to initialize rcl|Failed to parse (global|ROS) arguments): ")


class StartError(ValueError):
    """Command line, parameter file or environment with which rclpy cannot start."""


@contextmanager
def in_one_line() -> Iterator[None]:
    """Around rclpy.init and the making of a node: raises StartError, in one line, where rcl refuses it."""
    try:
        yield
    except rclpy_implementation.UnknownROSArgsError as error:
        raise StartError(f"behind --ros-args, ROS does not know {error}") from error
    except rclpy_implementation.RCLError as error:
        raise StartError(explained(str(error))) from error


def own_arguments(argv: list[str]) -> list[str]:
    """A program's arguments without its name and without those for ROS; raises StartError as `in_one_line`."""
    with in_one_line():
        return list(remove_ros_args(argv)[1:])


def explained(refusal: str) -> str:
    """rcl's words in one line, without places in its source, and what helps."""
    said = " ".join(_PLACE_IN_SOURCE.sub("", refusal).split())
    said = _CALLS_BEFORE.sub("", said).replace(" , ", ", ").rstrip(" ,.")
    ways_out = [way for words, way in WAYS_OUT.items() if words in said]
    return f"{said}; {ways_out[0]}" if ways_out else said
