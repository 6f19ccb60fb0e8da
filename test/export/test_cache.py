"""Exports that are made at the first start, and found at the next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

from tggbc_ros.backends import load_network
from tggbc_ros.export import cache

sys.path.insert(0, str(Path(__file__).parent))

from tiny_network import TINY, write_checkpoint  # noqa: E402


@pytest.fixture
def made(tiny_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of the exports that were made; the real ones take half a minute, and made what is copied here."""
    folders: list[Path] = []

    def copied(model: object, checkpoint: Path, folder: Path, **options: object) -> None:
        folders.append(folder)
        shutil.copytree(tiny_export, folder)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "export", copied)
    return folders


@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx"])
def test_a_damaged_one_is_made_anew(
    tiny_export: Path, made: list[Path], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tiny_export.with_name("tiny.pth")
    load_network("onnxruntime", TINY, checkpoint, "cpu")
    damaged = made[0] / name
    damaged.write_bytes(damaged.read_bytes()[:100])
    load_network("onnxruntime", TINY, checkpoint, "cpu")
    assert len(made) == 2
    assert damaged.read_bytes() == (tiny_export / name).read_bytes()
    assert any(str(damaged) in record.getMessage() for record in caplog.records if record.name == cache.__name__)


def test_a_checkpoint_is_exported_once_and_kept(
    tiny_export: Path, tmp_path: Path, made: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tiny_export.with_name("tiny.pth")
    first = load_network("onnxruntime", TINY, checkpoint, "cpu")
    second = load_network("onnxruntime", TINY, checkpoint, "cpu")
    assert len(made) == 1 and made[0].parent == tmp_path / "cache" / "tggbc_ros"
    assert first.weights == second.weights and first.weights.startswith("tiny.pth sha256:")
    assert [record.getMessage() for record in caplog.records if record.name == cache.__name__] == [
        f"exporting model tiny_exported to ONNX in {made[0]}, this once"
    ]
    other = tmp_path / "other.pth"
    write_checkpoint(other)
    state = torch.load(other)
    state["state_dict"]["head.cls_branch.6.bias"] += 1.0
    torch.save(state, other)
    load_network("onnxruntime", TINY, other, "cpu")
    assert len(set(made)) == 2
