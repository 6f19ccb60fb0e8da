"""What is missing where these tests cannot run."""

from __future__ import annotations

import importlib.util

import pytest


def test_mmdet3d_is_installed() -> None:
    missing = [name for name in ("mmcv", "mmdet", "mmdet3d", "mmengine") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: make test-mmdet3d sets them up beside .venv and runs these tests")
