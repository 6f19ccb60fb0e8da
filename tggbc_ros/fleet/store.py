"""Results on disk: a folder a bag, which appears whole or not at all, and one table of all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tggbc_ros.compress.values import read_object, replace_text
from tggbc_ros.data.bags.bag_writer import BagFileWriter
from tggbc_ros.evaluation.recorded import BOXES_TOPIC, BOXES_TYPE, REPORT_TOPIC, REPORT_TYPE
from tggbc_ros.fleet.detections import COLUMNS, BagResult, Message
from tggbc_ros.ros.bags.message_definitions import typestore_of

SETTINGS, DONE, TABLE, LOCK = "fleet.json", "done.json", "boxes.parquet", ".fleet.lock"
FORMAT = "tggbc_ros fleet 1"
PARTIAL = ".partial-"


@contextmanager
def held(out: Path, said: Mapping[str, Any]) -> Iterator[None]:
    """The folder, held against other calls; what is torn in it goes.

    said: what all results in it depend on. Raises ValueError where another call is at work there, or it holds results
    of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another call is at work in {out}: wait for it, or choose another folder") from error
        path = out / SETTINGS
        if path.is_file():
            _expect_same(path, said)
        else:
            replace_text(path, json.dumps({"format": FORMAT, **said}, indent=1) + "\n")
        for torn in out.glob(f"{PARTIAL}*"):
            shutil.rmtree(torn) if torn.is_dir() else torn.unlink()
        yield


def _expect_same(path: Path, said: Mapping[str, Any]) -> None:
    found = read_object(path)
    for name, value in {"format": FORMAT, **said}.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path.parent} holds results whose {name} is {found.get(name)!r}, expected {value!r}: "
                "choose another folder"
            )


def is_done(folder: Path, of: Mapping[str, Any]) -> bool:
    """Whether a bag's results are there, whole, and of the bag as it is now."""
    path = folder / DONE
    return path.is_file() and read_object(path).get("bag") == dict(of)


def keep(folder: Path, of: Mapping[str, Any], result: BagResult) -> int:
    """Write a bag's results: a bag of boxes and reports for each keep ratio, and their table; how many boxes.

    Of an error, a full disk for example, nothing is left.
    """
    partial = folder.with_name(f"{PARTIAL}{folder.name}")
    try:
        partial.mkdir()
        for ratio, messages in result.messages.items():
            _write_bag(partial / f"keep_{ratio:g}", messages)
        count = _write_table(partial / TABLE, folder.name, result)
        sets = {f"{ratio:g}": len(messages) for ratio, messages in result.messages.items()}
        said = {"bag": dict(of), "books": result.books, "sets": sets, "boxes": count, "frame_id": result.frame_id}
        replace_text(partial / DONE, json.dumps(said, indent=1) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return count


def _write_bag(path: Path, messages: Sequence[Message]) -> None:
    with BagFileWriter(path, "mcap") as bag:
        boxes = bag.add_connection(BOXES_TOPIC, BOXES_TYPE, typestore=typestore_of(BOXES_TYPE))
        reports = bag.add_connection(REPORT_TOPIC, REPORT_TYPE, typestore=typestore_of(REPORT_TYPE))
        for each in messages:
            bag.write(boxes, each.stamp_ns, each.boxes)
            bag.write(reports, each.stamp_ns, each.report)


def _write_table(path: Path, name: str, result: BagResult) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        (name, ratio, each.stamp_ns, result.frame_id, *row)
        for ratio, messages in result.messages.items()
        for each in messages
        for row in each.rows
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema().names)
    arrays = [pa.array(column, type=kind) for column, kind in zip(columns, schema().types, strict=True)]
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema()), path)
    return len(rows)


def schema() -> Any:
    """Of the table: a row a box."""
    import pyarrow as pa

    first = [("bag", pa.string()), ("keep_ratio", pa.float64()), ("stamp_ns", pa.int64()), ("frame_id", pa.string())]
    return pa.schema([*first, (COLUMNS[0], pa.string()), *((name, pa.float64()) for name in COLUMNS[1:])])


def join_tables(out: Path, folders: Sequence[Path]) -> int:
    """One table of all bags' boxes, in the order of the bags, a bag at a time in memory; how many boxes."""
    from pyarrow import parquet

    partial, count = out / f"{PARTIAL}{TABLE}", 0
    with parquet.ParquetWriter(partial, schema()) as writer:
        for folder in folders:
            table = parquet.read_table(folder / TABLE)
            writer.write_table(table)
            count += table.num_rows
    os.replace(partial, out / TABLE)
    return count
