"""Fixtures of the mmdet3d tests: stand-ins where operators are missing, a tiny data set, a tiny config.

Without mmdet3d none of these tests runs: ``make test-mmdet3d`` sets it up and runs them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "data"), str(HERE.parent / "evaluation")]

import stand_ins  # noqa: E402

HAS_MMDET3D = all(importlib.util.find_spec(name) for name in ("mmcv", "mmdet", "mmdet3d", "mmengine"))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without mmdet3d only the notice is collected, which skips and says what to do."""
    if HAS_MMDET3D or collection_path.name == "test_notice.py" or not collection_path.name.startswith("test_"):
        return None
    return True


if HAS_MMDET3D:
    MISSING = stand_ins.install()
    from mmengine.registry import init_default_scope
    from tiny_setup import TinySetup, write_tiny_setup

    @pytest.fixture(scope="session")
    def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinySetup:
        """Data of two scenes with an object of every class, infos, and a config of a small network for them."""
        return write_tiny_setup(tmp_path_factory.mktemp("tiny"))

    @pytest.fixture(autouse=True)
    def one_thread() -> Iterator[None]:
        """Small networks only wait for their second thread; every test starts from the same random state."""
        init_default_scope("mmdet3d")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.manual_seed(0)
        yield
        torch.set_num_threads(threads)
