"""tools.export: what it writes, what it refuses, and what verify says."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

from tggbc_ros.core.config import MODELS
from tggbc_ros.evaluation.parity import Row, compare
from tggbc_ros.export.exporter import Quantise
from tggbc_ros.export.manifest import Manifest, read
from tggbc_ros.tools import bag as bags
from tggbc_ros.tools import drive, export

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import TINY, write_checkpoint  # noqa: E402


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, TINY.name, TINY)


def test_verify_writes_every_number_and_passes(
    tiny_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(tiny_export, tmp_path / "rows.json") == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert list(rows[0]) == [
        "frame", "keep_ratio", "output", "max_abs_error", "tolerance", "backend_ms", "torch_ms", "pass",
    ]  # fmt: skip
    assert [row["keep_ratio"] for row in rows if row["output"] == "logits"] == [1.0, 1.0, 0.3, 0.3]
    assert all(row["pass"] and row["backend_ms"] > 0 and row["torch_ms"] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert "onnxruntime on cpu" in printed and "FAIL" not in printed


def test_verify_refuses_to_compare_with_other_weights(
    tiny_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "tiny.pth")
    state = torch.load(tmp_path / "tiny.pth")
    state["state_dict"]["head.reg_branch.4.bias"] += 0.01
    torch.save(state, tmp_path / "tiny.pth")
    assert verify(tiny_export, tmp_path / "rows.json", weights=tmp_path / "tiny.pth") == 2
    assert "give --weights" in capsys.readouterr().err


def test_verify_exits_with_1_where_one_number_is_off(
    tiny_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_off(*given: object, **more: object) -> list[Row]:
        rows = list(compare(*given, **more))  # type: ignore[arg-type]
        return [*rows[:-1], dataclasses.replace(rows[-1], max_abs_error=1.0, passed=False)]

    monkeypatch.setattr(export, "compare", one_off)
    assert verify(tiny_export, tmp_path / "rows.json") == 1
    assert capsys.readouterr().out.count("FAIL") == 1
    assert [row["pass"] for row in json.loads((tmp_path / "rows.json").read_text())].count(False) == 1


def test_an_encoder_in_half_precision_is_compared_by_its_features(tiny_export: Path, tmp_path: Path) -> None:
    checkpoint = tiny_export.with_name("tiny.pth")
    assert verify(checkpoint, tmp_path / "rows.json", checkpoint, backend="torch_bf16") == 0
    tolerances = {row["output"]: row["tolerance"] for row in json.loads((tmp_path / "rows.json").read_text())}
    assert (tolerances["features"], tolerances["channels"], tolerances["logits"]) == (2.0**-5, 2.0**-4, 1e-4)


def test_what_is_not_a_number_is_one_line(
    tiny_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def poisoned(*given: object) -> list[Row]:
        raise FloatingPointError("input features of graph tokens holds NaN or infinity")

    monkeypatch.setattr(export, "compare", poisoned)
    assert verify(tiny_export, tmp_path / "rows.json") == 2
    assert capsys.readouterr().err == "export: input features of graph tokens holds NaN or infinity\n"


def verify(folder: Path, rows: Path, weights: Path | None = None, backend: str = "onnxruntime") -> int:
    weights = weights or folder.with_name("tiny.pth")
    options = ["--model", TINY.name, "--backend", backend, "--checkpoint", folder, "--weights", weights]
    options += ["--frames", 4, "--keep-ratio", 1.0, 0.3, "--device", "cpu", "--json", rows]
    return export.main(["verify", *map(str, options)])


def test_int8_from_a_data_set_and_from_a_bag(
    tiny_export: Path,
    tiny_int8_export: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The graphs themselves are exported once, by a fixture: that takes half a minute each time."""
    learned: list[tuple[str, int]] = []

    def quantised_only(*given: object, quantise: Quantise) -> Manifest:
        told = quantise(tiny_export / "encoder.onnx", "", tmp_path / "encoder.onnx")
        learned.append((told.source, told.frames))
        return read(tiny_int8_export)

    monkeypatch.setattr(export, "export", quantised_only)
    out = tmp_path / "onnx"
    out.mkdir()
    data = tmp_path / "data"
    made = ["make", "--scenes", 2, "--seconds", 3, "--split", "calibration", "--no-sweeps", "--difficulty", "demo"]
    assert drive.main([*map(str, made), "--out", str(data)]) == 0
    weights = ["--model", TINY.name, "--checkpoint", tiny_export.with_name("tiny.pth"), "--precision", "int8"]
    source = ["--calibrate-data", data, "--calibrate-split", "calibration", "--frames", 8]
    assert export.main([*map(str, [*weights, *source, "--out", out])]) == 0
    scene = json.loads((data / "v1.0-synthetic" / "scene.json").read_text())[0]["name"]
    bag = ["make", "--data", data, "--scene", scene, "--out", tmp_path / "drive"]
    assert bags.main([*map(str, bag)]) == 0
    options = [*weights, "--calibrate-bag", tmp_path / "drive", tmp_path / "drive", "--frames", 10]
    assert export.main([*map(str, [*options, "--out", out])]) == 0
    assert learned == [("v1.0-synthetic, split calibration", 8), ("bags drive, drive", 10)]
    capsys.readouterr()
    for bad, said in (
        (weights, "int8 needs --calibrate-data DIR --calibrate-split NAME, or --calibrate-bag BAG"),
        ([*weights, *source[:2], "--calibrate-split", "none"], "none"),
        ([*weights, *source[:4], "--frames", 3], "gives 3 sets of images, expected at least 8"),
        ([*weights, "--calibrate-bag", tmp_path / "no_bag"], "no_bag"),
    ):
        assert export.main([*map(str, [*bad, "--out", out])]) == 2
        assert said in capsys.readouterr().err
    assert len(learned) == 2


def test_what_each_layer_costs(
    tiny_export: Path, tiny_int8_export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "cached_export", lambda model, weights: (tiny_export, read(tiny_export)))
    options = ["--model", TINY.name, "--weights", tiny_export.with_name("tiny.pth"), "--frames", 2]
    assert export.main([*map(str, ["layers", *options, "--checkpoint", tiny_int8_export])]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].startswith("backbone.") and table[-1].startswith("all")
    assert export.main([*map(str, ["layers", *options, "--checkpoint", tiny_export])]) == 2
    assert "has an encoder in fp32, expected int8" in capsys.readouterr().err


def test_verify_by_the_evaluator_too(
    tiny_export: Path,
    tiny_int8_export: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export, "compare", lambda *given: [])  # by numbers it is compared elsewhere
    data = tmp_path / "data"
    made = ["make", "--scenes", 1, "--seconds", 2, "--split", "held_out", "--no-sweeps", "--difficulty", "demo"]
    assert drive.main([*map(str, made), "--out", str(data)]) == 0
    options = ["--model", TINY.name, "--backend", "openvino_int8", "--checkpoint", tiny_int8_export]
    options += ["--weights", tiny_export.with_name("tiny.pth"), "--frames", 2, "--keep-ratio", 1.0, 0.5]
    options += ["--data", data, "--split", "held_out"]
    capsys.readouterr()
    assert export.main(["verify", *map(str, options)]) == 0
    table = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[0] for row in table] == ["1", "0.5"] and all(row.endswith("ok") for row in table)
    assert export.main(["verify", *map(str, options), "--max-loss", "-1"]) == 1
    assert capsys.readouterr().out.count("FAIL: more than -1") == 2


def test_one_line_where_exporting_is_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["--model", TINY.name, "--out", str(tmp_path / "onnx")]) == 2
    assert "no checkpoint for model tiny_exported" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert export.main(["--model", "demo", "--out", str(tmp_path / "onnx")]) == 2
    assert capsys.readouterr().err.startswith("export: exporting to ONNX needs the Python package onnxscript: ")
