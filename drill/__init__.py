"""Fault drill: the real node over real DDS, through what goes wrong on the road. ``make drill`` runs it.

Nothing here is installed. The cameras and the tiny network are those of the tests.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "test" / "ros"))
