"""The comparison of predicted and measured times, with an engine that takes no time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import latency
from bench.latency import Row, main, verdict
from tggbc_ros.core.config import DEMO


class Engine:
    def times_us(self, sheet, repeats):
        return [float(each.out * each.into) for each in sheet]

    def encoder(self, shape):
        return lambda: None


@pytest.fixture
def made_engine(monkeypatch):
    from tggbc_ros.compress.latency import engines, measure

    monkeypatch.setitem(engines.ENGINES, "torch", lambda model, cameras, device: Engine())
    monkeypatch.setitem(latency.MODELS, "demo", replace(DEMO, image_size=(64, 96)))
    monkeypatch.setattr(measure, "MOST_CALLS", 3)
    monkeypatch.setattr(measure, "FEWEST_CALLS", 3)


def test_it_measures_a_table_compares_and_judges(made_engine, tmp_path: Path, capsys):
    arguments = ["--model", "demo", "--engine", "torch", "--table", str(tmp_path / "table.json"), "--shapes", "3"]
    assert main(arguments) in (0, 1)
    first = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in first[2:7]] == ["encoder", "dense", "shape", "shape", "shape"]
    assert first[-1].startswith("error: median")
    with pytest.raises(ValueError, match="seed 15 draws 3 shapes that the table was fitted to"):
        main([*arguments, "--seed", "15"])


@pytest.mark.parametrize(("errors", "status"), [([0.04] * 9 + [0.3], 0), ([0.06] * 10, 1), ([0.01] * 8 + [0.3] * 2, 1)])
def test_the_goal_is_a_median_and_a_share(errors, status, capsys):
    assert verdict([Row("", 1.0, 1.0 + error, 1.0) for error in errors]) == status
    assert ("MISSED" in capsys.readouterr().out) == bool(status)
