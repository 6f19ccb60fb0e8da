"""The parameters on a node: declared with type, range and description, read back, and changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_type_hints

import yaml
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import Parameter, get_parameter_value

from tggbc_ros.ros.params import NAMES, Settings

TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
}

LISTS = frozenset(kind for kind in Parameter.Type if kind.name.endswith("_ARRAY"))


def declare(node: Node) -> Settings:
    """Declare every parameter and return the values at the start.

    Raises ValueError for a bad value; a wrong type or a value outside of its range raises rclpy's own
    ParameterException.
    """
    hints = get_type_hints(Settings)
    for item in dataclasses.fields(Settings):
        kind = TYPES[hints[item.name]]
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        # An empty list has no element to tell its type by. rclpy takes one for a list of bytes, and rcl one that the
        # command line or a file gives for nothing at all.
        declared = node.declare_parameter(item.name, kind if default == [] else default, _descriptor(item, kind))
        if declared.type_ == Parameter.Type.NOT_SET:
            node.set_parameters([_emptied(item.name, kind)])
    return read(node)


def _emptied(name: str, kind: Parameter.Type) -> Parameter:
    if kind not in LISTS:
        raise ValueError(f"{name} is [], expected a value of type {kind.name}")
    return Parameter(name, kind, [])


def changed(node: Node, given: Iterable[Parameter]) -> list[Parameter]:
    """Those of ``given`` that would change the node, with the type that was declared where that is certain.

    Clients that go by the value alone, as ros2 param does, know no type of an empty list, call numbers with and
    without a point a text, and write 0.00001 in a way that YAML takes for a text. Raises
    ParameterNotDeclaredException, as rclpy does, for a name that the node does not have.
    """
    changes = []
    for parameter in given:
        if not node.has_parameter(parameter.name):
            raise ParameterNotDeclaredException(parameter.name)
        now = node.get_parameter(parameter.name)
        change = _as_declared(parameter, Parameter.Type(node.describe_parameter(parameter.name).type))
        if change.get_parameter_value() != now.get_parameter_value() and not _is_text_of(now, change):
            changes.append(change)
    return changes


def _is_text_of(now: Parameter, given: Parameter) -> bool:
    """Whether ``given`` is what comes back of ``now`` once it was written as YAML, and its type guessed."""
    return bool(given.get_parameter_value() == get_parameter_value(str(now.value)))


def _as_declared(given: Parameter, kind: Parameter.Type) -> Parameter:
    value = given.value
    if kind in LISTS and given.type_ in LISTS and not len(value):
        return Parameter(given.name, kind, [])
    if kind == Parameter.Type.DOUBLE and given.type_ == Parameter.Type.STRING:
        number = _number(value)
        return given if number is None else Parameter(given.name, kind, number)
    if kind == Parameter.Type.DOUBLE_ARRAY and given.type_ in (Parameter.Type.STRING, Parameter.Type.INTEGER_ARRAY):
        value = _numbers(value)
        return given if value is None else Parameter(given.name, kind, value)
    return given


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(given: Any) -> list[float] | None:
    """The numbers of a list or of one written as text; None where it is anything else."""
    try:
        values = yaml.safe_load(given) if isinstance(given, str) else list(given)
    except yaml.YAMLError:
        return None
    numeric = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    return [float(value) for value in values] if numeric else None


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
