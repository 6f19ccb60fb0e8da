"""The ledger: only what is missing or out of date is made, it says why, and nobody else's file is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tggbc_ros.compress.slim.ledger import LEDGER, Job, Ledger, read_json, write_json


class Folder:
    """A job that writes what it is told, counted."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self.runs, self.scraps = path, list[str](), 0, 0
        self._last: Ledger | None = None

    def job(self, fail: BaseException | None = None, **settings: object) -> Job:
        def work() -> str:
            self.runs += 1
            if fail is not None:
                raise fail
            (self.path / "out.txt").write_text(json.dumps(settings))
            return f"run {self.runs}"

        def scrap() -> None:
            self.scraps += 1

        return Job("solve", settings, {"input": self.path / "in.txt"}, (self.path / "out.txt",), work, scrap)

    def ledger(self) -> Ledger:
        """Of the next call."""
        if self._last is not None:
            self._last.close()
        self._last = Ledger(self.path, self.lines.append)
        return self._last


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "in.txt").write_text("1")
    return Folder(tmp_path)


def test_what_is_done_is_not_done_again_and_says_what_came_out(folder: Folder) -> None:
    folder.ledger().make(folder.job(budget=0.5))
    ledger = folder.ledger()
    ledger.make(folder.job(budget=0.5))
    assert folder.runs == 1
    assert folder.lines == ["solve: run 1", "solve: made before: run 1"]
    assert ledger.seconds.keys() == {"solve"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: {"budget": 0.4}, "made anew, as budget is 0.4 (was 0.5)"),
        (lambda folder: (folder.path / "in.txt").write_text("2") and {}, "made anew, as input changed"),
        (lambda folder: (folder.path / "out.txt").unlink() or {}, "made anew, as out.txt is gone"),
    ],
)
def test_it_is_done_again_where_something_changed_and_says_what(
    folder: Folder, change: Callable[[Folder], dict[str, object]], words: str
) -> None:
    folder.ledger().make(folder.job(budget=0.5))
    folder.ledger().make(folder.job(**({"budget": 0.5} | change(folder))))
    assert folder.runs == 2
    assert folder.lines[1] == f"solve: {words}"


def test_a_file_of_others_stays_and_is_named(folder: Folder) -> None:
    out = folder.path / "out.txt"
    out.write_text("mine")
    with pytest.raises(ValueError, match=r"out.txt exists, and .*slim.json does not say that solve left it there"):
        folder.ledger().make(folder.job())
    assert out.read_text() == "mine"
    folder.ledger().take(folder.job())
    assert folder.runs == 0


def test_a_file_that_was_changed_since_stays_and_is_named(folder: Folder) -> None:
    folder.ledger().make(folder.job())
    (folder.path / "out.txt").write_text("by hand")
    with pytest.raises(ValueError, match=r"out.txt is not as solve left it: skip solve to use it as it is, or move it"):
        folder.ledger().make(folder.job())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_one_that_was_stopped_goes_on_but_is_scrapped_where_it_is_another(folder: Folder, error: BaseException) -> None:
    with pytest.raises(type(error)):
        folder.ledger().make(folder.job(error, budget=0.5))
    with pytest.raises(type(error)):
        folder.ledger().make(folder.job(error, budget=0.5))
    assert folder.scraps == 0
    folder.ledger().make(folder.job(budget=0.4))
    assert folder.scraps == 1
    assert folder.lines == ["solve: run 3"]


def test_two_calls_do_not_work_in_one_folder(folder: Folder) -> None:
    with Ledger(folder.path, folder.lines.append), pytest.raises(ValueError, match="another call is at work in"):
        Ledger(folder.path, folder.lines.append)
    folder.ledger().make(folder.job())


def test_a_skipped_job_needs_its_file(folder: Folder) -> None:
    with pytest.raises(ValueError, match=r"solve is to be skipped, but there is no .*out.txt"):
        folder.ledger().take(folder.job())


def test_it_holds_only_what_was_made_of_the_files_as_they_are(folder: Folder) -> None:
    reads = {"input": folder.path / "in.txt"}
    assert not folder.ledger().holds("solve", reads)
    folder.ledger().make(folder.job())
    assert folder.ledger().holds("solve", reads)
    reads["input"].write_text("2")
    assert not folder.ledger().holds("solve", reads)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": "other"}', '{"format": "tggbc_ros slim 1", "jobs": {"a": 1}}']
)
def test_a_damaged_ledger_is_named(folder: Folder, text: str) -> None:
    (folder.path / LEDGER).write_text(text)
    with pytest.raises(ValueError, match=LEDGER):
        folder.ledger()


def test_what_cannot_be_written_whole_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"format": "a", "x": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"format": "a", "x": float("nan")})
    assert read_json(path, "a")["x"] == 1.0
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
