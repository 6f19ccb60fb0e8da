"""Where the tests find data that does not live in this repository, and networks with formula weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tggbc_ros.core.config import MODELS
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.data.golden import replay as golden_replay
from tggbc_ros.export import exporter
from tggbc_ros.export.calibration import describe
from tggbc_ros.export.exporter import quantise_on
from tggbc_ros.tools import export

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "test"))  # tiny_model serves them all


def find_folder(variable: str, default: str) -> tuple[Path | None, str]:
    """The folder an environment variable names, else the default beside the repository; or why there is none."""
    folder = Path(os.environ.get(variable) or REPOSITORY / default)
    if folder.is_dir():
        return folder, ""
    return None, f"{folder} is not there: set {variable} to the folder"


def _folder(variable: str, default: str) -> Path:
    folder, reason = find_folder(variable, default)
    if folder is None:
        pytest.skip(reason)
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For small networks, which only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Recorded inputs and outputs of the original network; skips where they are not at hand."""
    return _folder("TGGBC_GOLDEN", "../shared/golden")


@pytest.fixture(scope="session")
def sample_dir() -> Path:
    """One real nuScenes keyframe; skips where it is not at hand."""
    return _folder("TGGBC_SAMPLE", "../shared/nuscenes_sample")


@pytest.fixture(scope="session")
def formula_network() -> Callable[[str], StreamPETR]:
    """Name of a shipped model -> that network with the formula weights of the golden cases, built once."""
    return lambda name: golden_replay.formula_network(name, salt="")


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network's export, made once, by the command; its checkpoint lies beside it."""
    sys.path.insert(0, str(REPOSITORY / "test" / "export"))
    from tiny_network import TINY, write_checkpoint

    base = tmp_path_factory.mktemp("tiny_export")
    write_checkpoint(base / "tiny.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, TINY.name, TINY)
        given = {"--model": TINY.name, "--checkpoint": base / "tiny.pth", "--out": base / "onnx"}
        assert export.main([str(word) for option in given.items() for word in option]) == 0
    return base / "onnx"


@pytest.fixture(scope="session")
def tiny_int8_export(tiny_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network exported with its encoder in int8, calibrated on noise."""
    from tiny_network import TINY

    images = [np.random.default_rng(seed).uniform(-2, 2, (6, 3, 32, 64)).astype(np.float32) for seed in range(8)]
    folder = tmp_path_factory.mktemp("tiny_int8_export") / "onnx"
    quantise = quantise_on(images, describe(images, "noise", (32, 64)))
    exporter.export(TINY, tiny_export.with_name("tiny.pth"), folder, "int8", lambda _: None, quantise)
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``golden_file`` runs once for each ``public_*.npz`` but those of ToC3D's router."""
    if "golden_file" not in metafunc.fixturenames:
        return
    folder, reason = find_folder("TGGBC_GOLDEN", "../shared/golden")
    files = [*sorted(folder.glob("public_*.npz")), *sorted(folder.glob("vit/public_*.npz"))] if folder else []
    files = [file for file in files if "toc3d" not in file.stem]
    missing = [pytest.param(None, marks=pytest.mark.skip(reason=reason or f"no public_*.npz in {folder}"), id="none")]
    metafunc.parametrize("golden_file", [pytest.param(file, id=file.stem) for file in files] or missing)
