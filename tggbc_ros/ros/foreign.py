"""The one place where every exception is caught: around calls into compiled libraries that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tggbc_ros.ros.drops import BadInputError


@contextmanager
def foreign(cause: str, what: str) -> Iterator[None]:
    """Whatever a library raises in the block is BadInputError of that cause: it costs this message, never the node.

    A library that was built for another NumPy, or that runs out of memory, raises what it likes, at its import or in
    any call: AttributeError, SystemError and RuntimeError have all been seen. Only calls into such libraries belong in
    the block: what our own code raises is a fault of ours, and ends the thread that it is in.
    """
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        raise BadInputError(cause, f"{what}: {type(error).__name__}: {said}") from error
