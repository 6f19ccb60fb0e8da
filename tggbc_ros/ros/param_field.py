"""What one parameter is: its default, description, range and choices, and the check of a value against them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name


def parameter(
    default: Any,
    description: str,
    *,
    span: tuple[float, float] | None = None,
    choices: Iterable[str] = (),
    live: bool = False,
) -> Any:
    """One parameter. span: inclusive range. live: may change while the node is active."""
    metadata = {"description": description, "span": span, "choices": tuple(choices), "live": live}
    return dataclasses.field(default=default, metadata=metadata)


def check(item: dataclasses.Field[Any], value: Any) -> None:
    """Raise ValueError unless ``value`` is finite, in its span, and one of its choices."""
    choices, span = item.metadata["choices"], item.metadata["span"]
    if choices and value not in choices:
        raise ValueError(f"{item.name} is {value!r}, expected one of {', '.join(choices)}")
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise ValueError(f"{item.name} is {value!r}, expected finite numbers")
    if span and not span[0] <= value <= span[1]:
        raise ValueError(f"{item.name} is {value!r}, expected {span[0]} to {span[1]}")


def check_topic(name: str, topic: str) -> None:
    """Raise ValueError unless ``topic``, which parameter ``name`` gives, is a topic name."""
    try:
        validate_topic_name(topic)
        # What only the full name shows: a // in it, or a {word} that nobody fills in.
        validate_full_topic_name(expand_topic_name(topic, "node", "/namespace"))
    except (InvalidTopicNameException, ValueError) as error:
        why = " ".join(str(error).split()).partition(", at ")[0]  # without the place in rcl's source
        raise ValueError(f"{name} gives {topic!r}, expected a topic name: {why}") from error
