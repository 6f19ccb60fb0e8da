"""Where the recorded problems and allocations lie."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def compress_dir(golden_dir: Path) -> Path:
    """Problems with proven optima, not part of this repository; skips where they are not at hand."""
    folder = golden_dir / "compress"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: TGGBC_GOLDEN names a folder without it")
    return folder
