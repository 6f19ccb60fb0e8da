"""results: rows hold medians and official names, files can be read back, and the table says what is missing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.evaluation.passes import Pass
from tggbc_ros.evaluation.results import are_variants, result_row, table, write_results
from tggbc_ros.evaluation.score import Score

SCORE = Score(
    mean_ap=0.42,
    nds=0.5,
    tp_errors={"mATE": 0.6, "mASE": 0.3, "mAOE": 0.5, "mAVE": 0.9, "mAAE": 0.2},
    class_ap={name: 0.1 * index for index, name in enumerate(CLASS_NAMES)},
    ground_truth=dict.fromkeys(CLASS_NAMES, 7) | {"trailer": 0},
)
MEASURED = Pass(
    keep_ratio=0.3,
    detections={},
    keys=[(100, 30), (100, 31), (100, 31)],
    decoder_ms=[5.0, 4.0, 90.0],
    frame_ms=[10.0, 11.0, 99.0],
    settings={"model": "demo", "prune_layers": 1},
    notes={"samples without boxes": 2, "arrays of no sample": 0},
)


def test_row() -> None:
    row = result_row(MEASURED, SCORE)
    expected = {
        "keep_ratio": 0.3, "mAP": 0.42, "NDS": 0.5, "mATE": 0.6, "mAAE": 0.2, "keys_total": 100, "keys_kept": 31,
        "keys": [100, 31], "decoder_ms": 5.0, "frame_ms": 11.0, "latency_ms": None, "model": "demo", "AP_truck": 0.1,
        "objects_car": 7, "objects_trailer": 0, "notes": "2 samples without boxes",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_table_names_ways_to_prune_that_a_ratio_does_not_tell() -> None:
    row = result_row(MEASURED, SCORE)
    text = "keep_ratio=0.3 prune_layers=2"
    assert text not in table([row | {"variant": "keep_ratio=0.3"}])
    lines = table([row | {"variant": "keep_ratio=1"}, row | {"variant": text}]).splitlines()
    assert lines[0].split()[-2:] == ["keys_mean", "variant"]
    assert lines[2].endswith(f"65.33  {text}")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["keep_ratio=1", " keep_ratio=0.3 "], False),
        (["keep_ratio=1", "keep_ratio=0.3 prune_layers=2"], True),
        (["keep_mode=mass", "keep_mode=budget"], True),
        (["keep_ratio=1", "keep_mode=mass"], True),
        ([""], True),
    ],
)
def test_variants_are_all_that_is_not_a_ratio_alone(names: list[str], expected: bool) -> None:
    assert are_variants([{"variant": name} for name in names]) is expected
    assert not are_variants([{"keep_ratio": 0.3}])


def test_files_hold_the_same_rows(tmp_path: Path) -> None:
    rows = [result_row(MEASURED, SCORE), result_row(Pass(keep_ratio=None), SCORE)]
    write_results(rows, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows
    with (tmp_path / "out" / "results.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (float(first["mAP"]), first["keys_kept"], second["keep_ratio"], second["model"]) == (0.42, "31", "", "")
    assert list(first) == list(rows[0])


def test_table_says_what_was_not_scored() -> None:
    lines = table([result_row(MEASURED, SCORE), result_row(Pass(keep_ratio=1.0), SCORE)]).splitlines()
    assert lines[0].split() == [
        "keep_ratio", "mAP", "NDS", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "keys_kept", "tokens",
        "encode_ms", "decoder_ms", "frame_ms",
    ]  # fmt: skip
    assert " ".join(lines[1].split()) == "0.300 0.420 0.500 0.600 0.300 0.500 0.900 0.200 31 - - 5.000 11"
    assert lines[2].split()[-3:] == ["-", "-", "-"]
    assert lines[5].split() == ["keep_ratio", *CLASS_NAMES]
    assert lines[-2].startswith("no ground truth of trailer: AP 0 and errors of 1")
    assert lines[-1] == "keep_ratio 0.300: 2 samples without boxes"
