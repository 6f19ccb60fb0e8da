"""Messages of a bag as objects, by the definitions that the bag itself holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

IDL_BREAK = "=" * 80 + "\n"
"""Between the files of a definition in IDL, each of which begins with a line of its name."""


class Decoder:
    """Of these connections' types. Raises ValueError for one that the bag does not define.

    Hashes of types are not compared: what decodes a message is its definition.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        types: dict[str, Any] = {}
        for connection in connections:
            types |= _types(connection)
        self._store = get_typestore(Stores.EMPTY)
        self._store.register(types)

    def decode(self, data: bytes, connection: Connection) -> Any:
        """A message of one of the connections; raises what `storage.DAMAGED` lists for bytes that are none."""
        return self._store.deserialize_cdr(data, connection.msgtype)


def _types(connection: Connection) -> dict[str, Any]:
    text, form = connection.msgdef.data, connection.msgdef.format
    if form is MessageDefinitionFormat.MSG:
        return dict(get_types_from_msg(text, connection.msgtype))
    if form is not MessageDefinitionFormat.IDL:
        raise ValueError(f"the bag holds no definition of {connection.msgtype}, of {connection.topic}")
    parts = [part.partition("\n")[2] for part in text.split(IDL_BREAK)[1:]] or [text]
    return {name: fields for part in parts for name, fields in get_types_from_idl(part).items()}
