"""The parameters on a node: declared with type, range and description, read back, and changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from tggbc_ros.ros.params import NAMES, Settings

TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
}


def declare(node: Node) -> Settings:
    """Declare every parameter and return the values at the start.

    Raises ValueError for a bad value; a wrong type or a value outside of its range raises rclpy's own
    ParameterException.
    """
    hints = get_type_hints(Settings)
    for item in dataclasses.fields(Settings):
        kind = TYPES[hints[item.name]]
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        # An empty list has no element to tell its type by: such a parameter starts unset.
        node.declare_parameter(item.name, kind if default == [] else default, _descriptor(item, kind))
    return read(node)


def read(node: Node) -> Settings:
    """The current values; raises ValueError for a bad one."""
    return with_changes(Settings(), [node.get_parameter_or(name) for name in NAMES])


def with_changes(settings: Settings, changes: Iterable[Parameter]) -> Settings:
    """``settings`` with those parameters changed; foreign ones (use_sim_time) pass. Raises ValueError."""
    values = {
        change.name: tuple(change.value) if isinstance(getattr(settings, change.name), tuple) else change.value
        for change in changes
        if change.name in NAMES and change.type_ != Parameter.Type.NOT_SET
    }
    return dataclasses.replace(settings, **values)


def _descriptor(item: dataclasses.Field[Any], kind: Parameter.Type) -> ParameterDescriptor:
    metadata = item.metadata
    descriptor = ParameterDescriptor(
        name=item.name,
        description=metadata["description"],
        additional_constraints=f"one of {', '.join(metadata['choices'])}" if metadata["choices"] else "",
    )
    if metadata["span"] and kind == Parameter.Type.INTEGER:
        low, high = map(int, metadata["span"])
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif metadata["span"]:
        low, high = map(float, metadata["span"])
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return descriptor
