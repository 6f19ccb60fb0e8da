"""The detector node, to which the small network of test/export is one of its models."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tggbc_ros.core.config import MODELS
from tggbc_ros.ros.detector_node import main

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "export")]

from tiny_network import TINY  # noqa: E402

if __name__ == "__main__":
    MODELS[TINY.name] = TINY
    torch.set_num_threads(1)
    sys.exit(main())
