"""Modules of other test folders that these tests share, and where the recorded problems lie."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "training"):
    sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def compress_dir(golden_dir: Path) -> Path:
    """Problems with proven optima, not part of this repository; skips where they are not at hand."""
    folder = golden_dir / "compress"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: TGGBC_GOLDEN names a folder without it")
    return folder
