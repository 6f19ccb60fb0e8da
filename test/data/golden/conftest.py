"""bench/ has the padded form of windows that ours must equal; it is found from the repository's root alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
