"""drill/ is not installed: it is found from the repository's root alone, and brings the ROS tests' rig with it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import drill  # noqa: E402, F401
