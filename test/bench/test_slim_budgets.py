"""Budgets kept or not, with an engine whose layers take as long as they have pairs of channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import slim_budgets
from bench.slim_budgets import Row, drawn, main, verdict
from tggbc_ros.compress import layout
from tggbc_ros.core.config import DEMO
from tggbc_ros.core.shape import PRESETS


class Engine:
    def times_us(self, sheet, repeats):
        return [float(each.out * each.into) for each in sheet]

    def encoder(self, shape):
        return lambda: None


@pytest.fixture
def made_engine(monkeypatch):
    from tggbc_ros.compress.latency import engines, measure

    monkeypatch.setitem(engines.ENGINES, "torch", lambda model, cameras, device: Engine())
    monkeypatch.setitem(slim_budgets.MODELS, "demo", replace(DEMO, image_size=(64, 96)))
    monkeypatch.setattr(measure, "MOST_CALLS", 3)
    monkeypatch.setattr(measure, "FEWEST_CALLS", 3)


def test_a_row_for_every_seed_and_budget(made_engine, tmp_path: Path, capsys):
    table = str(tmp_path / "table.json")
    arguments = [
        "--model",
        "demo",
        "--engine",
        "torch",
        "--table",
        table,
        "--budgets",
        "0.8",
        "0.5",
        "--seeds",
        "1",
        "2",
    ]
    assert main(arguments) in (0, 1)
    said = capsys.readouterr().out.splitlines()
    header = next(index for index, line in enumerate(said) if line.startswith("budget"))
    assert [line.split()[:2] for line in said[header + 1 : header + 5]] == [
        ["0.8", "1"],
        ["0.5", "1"],
        ["0.8", "2"],
        ["0.5", "2"],
    ]
    assert said[-1].startswith("largest error")


@pytest.mark.parametrize(
    ("predicted", "measured", "share", "status"),
    [(70.0, 71.0, 0.71, 0), (70.0, 71.0, 0.73, 1), (70.0, 75.0, 0.70, 1), (75.0, 70.0, 0.70, 1)],
)
def test_the_goals_are_the_error_and_the_excess(predicted, measured, share, status, capsys):
    assert verdict([Row(1, 0.7, 0.1, 0, predicted, measured, share)]) == status
    assert ("MISSED" in capsys.readouterr().out) == bool(status)


def test_every_channel_has_an_importance_of_its_own_that_a_seed_repeats():
    shape = PRESETS["resnet50"]
    one, again, other = drawn(shape, 1), drawn(shape, 1), drawn(shape, 2)
    assert {layer.name for layer in layout.layers(shape)} == set(one)
    assert all((one[name] == again[name]).all() and (one[name] != other[name]).any() for name in one)
