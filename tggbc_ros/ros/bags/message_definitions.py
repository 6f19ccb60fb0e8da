"""Definitions of installed message types, as a bag has to hold them so that others can read it without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore


class DefinitionError(Exception):
    """A message type whose definition is not installed or not readable, in one line."""


def typestore_of(msgtype: str) -> Typestore:
    """A type such as ``package/msg/Name`` and all it is made of, from the .msg files of installed packages.

    Raises DefinitionError naming type and file.
    """
    found: dict[str, Any] = {}
    wanted = [msgtype]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found |= _parse(name)
            wanted += [other for other in _referenced(found[name][1]) if other not in found]
    typestore = get_typestore(Stores.EMPTY)
    typestore.register(found)
    return typestore


def _parse(msgtype: str) -> dict[str, Any]:
    path = _definition_file(msgtype)
    try:
        return dict(get_types_from_msg(path.read_text(encoding="utf-8"), msgtype))
    except (OSError, TypesysError) as error:
        raise DefinitionError(f"cannot read the definition of {msgtype}: {error}") from error


def _definition_file(msgtype: str) -> Path:
    package, _, name = msgtype.partition("/msg/")
    if not name:
        raise DefinitionError(f"message type is {msgtype!r}, expected package/msg/Name")
    try:
        return Path(get_package_share_directory(package)) / "msg" / f"{name}.msg"
    except PackageNotFoundError as error:
        raise DefinitionError(f"package {package} of message type {msgtype} is not installed here") from error


def _referenced(fields: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Types of fields that are messages, or arrays and sequences of them."""
    for _, description in fields:
        yield from _names(description)


def _names(description: Any) -> Iterator[str]:
    """rosbags describes a field as (node, what): a type's name, a base type, or (element, length)."""
    node, what = description
    if node.name == "NAME":
        yield what
    elif node.name in ("ARRAY", "SEQUENCE"):
        yield from _names(what[0])
