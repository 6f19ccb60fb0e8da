"""What was made in a folder, of what and how: the next call makes only what is missing, or no longer of its time.

A stage's record in ``slim.json`` (of sparse networks ``sparse.json``) holds its settings and the hashes of the files
that it read and wrote. Nothing is replaced without a line that says why, and nothing that others wrote or changed is
replaced at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tggbc_ros.compress.values import read_object, replace_text
from tggbc_ros.core.checkpoint import sha256

KIND = "slim"
LEDGER = f"{KIND}.json"

Record = dict[str, Any]
Say = Callable[[str], object]


@dataclass(frozen=True)
class Job:
    """Something to be made. settings: plain values that it depends on; reads: files by what they are called.

    writes: files, all of which are there once it is done. work: does it, or goes on where it was stopped, and returns a
    line about what came out. scrap: removes what it left of a state that it cannot go on from.
    """

    name: str
    settings: Mapping[str, Any]
    reads: Mapping[str, Path]
    writes: Sequence[Path]
    work: Callable[[], str]
    scrap: Callable[[], None] = lambda: None


class Ledger:
    """The record of a folder, kept in its ``KIND.json``. say: what hears a line for each job."""

    def __init__(self, folder: Path, say: Say, kind: str = KIND) -> None:
        self._lock = _locked(folder, kind)
        self.folder, self._say = folder, say
        self._path, self._format = folder / f"{kind}.json", f"tggbc_ros {kind} 1"
        self._jobs = self._read()
        self.seconds: dict[str, float] = {}
        """Of the jobs that this call has seen, what each took in all, earlier calls included."""

    def make(self, job: Job) -> None:
        """Do a job unless it is done already.

        Raises ValueError where a file lies in its place that it did not leave there.
        """
        reason = self._reason(job)
        if reason is None:
            self._tell(job.name, f"made before: {self._jobs[job.name]['said']}")
            return
        if reason:
            self._tell(job.name, f"made anew, as {reason}")
        self._do(job)

    def take(self, job: Job) -> None:
        """Leave a job out, and go on with the files that lie in its place; raises ValueError where there are none."""
        for path in job.writes:
            if not path.is_file():
                raise ValueError(f"{job.name} is to be skipped, but there is no {path}")
        self._tell(job.name, f"skipped: {', '.join(path.name for path in job.writes)} taken as it is")

    def holds(self, name: str, reads: Mapping[str, Path]) -> bool:
        """Whether a job is done, and read these files as they are now."""
        record = self._jobs.get(name)
        if record is None or not record["done"] or not all(path.is_file() for path in reads.values()):
            return False
        there = all((self.folder / path).is_file() for path in record["writes"])
        return there and _other(record["reads"], _hashes(reads)) is None

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, job: Job) -> None:
        started = time.monotonic()
        before = self._jobs.get(job.name, {})
        record: Record = {"done": False, "settings": dict(job.settings), "reads": _hashes(job.reads)}
        same = not before.get("done", True) and all(before[key] == record[key] for key in ("settings", "reads"))
        spent = before["seconds"] if same else 0.0
        if before and not same:
            job.scrap()
        self._note(job.name, record | {"seconds": spent, "said": "unfinished"})
        try:
            said = job.work()
            missing = [path for path in job.writes if not path.is_file()]
            assert not missing, f"{job.name} did not write {missing}"
            record |= {"done": True, "said": said, "writes": _hashes({self._name(path): path for path in job.writes})}
        finally:
            self.seconds[job.name] = spent + time.monotonic() - started
            self._note(job.name, {"said": "unfinished", **record, "seconds": round(self.seconds[job.name], 3)})
        self._tell(job.name, said)

    def _reason(self, job: Job) -> str | None:
        """Why a job has to be done: in words where something is done anew, empty the first time, None for no reason."""
        record = self._jobs.get(job.name)
        there = [path for path in job.writes if path.exists()]
        if record is None:
            if there:
                raise ValueError(
                    f"{there[0]} exists, and {self._path} does not say that {job.name} left it there: skip {job.name} "
                    "to use it, or move it away"
                )
            return ""
        for path in there:
            left = record.get("writes", {}).get(self._name(path))
            if left is not None and left != sha256(path):
                raise ValueError(
                    f"{path} is not as {job.name} left it: skip {job.name} to use it as it is, or move it away to have "
                    "it made anew"
                )
        if not record["done"]:
            return ""
        gone = [path.name for path in job.writes if not path.exists()]
        if gone:
            return f"{gone[0]} is gone"
        changed = _changed(record["settings"], dict(job.settings))
        return changed or _other(record["reads"], _hashes(job.reads))

    def _tell(self, name: str, words: str) -> None:
        if name in self._jobs:
            self.seconds[name] = self._jobs[name]["seconds"]
        self._say(f"{name}: {words}")

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def _note(self, name: str, record: Record) -> None:
        self._jobs[name] = record
        write_json(self._path, {"format": self._format, "jobs": self._jobs})

    def _read(self) -> dict[str, Record]:
        if not self._path.exists():
            return {}
        content = read_json(self._path, self._format)
        jobs: Any = content.get("jobs")
        wanted = {"done": bool, "settings": dict, "reads": dict, "seconds": float | int, "said": str}
        sound = isinstance(jobs, dict) and all(
            isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in wanted.items())
            for record in jobs.values()
        )
        if not sound:
            raise ValueError(f"{self._path} is damaged: move it away, with what was made beside it")
        return dict(jobs)


def _locked(folder: Path, kind: str) -> TextIO:
    """Hold a folder as long as the file is open; raises ValueError where another call does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / f".{kind}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise ValueError(f"another call is at work in {folder}: wait for it, or choose another folder") from error
    return lock


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object; what was there is replaced as a whole, and stays where that fails. NaN raises ValueError."""
    replace_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """The object that a file of that format holds; raises OSError, or ValueError naming the file."""
    content = read_object(path)
    if content.get("format") != kind:
        raise ValueError(f"{path} has format {content.get('format')!r}, expected {kind!r}")
    return content


def _hashes(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: sha256(path) for name, path in files.items()}


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    changed = [name for name in now if before.get(name) != now[name]]
    words = ", ".join(_told(name, before.get(name), now[name]) for name in changed)
    return words or None


def _other(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    other = [name for name in now if before.get(name) != now[name]]
    return f"{', '.join(other)} changed" if other else None


def _told(name: str, before: object, now: object) -> str:
    plain = all(isinstance(each, str | int | float | None) for each in (before, now))
    return f"{name} is {now} (was {before})" if plain else f"{name} changed"
