"""Files of plain values: what does not fit in one that is read is named in one line; one that is written is whole."""

from __future__ import annotations

import json
import os
import reprlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress.problem import MAX_TOTAL, Integers

Value = TypeVar("Value")
Floats = npt.NDArray[np.float64]


def read_list(path: Path, key: str) -> list[Any]:
    """A list in the object that a JSON file holds; raises OSError, or ValueError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise ValueError(f"{path} has no list {key!r}")
    entries: list[Any] = content[key]
    return entries


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an NPZ file, no pickled ones; raises OSError, or ValueError naming the file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no NPZ file of plain arrays: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """The names and values in a JSON file; raises OSError, or ValueError naming the file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, it is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds {shown(data)}, expected names and values")
    return data


def replace_text(path: Path, text: str) -> None:
    """Write a file, and the folder that it is to lie in; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_list(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Write a list as JSON, an entry a line; what was there is replaced as a whole."""
    partial = path.with_name(f"{path.name}.partial")
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries)
    partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(partial, path)


def named(path: Path, what: str, make: Callable[[str, Any], Value], content: Any) -> Value:
    """What ``make`` makes of an entry and its name; raises ValueError that says which entry, and what it lacks."""
    name = f"{path} {what}"
    try:
        return make(name, content)
    except KeyError as error:
        raise ValueError(f"{name}: no {error}") from error
    except (TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from error


def integers(name: str, given: Any) -> Integers:
    """An array of whole numbers; raises ValueError for anything else, NaN and ragged lists included."""
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    whole = values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool(np.all(np.isfinite(values) & (values == np.rint(values))))
    )
    if not whole or values.size == 0 or np.abs(values.astype(np.float64)).max() > MAX_TOTAL:
        raise ValueError(f"{name} is {shown(given)}, expected whole numbers of at most {MAX_TOTAL}")
    return values.astype(np.int64)


def integer(name: str, given: Any) -> int:
    """One whole number; raises ValueError for anything else."""
    values = integers(name, given)
    if values.size != 1:
        raise ValueError(f"{name} is {shown(given)}, expected one whole number")
    return int(values.reshape(()))


def shown(given: Any) -> str:
    """The beginning of a value, for an error of one line."""
    return reprlib.repr(given).replace("\n", " ")


def reals(name: str, given: Any) -> Floats:
    """An array of finite numbers >= 0; raises ValueError for anything else."""
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if values.size == 0 or values.dtype.kind not in "iuf" or not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError(f"{name} is {shown(given)}, expected finite numbers of at least 0")
    return values.astype(np.float64)


def rows(read: Callable[[str, Any], Value], name: str, given: Any) -> tuple[Value, ...]:
    """A list of arrays of their own lengths, each read by `reals` or `integers`."""
    if not isinstance(given, list):
        raise ValueError(f"{name} is {shown(given)}, expected a list")
    return tuple(read(f"{name} of layer {place}", row) for place, row in enumerate(given))


def expect_known(name: str, known: Sequence[str], given: Sequence[str]) -> None:
    """Raise ValueError for the first of the given values that is not a known one."""
    for each in given:
        if each not in known:
            raise ValueError(f"{name} is {each!r}, expected one of {', '.join(known)}")


def expect_least(given: Mapping[str, float], least: Mapping[str, float]) -> None:
    """Raise ValueError naming the first number that is below its least."""
    for name, low in least.items():
        if given[name] < low:
            raise ValueError(f"{name} is {given[name]}, expected at least {low}")
