"""A parameter file as ``--params-file`` takes it -> the node's settings, for tools that have no node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tggbc_ros.ros.params import NAMES, Settings

SECTION = "ros__parameters"


def from_file(path: Path) -> Settings:
    """The settings of a file with one node in it; raises ValueError naming the file for what is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        values = _section(content)
        own = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Settings(**{name: value for name, value in own.items() if name in NAMES})
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"parameter file {path}: {' '.join(str(error).split())}") from error


def _section(content: object) -> Mapping[str, Any]:
    """What stands below the only ``ros__parameters``, however many namespaces are around it."""
    found: object = content
    while isinstance(found, Mapping) and SECTION not in found and len(found) == 1:
        found = next(iter(found.values()))
    if not isinstance(found, Mapping) or not isinstance(found.get(SECTION), Mapping):
        raise ValueError(f"expected the parameters of one node below {SECTION}")
    section: Mapping[str, Any] = found[SECTION]
    return section
