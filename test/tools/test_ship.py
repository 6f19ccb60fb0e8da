"""tools.ship: both files or none, each by the program that makes it; those programs have their own tests."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tggbc_ros.backends import SHIPPED_WEIGHTS
from tggbc_ros.tools import ship

GIVEN = ["--model", "demo", "--checkpoint", "tuned.safetensors", "--data", "FIT", "--split", "fit"]
GIVEN += ["--calibrate-data", "CAL", "--calibrate-split", "cal"]


def after(arguments: Sequence[str], option: str) -> str:
    return arguments[list(arguments).index(option) + 1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What the two programs were asked; they only write that they were."""
    calls: list[Sequence[str]] = []

    def run(command: Sequence[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        out = Path(after(command, "--out"))
        if "tggbc_ros.tools.export" in command:
            out.mkdir()
            out = out / "encoder_int8.onnx"
        out.write_text(f"made of {Path(after(command, '--checkpoint')).name}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(ship.subprocess, "run", run)
    return calls


def test_the_encoder_is_made_of_the_weights_that_ship(
    asked: list[Sequence[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ship.main([*GIVEN, "--out", str(tmp_path)]) == 0
    gate, encoder = asked
    assert gate[3] == "keygate" and (after(gate, "--data"), after(gate, "--split")) == ("FIT", "fit")
    assert (after(encoder, "--calibrate-data"), after(encoder, "--calibrate-split")) == ("CAL", "cal")
    name = SHIPPED_WEIGHTS["demo"].stem
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        f"{name}.safetensors": "made of tuned.safetensors",
        f"{name}_encoder_int8.onnx": f"made of {name}.safetensors",
    }
    assert capsys.readouterr().out.endswith("0.00 MB together\n")


def test_where_one_program_fails_nothing_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = subprocess.CompletedProcess([], 2)
    monkeypatch.setattr(ship.subprocess, "run", lambda command, check: failing)
    assert ship.main([*GIVEN, "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "ship: compress has failed, and nothing was shipped\n"
    assert list(tmp_path.iterdir()) == []
