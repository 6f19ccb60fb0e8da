"""The demo from end to end: a clip, its bag, a node of its own process, pictures and a table."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tggbc_ros.tools.demo import main

pytestmark = pytest.mark.timeout(280)


def test_on_a_synthetic_drive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / "mine.txt").write_text("not the demo's")
    arguments = ["--out", str(out), "--sample", str(tmp_path / "none"), "--model", "demo", "--keep-ratio", "0.5"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "weights RANDOM" in printed and "the boxes mean nothing" in printed
    assert "keep ratio 0.50, keys by layer [1056, 528" in printed
    assert all(f"\n{stage} " in printed for stage in ("preprocess", "encode", "decode", "latency"))
    pictures = [cv2.imread(str(path)) for path in sorted(out.glob("frame_*.png"))]
    assert len(pictures) == 3
    assert (out / "mine.txt").is_file()
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert all(picture.shape[1] == 2400 + picture.shape[0] and np.ptp(picture) > 200 for picture in pictures)


def test_a_node_that_cannot_start_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "demo"), "--sample", str(tmp_path / "none"), "--checkpoint", "nowhere.pth"]
    assert main(arguments) == 1
    assert "nowhere.pth" in capsys.readouterr().err
