from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import __main__ as program
from bench.shapes import SHAPES
from tggbc_ros.core.config import ModelConfig

FIELDS = {"shape", "mode", "keep_ratio", "n", "device", "dtype", "decoder_ms", "scoring_ms", "ratio_to_dense_sdpa"}
FIELDS |= {"ratio_to_dense_explicit", "peak_extra_mb"}


def test_files_and_tables(
    tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHAPES, "28x144", tiny)
    arguments = ["--shapes", "28x144", "--repeats", "1", "--keep-ratios", "0.25", "--trims", "1", "--models"]
    assert program.main([*arguments, "--out", str(tmp_path / "new"), "--device", "cpu"]) == 0
    rows = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert [row["mode"] for row in rows] == [
        "dense_sdpa",
        "dense_explicit",
        "pruned",
        "pruned_explicit",
        "carry",
        "carry",
    ]
    assert all(row.keys() >= FIELDS for row in rows)
    more = json.loads((tmp_path / "new" / "bench_more.json").read_text())
    assert [row["shape"] for row in more["before_decoder"]] == ["28x144"]
    assert more["frames"] == []
    printed = capsys.readouterr().out
    assert "pruned 0.25 n=1" in printed
    assert "position embedding" in printed


@pytest.mark.parametrize(("option", "value"), [("--repeats", "0"), ("--shapes", "1x1"), ("--threads", "-1")])
def test_a_wrong_option_is_named(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main([option, value])
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--keep-ratios", "0"], "keep_ratio is 0.0, expected"),
        (["--trims", "7"], "prune_layers is 7, expected 1 to 6, the number of decoder layers"),
    ],
)
def test_pruning_that_no_decoder_can_follow_is_an_error(
    given: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([*given, "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--device", "cuda:99"]) == 2
    assert "cuda:99" in capsys.readouterr().err
