"""python -m drill: which faults it takes, what it writes, when it fails. For the faults see test/ros/test_faults.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from drill import __main__ as program
from drill import table
from drill.books import Books
from drill.table import FAULTS, PLAIN, UNCONFIGURED, Fault, with_model
from drill.verdict import Row
from tggbc_ros.backends import SHIPPED_WEIGHTS
from tggbc_ros.core.config import MODELS


def pretend(monkeypatch: pytest.MonkeyPatch, failing: str = "") -> list[Any]:
    """No node is started; each fault passes but the failing one. What was asked for."""
    asked: list[Any] = []

    def run(faults: Sequence[Fault], long: bool, *rest: object) -> Iterator[Row]:
        asked.extend([[fault.name for fault in faults], long])
        for fault in faults:
            problems = ["the node has died"] if fault.name == failing else []
            yield Row(fault.name, Books(3, 2, Counter({"set_superseded": 1})), 1, problems)

    monkeypatch.setattr(program, "run", run)
    return asked


def test_all_faults_are_drilled_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = pretend(monkeypatch)
    assert program.main(["--out", str(tmp_path / "new")]) == 0
    assert asked == [[fault.name for fault in FAULTS], True]
    rows = json.loads((tmp_path / "new" / "drill.json").read_text())
    assert [row["fault"] for row in rows] == asked[0]
    assert rows[0].keys() >= {"fault", "sets_in", "published", "drops", "resets", "recovered_after_sets", "pass"}
    assert f"{len(FAULTS)} of {len(FAULTS)} faults passed" in capsys.readouterr().out


def test_one_that_fails_is_told_and_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = pretend(monkeypatch, failing="TF gaps")
    assert program.main(["--short", "--only", "TF", "dupl", "--out", str(tmp_path)]) == 1
    assert asked == [["duplicates", "TF gaps"], False]
    assert [row["pass"] for row in json.loads((tmp_path / "drill.json").read_text())] == [True, False]
    assert "the node has died" in capsys.readouterr().out


def test_a_fault_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--only", "earthquake"])
    assert "--only earthquake names none of: camera killed" in capsys.readouterr().err


def test_names_are_different_and_short_forms_are_no_longer_than_long_ones() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.amounts[0] <= fault.amounts[1] for fault in FAULTS)


def test_another_model_takes_its_weights_where_it_has_some() -> None:
    assert with_model(PLAIN, "tiny") is PLAIN
    assert with_model(UNCONFIGURED, "demo") is UNCONFIGURED
    for name in MODELS:
        assert with_model(PLAIN, name).parameters["allow_random_weights"] is (name not in SHIPPED_WEIGHTS)
    other = with_model(PLAIN, "r50_704").parameters
    assert (other["model"], other["allow_random_weights"]) == ("r50_704", True)


def test_a_second_drill_in_the_same_folder_finds_nothing_of_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[list[str]] = []

    class Ground:
        def __init__(self, options: object, domain_id: int, log: Path) -> None:
            self.log = log

        def __enter__(self) -> Ground:
            found.append(sorted(path.name for path in self.log.parent.glob("*")))
            (self.log.parent / "bag").mkdir(parents=True)  # as looped_bag does
            self.log.touch()
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(table, "Ground", Ground)
    monkeypatch.setattr(table, "put_through", lambda fault, ground, long: Row(fault.name, Books(1, 1), 1))
    chosen = ["--only", "bag looped", "--out", str(tmp_path)]
    assert (program.main(chosen), program.main(chosen)) == (0, 0)
    assert found == [[], []]


def test_what_no_drill_made_is_left_alone(tmp_path: Path) -> None:
    """With --out . the folder of logs is the drill's own source."""
    (tmp_path / "verdict.py").touch()
    assert list(table.fresh(tmp_path).iterdir()) == [tmp_path / "verdict.py"]
