"""Prediction from made-up times, by hand arithmetic, and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_table import SETTING, made_table, shape

from tggbc_ros.compress import layout
from tggbc_ros.compress.latency import read_table, write_table
from tggbc_ros.compress.latency.fit import TERMS, Fit
from tggbc_ros.compress.latency.grid import Grid
from tggbc_ros.compress.latency.places import Kind, places
from tggbc_ros.core.config import R50_704, VOV_800
from tggbc_ros.core.shape import PRESETS


def _layer(name: str) -> layout.Layer:
    return next(layer for layer in layout.layers(shape()) if layer.name == name)


def test_costs_are_lone_times_by_their_factor_and_what_comes_with_the_layer():
    fit = Fit(dict.fromkeys(TERMS, 0.0) | {"3x3": 2.0, "layer": 5.0, "added": 10.0})
    table = made_table(fit)
    found = table.costs(_layer("layer1.0.conv2"), (0, 4, 8), (4, 6, 8))
    cells = 6 * 8 * 16
    expected = [[0, 0, 0]] + [
        [round(2 * out * read + 5 + 10 * cells * out / 1e6) for read in (4, 6, 8)] for out in (4, 8)
    ]
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_layers_laterals_and_rest_add_up_to_the_prediction():
    table = made_table(Fit({name: 1.0 + index for index, name in enumerate(TERMS)}))
    widths = layout.widths(shape())
    total = table.rest_us
    for layer in layout.layers(shape()):
        read = sum(widths[group] for group in layer.reads) if layer.reads else 3
        total += int(table.costs(layer, (widths[layer.group],), (read,))[0, 0])
    total += sum(int(table.lateral_costs(index, (read,))[0]) for index, read in enumerate(shape().out_channels))
    assert table.predict(shape()) == total / 1e3
    assert table.predict(shape()) * 1e3 == pytest.approx(float(table.fit.time_us(table.terms(shape()))), abs=len(TERMS))


def test_a_block_that_is_gone_costs_nothing():
    table = made_table()
    first = shape().stages[0]
    without = replace(shape(), stages=(replace(first, blocks=(None,)), *shape().stages[1:]))
    inside = [layer for layer in layout.layers(shape()) if layer.block == "layer1.0"]
    spared = sum(int(table.costs(layer, (8,), (8,))[0, 0]) for layer in inside)
    assert table.predict(without) == pytest.approx(table.predict(shape()) - spared / 1e3)


def test_between_two_widths_a_time_lies_on_a_line():
    grid = Grid((8, 16), (8, 24), np.array([[10.0, 30.0], [20.0, 60.0]]))
    assert grid.at(np.array([[8], [12], [16], [2]]), np.array([[8, 16, 24]])).tolist() == [
        [10.0, 20.0, 30.0],
        [15.0, 30.0, 45.0],
        [20.0, 40.0, 60.0],
        [10.0, 20.0, 30.0],
    ]


def test_widths_beyond_the_table_are_refused():
    with pytest.raises(ValueError, match="put out 9 channels, expected at most 8"):
        made_table().costs(_layer("layer1.0.conv1"), (9,), (8,))


def test_another_backbone_is_refused():
    with pytest.raises(ValueError, match="another backbone"):
        made_table().predict(PRESETS["resnet50"])


def test_a_file_answers_as_what_was_written(tmp_path: Path):
    fit = Fit({name: 0.5 for name in TERMS})
    table, path = made_table(fit), tmp_path / "new" / "table.json"
    write_table(table, path)
    again = read_table(path, expect=SETTING)
    assert again.predict(shape()) == table.predict(shape())
    assert (again.setting, again.step, again.said) == (SETTING, 4, table.said)
    assert [each.name for each in path.parent.iterdir()] == ["table.json"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"engine": "openvino"}, "engine is torch, expected openvino"),
        ({"machine": "another"}, "machine is made up, expected another"),
        ({"image_size": (32, 64)}, r"image_size is \(32, 64\), expected \(64, 64\)"),
        ({"threads": 1}, "threads is 2, expected 1"),
    ],
)
def test_a_table_of_another_setting_is_refused_or_taken_loudly(tmp_path, caplog, change, told):
    if "image_size" in change:
        change = {"image_size": (64, 64)}
    path, expect = tmp_path / "table.json", replace(SETTING, **change)
    write_table(made_table(), path)
    with pytest.raises(ValueError, match=told):
        read_table(path, expect=expect)
    with caplog.at_level(logging.WARNING):
        read_table(path, expect=expect, foreign=True)
    assert "TIMES ARE FOREIGN" in caplog.text


def test_a_table_of_another_model_is_never_taken(tmp_path: Path):
    path = tmp_path / "table.json"
    write_table(made_table(), path)
    with pytest.raises(ValueError, match="model is tiny, expected r50_704"):
        read_table(path, expect=replace(SETTING, model="r50_704"), foreign=True)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("format", "other", "format is 'other'"),
        ("setting", {}, "setting is {}"),
        ("shape", None, "shape is None"),
        ("step", 0, "step is 0"),
        ("layers", [], "no convolution"),
        ("layers", [{"kernel": 3}], "it has no 'stride'"),
        ("fit", {"factors": {}, "encoders": []}, "factors are of"),
        ("fit", {"factors": dict.fromkeys(TERMS, -1.0), "encoders": []}, "factor 1x1 is -1.0"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, value, told):
    path = tmp_path / "table.json"
    write_table(made_table(), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ValueError, match=told) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_half_a_file_is_named(tmp_path: Path):
    path = tmp_path / "table.json"
    write_table(made_table(), path)
    path.write_text(path.read_text()[:200])
    with pytest.raises(ValueError, match="is damaged, it is no JSON"):
        read_table(path)


def test_places_of_a_resnet():
    found = places(PRESETS["resnet50"], R50_704.image_size)
    assert found["conv1"].kind == Kind(7, 2, 256, 704)
    assert found["conv1"].pooled_out == 128 * 352
    assert found["layer1.0.conv1"].kind == Kind(1, 1, 64, 176)
    assert found["layer2.0.conv2"].kind == Kind(3, 2, 64, 176)
    assert found["layer2.0.downsample.0"].kind == Kind(1, 2, 64, 176)
    assert found["layer2.0.downsample.0"].added == 0
    assert found["layer4.2.conv3"].kind == Kind(1, 1, 8, 22)
    assert found["layer4.2.conv3"].added == 8 * 22


def test_places_of_a_vovnet():
    found = places(PRESETS["vovnet99"], VOV_800.image_size)
    assert found["stem.unit2.conv"].kind == Kind(3, 1, 160, 400)
    first = found["stage3.block1.layers.0.conv"]
    assert (first.kind, first.pooled_in) == (Kind(3, 1, 40, 100), 80 * 200)
    assert found["stage3.block1.layers.1.conv"].pooled_in == 0
    concat = found["stage3.block1.concat.conv"]
    assert (concat.kind, concat.joined, concat.gated, concat.added) == (Kind(1, 1, 40, 100), 4000, 4000, 0)
    assert found["stage3.block2.concat.conv"].added == 4000
    assert found["stage5.block1.layers.0.conv"].kind == Kind(3, 1, 10, 25)
