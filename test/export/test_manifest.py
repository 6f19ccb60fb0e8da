"""The manifest: what it says, and that nothing is loaded which it does not vouch for."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import DEMO
from tggbc_ros.export import manifest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_network import TINY  # noqa: E402


@pytest.fixture
def copy(tiny_export: Path, tmp_path: Path) -> Path:
    """An export that a test may break."""
    return shutil.copytree(tiny_export, tmp_path / "onnx")


def test_manifest_says_what_was_exported_and_from_what(tiny_export: Path) -> None:
    content = json.loads((tiny_export / "manifest.json").read_text())
    checkpoint = tiny_export.with_name("tiny.pth")
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert content["weights_sha256"] == digest
    assert content["weights"] == f"tiny.pth sha256:{digest[:16]}"
    assert content["preprocessing"]["mean"] == [100.0, 100.0, 100.0]
    assert content["preprocessing"]["class_names"] == list(TINY.class_names)
    assert (content["precision"], content["versions"]["torch"]) == ("fp32", torch.__version__)
    assert len(content["start_points_m"]) == TINY.num_propagated
    assert list(content["graphs"]) == ["encoder", "rays", "tokens", "queries", "layer0", "layer1", "layer2", "branches"]
    for graph in content["graphs"].values():
        assert graph["sha256"] == hashlib.sha256((tiny_export / graph["file"]).read_bytes()).hexdigest()
    assert sorted(path.name for path in tiny_export.iterdir()) == sorted(
        ["manifest.json", *(graph["file"] for graph in content["graphs"].values())]
    )
    assert manifest.read(tiny_export).model == TINY


def break_byte(folder: Path) -> None:
    content = bytearray((folder / "layer0.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "layer0.onnx").write_bytes(content)


def cut_short(folder: Path) -> None:
    content = (folder / "encoder.onnx").read_bytes()
    (folder / "encoder.onnx").write_bytes(content[: len(content) // 2])


def exchange(folder: Path) -> None:
    (folder / "layer0.onnx").rename(folder / "other")
    (folder / "layer1.onnx").rename(folder / "layer0.onnx")
    (folder / "other").rename(folder / "layer1.onnx")


def remove(folder: Path) -> None:
    (folder / "queries.onnx").unlink()


def change_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("100.0", "101.0"))


def cut_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:500])


def endless_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[" * 100_000)


def reseal(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """As another version might have written it."""
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    content[manifest.SEAL] = manifest._seal(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def other_format(folder: Path) -> None:
    reseal(folder, lambda content: content.update(format=3))


def no_format(folder: Path) -> None:
    reseal(folder, lambda content: content.pop("format"))


def no_precision(folder: Path) -> None:
    reseal(folder, lambda content: content.pop("precision"))


def unknown_field(folder: Path) -> None:
    reseal(folder, lambda content: content["model"].update(wheels=4))


def listed_graphs(folder: Path) -> None:
    reseal(folder, lambda content: content.update(graphs=["encoder"]))


def no_layer(folder: Path) -> None:
    reseal(folder, lambda content: content["graphs"].pop("layer1"))


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_byte, "layer0.onnx is damaged or of another export: its sha256 is"),
        (cut_short, "encoder.onnx is damaged or of another export"),
        (exchange, "layer0.onnx is damaged or of another export"),
        (remove, "queries.onnx is missing"),
        (change_manifest, "manifest.json was changed: its hash is not"),
        (cut_manifest, "manifest.json cannot be read"),
        (endless_manifest, "manifest.json cannot be read: maximum recursion depth"),
        (other_format, "manifest.json has format 3, expected 2"),
        (no_format, "manifest.json has format None, expected 2"),
        (no_precision, "manifest.json is of another version of this package, KeyError 'precision'"),
        (unknown_field, "manifest.json is of another version of this package, TypeError .*'wheels'"),
        (listed_graphs, "manifest.json is of another version of this package, AttributeError"),
        (no_layer, "manifest.json lacks the graphs layer1: "),
        (no_manifest, "is no export: it has no manifest.json"),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(manifest.ExportError, match=message) as caught:
        load_network("onnxruntime", TINY, copy, "cpu")
    assert "\n" not in str(caught.value) and "python -m tggbc_ros.tools.export" in str(caught.value)


def test_an_export_of_another_model_is_refused(tiny_export: Path) -> None:
    with pytest.raises(manifest.ExportError, match="is an export of model tiny_exported, expected demo"):
        load_network("onnxruntime", DEMO, tiny_export, "cpu")


def test_random_weights_are_not_run_without_leave(copy: Path) -> None:
    assert manifest.read(copy).weights != "RANDOM"
    reseal(copy, lambda content: content.update(weights="RANDOM"))
    with pytest.raises(ValueError, match="was exported without a checkpoint"):
        load_network("onnxruntime", TINY, copy, "cpu")
    assert load_network("onnxruntime", TINY, copy, "cpu", allow_random_weights=True).weights == "RANDOM"
