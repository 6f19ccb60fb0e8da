"""Measuring with an engine whose times are known: what is measured, kept, gone on with and refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_table import IMAGE_SIZE, NECK, made_table, shape

from tggbc_ros.compress.latency import engines, measure, read_table
from tggbc_ros.compress.latency.calibrate import calibrated
from tggbc_ros.compress.latency.engines import Lone
from tggbc_ros.compress.latency.fit import TERMS, Fit
from tggbc_ros.compress.latency.measure import measured, sheets
from tggbc_ros.compress.latency.plan import lone_layers, random_shapes, widths
from tggbc_ros.core import shape as shapes
from tggbc_ros.core.config import DEMO
from tggbc_ros.tools import compress

TINY = dataclasses.replace(DEMO, name="tiny", backbone="tiny", image_size=IMAGE_SIZE, embed_dims=NECK)


class MadeEngine:
    """A lone layer takes c_out x c_in microseconds; it is switched off after so many sheets."""

    sheets_left = 1 << 30
    asked: list[Lone] = []

    def times_us(self, sheet: Sequence[Lone], repeats: int) -> list[float]:
        if MadeEngine.sheets_left == 0:
            raise KeyboardInterrupt
        MadeEngine.sheets_left -= 1
        MadeEngine.asked += sheet
        return [float(each.out * each.into) for each in sheet]

    def encoder(self, shape: shapes.Shape) -> Callable[[], object]:
        return lambda: None


@pytest.fixture(autouse=True)
def made_engine(monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "torch", lambda model, cameras, device: MadeEngine())
    monkeypatch.setitem(shapes.PRESETS, "tiny", shape())
    monkeypatch.setattr(measure, "SHEET_LAYERS", 5)
    monkeypatch.setattr(MadeEngine, "sheets_left", 1 << 30)
    monkeypatch.setattr(MadeEngine, "asked", [])


def test_every_pair_of_widths_is_measured_once_a_round(tmp_path: Path):
    table = measured(TINY, "torch", tmp_path / "table.json", step=4, encoders=3)
    expected = lone_layers(shape(), NECK, IMAGE_SIZE, 4)
    assert sorted(MadeEngine.asked) == sorted(expected * measure.ROUNDS)
    for layer in expected:
        assert table.grids[layer.kind].at(np.array(layer.out), np.array(layer.into)) == layer.out * layer.into
    assert [each.name for each in tmp_path.iterdir()] == ["table.json"]


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch):
    path = tmp_path / "table.json"
    monkeypatch.setattr(MadeEngine, "sheets_left", 7)
    with pytest.raises(KeyboardInterrupt):
        measured(TINY, "torch", path, step=4, encoders=3)
    assert [each.name for each in tmp_path.iterdir()] == ["table.json.partial"]
    before = len(MadeEngine.asked)
    assert before > 0
    monkeypatch.setattr(MadeEngine, "sheets_left", 1 << 30)
    measured(TINY, "torch", path, step=4, encoders=3)
    expected = lone_layers(shape(), NECK, IMAGE_SIZE, 4)
    assert sorted(MadeEngine.asked) == sorted(expected * measure.ROUNDS)
    MadeEngine.asked.clear()
    again = measured(TINY, "torch", path, step=4, encoders=3)
    assert not MadeEngine.asked
    assert again.predict(shape()) == read_table(path).predict(shape())


@pytest.mark.parametrize(
    ("change", "told"),
    [({"seed": 3}, "seed is 15, expected 3"), ({"step": 8}, "step is 4, expected 8"), ({"cameras": 2}, "cameras is 6")],
)
def test_a_beginning_of_another_order_is_not_gone_on_with(tmp_path, monkeypatch, change, told):
    path = tmp_path / "table.json"
    monkeypatch.setattr(MadeEngine, "sheets_left", 1)
    with pytest.raises(KeyboardInterrupt):
        measured(TINY, "torch", path, step=4, encoders=3)
    with pytest.raises(ValueError, match=f"was begun otherwise: .*{told}"):
        measured(TINY, "torch", path, **({"step": 4, "encoders": 3} | change))


@pytest.mark.parametrize("content", ['{"format": "tggbc_ros.latency.partial 1", "ord', "[]", '{"format": "other"}'])
def test_a_damaged_beginning_is_named_in_one_line(tmp_path, content):
    partial = tmp_path / "table.json.partial"
    partial.write_text(content)
    with pytest.raises(ValueError, match="table.json.partial") as caught:
        measured(TINY, "torch", tmp_path / "table.json", step=4, encoders=3)
    assert "\n" not in str(caught.value)


def test_a_table_of_another_step_is_refused(tmp_path: Path):
    measured(TINY, "torch", tmp_path / "table.json", step=4, encoders=3)
    with pytest.raises(ValueError, match="its step is 4, expected 2"):
        measured(TINY, "torch", tmp_path / "table.json", step=2, encoders=3)


def test_a_coarser_grid_still_answers_every_pair(tmp_path: Path):
    table = measured(TINY, "torch", tmp_path / "table.json", step=2, grid=4, encoders=3)
    assert {each.out for each in MadeEngine.asked} == {4, 8}
    assert table.said["measured"]["every"] == 4
    for cut in random_shapes(shape(), 2, 20, 0):
        assert table.predict(cut) >= 0.0


def test_a_sheet_is_no_larger_than_memory_allows(monkeypatch):
    layers = lone_layers(shape(), NECK, IMAGE_SIZE, 4)
    monkeypatch.setattr(measure, "SHEET_BYTES", 3 * max(each.size_bytes(6) for each in layers))
    made = list(sheets(layers, 6))
    assert [each for sheet in made for each in sheet] == layers
    assert all(len(sheet) <= 5 for sheet in made)
    assert all(sum(each.size_bytes(6) for each in sheet) <= measure.SHEET_BYTES for sheet in made)


def test_the_fit_finds_what_whole_encoders_are_made_of():
    factors = {"1x1": 1.2, "3x3": 0.9, "stem": 1.1, "layer": 3.0, "added": 500.0, "rest": 40.0}
    true = made_table(Fit(dict.fromkeys(TERMS, 0.0) | factors))
    drawn = [shape(), *random_shapes(shape(), 1, 19, 7)]
    fitted = calibrated(made_table(), drawn, [true.predict(each) for each in drawn])
    unseen = random_shapes(shape(), 1, 20, 8)
    errors = [fitted.predict(each) / true.predict(each) - 1.0 for each in unseen]
    assert np.median(np.abs(errors)) < 0.01
    assert len(fitted.fit.encoders) == 20
    assert all(value >= 0.0 for value in fitted.fit.factors.values())


@pytest.mark.parametrize(("name", "step"), [("resnet18_half", 8), ("resnet50", 32), ("vovnet99", 32)])
def test_random_shapes_have_widths_of_the_grid_and_differ(name, step):
    whole = shapes.PRESETS[name]
    drawn = random_shapes(whole, step, 12, 3)
    assert len(set(drawn)) == 12
    for cut in drawn:
        for stage, of in zip(cut.stages, whole.stages, strict=True):
            assert stage.trunk in widths(of.trunk, step)
    assert drawn == random_shapes(whole, step, 12, 3)
    assert not set(drawn) & set(random_shapes(whole, step, 12, 4))


def test_the_command_says_what_it_found_and_what_stopped_it(tmp_path, monkeypatch, capsys):
    path = tmp_path / "table.json"
    monkeypatch.setattr("tggbc_ros.compress.latency.command.model_config", lambda name: TINY)
    arguments = ["latency", "--model", "demo", "--engine", "torch", "--out", str(path), "--step", "4"]
    monkeypatch.setattr(MadeEngine, "sheets_left", 2)
    with pytest.raises(SystemExit) as stopped:
        compress.main(arguments)
    assert stopped.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("compress: stopped; the same command goes on")
    monkeypatch.setattr(MadeEngine, "sheets_left", 1 << 30)
    assert compress.main(arguments) == 0
    said = capsys.readouterr().out
    assert "layers alone, of" in said and "norms are part of the convolutions" in said and "error median" in said
    assert compress.main([*arguments[:-1], "2"]) == 1
    assert "its step is 4, expected 2" in capsys.readouterr().err
