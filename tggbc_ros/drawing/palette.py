"""Colours and labels of markers, pictures, films and plots, all from config/classes.yaml; no ROS but to find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Color = tuple[int, int, int]
CURVES = ("NDS", "mAP")


@dataclass(frozen=True)
class Palette:
    """Label and colour of each class, in the order of a network's class names; all colours BGR, as OpenCV has them.

    ground_truth: of annotated boxes. kept: of the outline around kept keys. curves: score -> its curve's colour.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    colors: tuple[Color, ...]
    ground_truth: Color
    kept: Color
    curves: Mapping[str, Color]


def load_palette(class_names: Sequence[str], path: Path | None = None) -> Palette:
    """The colours and labels of these classes in ``config/classes.yaml``, or in another file of its form.

    Raises ValueError naming the file and what has no proper colour or label.
    """
    file = path or find_classes_file()
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    table = _mapping(file, "the file", content)
    classes = _mapping(file, "classes", table.get("classes"))
    entries = [_mapping(file, name, classes.get(name)) for name in class_names]
    curves = _mapping(file, "curves", table.get("curves"))
    return Palette(
        names=tuple(class_names),
        labels=tuple(_label(file, name, entry) for name, entry in zip(class_names, entries, strict=True)),
        colors=tuple(_bgr(file, name, entry.get("color")) for name, entry in zip(class_names, entries, strict=True)),
        ground_truth=_bgr(file, "ground_truth", table.get("ground_truth")),
        kept=_bgr(file, "kept_keys", table.get("kept_keys")),
        curves={name: _bgr(file, name, curves.get(name)) for name in CURVES},
    )


@cache
def find_classes_file() -> Path:
    """``config/classes.yaml`` of the source tree, else of the installed package."""
    source = Path(__file__).resolve().parents[2] / "config" / "classes.yaml"
    if source.is_file():
        return source
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("tggbc_ros")) / "config" / "classes.yaml"


def _mapping(file: Path, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{file}: {name} is {value!r}, expected a mapping")
    return value


def _label(file: Path, name: str, entry: Mapping[str, Any]) -> str:
    label = entry.get("label")
    if not isinstance(label, str) or not label.isascii() or not label.strip():
        raise ValueError(f"{file}: label of {name} is {label!r}, expected ASCII text, all that OpenCV can write")
    return label


def _bgr(file: Path, name: str, rgb: object) -> Color:
    if not (isinstance(rgb, list) and len(rgb) == 3 and all(type(v) is int and 0 <= v <= 255 for v in rgb)):
        raise ValueError(f"{file}: colour of {name} is {rgb!r}, expected three whole numbers from 0 to 255")
    red, green, blue = rgb
    return blue, green, red
