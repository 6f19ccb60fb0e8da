"""palette: one file of colours and labels, which no kind of colour blindness mixes up."""

from __future__ import annotations

import ast
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.data.bags.markers import COLOR as MARKED_TRUTH
from tggbc_ros.drawing.draw import DARK
from tggbc_ros.drawing.palette import find_classes_file, load_palette

PALETTE = load_palette(CLASS_NAMES)
REPOSITORY = Path(__file__).resolve().parents[2]

DICHROMATS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear sRGB as a dichromat sees it: Machado, Oliveira and Fernandes 2009, severity 1."""

RGB2XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

LEAST_DISTANCE = 20.0
"""CIE 1976 units. About 2.3 is what one just sees on large fields side by side (Mahy et al. 1994); marks as small as
a box's edge need several times as much (Stone et al. 2014), and the boxes are not side by side."""


def cielab(bgr: tuple[int, int, int], seen_by: str) -> np.ndarray:
    """L*, a*, b* of an sRGB colour, white being (100, 0, 0)."""
    share = np.array(bgr[::-1]) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = RGB2XYZ @ np.clip(np.array(DICHROMATS[seen_by]) @ linear, 0, 1) / RGB2XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_cielab_of_known_colours() -> None:
    """Red and blue of sRGB under D65, as tables have them; a dichromat still sees grey as grey."""
    assert cielab((0, 0, 255), "none") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert cielab((255, 0, 0), "none") == pytest.approx([32.30, 79.19, -107.86], abs=0.05)
    for seen_by in DICHROMATS:
        assert cielab((120, 120, 120), seen_by) == pytest.approx([50.43, 0.0, 0.0], abs=0.05)


@pytest.mark.parametrize("seen_by", DICHROMATS)
def test_any_two_classes_and_ground_truth_stay_apart(seen_by: str) -> None:
    names = (*PALETTE.names, "ground truth")
    seen = [cielab(color, seen_by) for color in (*PALETTE.colors, PALETTE.ground_truth)]
    for (first, a), (second, b) in combinations(zip(names, seen, strict=True), 2):
        assert np.linalg.norm(a - b) >= LEAST_DISTANCE, f"{first} and {second}"


@pytest.mark.parametrize("seen_by", DICHROMATS)
def test_every_class_shows_on_the_dark_ground_of_the_view_from_above(seen_by: str) -> None:
    for name, color in zip(PALETTE.names, PALETTE.colors, strict=True):
        assert cielab(color, seen_by)[0] - cielab(DARK, seen_by)[0] >= LEAST_DISTANCE, name


def test_the_documentation_says_by_how_much() -> None:
    text = (REPOSITORY / "docs" / "seeing.md").read_text(encoding="utf-8")
    assert f"differ by at least {LEAST_DISTANCE:.0f} in CIE 1976" in text


def test_curves_stay_apart_on_white() -> None:
    for seen_by in DICHROMATS:
        nds, mean_ap, white = (cielab(c, seen_by) for c in (*PALETTE.curves.values(), (255, 255, 255)))
        assert min(np.linalg.norm(nds - mean_ap), np.linalg.norm(nds - white), np.linalg.norm(mean_ap - white)) >= 40


def test_labels_and_colours_are_the_files() -> None:
    assert PALETTE.names == CLASS_NAMES
    assert PALETTE.labels[CLASS_NAMES.index("construction_vehicle")] == "constr. vehicle"
    assert PALETTE.colors[CLASS_NAMES.index("pedestrian")] == (169, 47, 247), "BGR of a pink"
    assert load_palette(("bus", "car")).colors == (PALETTE.colors[CLASS_NAMES.index("bus")], PALETTE.colors[0])
    assert find_classes_file() == REPOSITORY / "config" / "classes.yaml"


def test_bags_mark_ground_truth_in_its_colour() -> None:
    """The part that writes bags may not import this one, so its constant is held to the file here."""
    assert tuple(round(255 * share) for share in MARKED_TRUTH[2::-1]) == PALETTE.ground_truth


@pytest.mark.parametrize("part", ["ros", "showcase", "evaluation", "tools", "data"])
def test_no_second_table_names_colours_by_class(part: str) -> None:
    """No dictionary with two classes or more as keys and colours as values."""
    for path in (REPOSITORY / "tggbc_ros" / part).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                texts = [ast.unparse(value) for value in node.values]
                shades = [text for text in texts if re.fullmatch(r"'#\w{6}'|[([]\d+, \d+, \d+[])]", text)]
                assert len(keys & set(CLASS_NAMES)) < 2 or not shades, f"{path.name}:{node.lineno}"


GOOD = "curves: {NDS: [0, 0, 0], mAP: [0, 0, 0]}\nground_truth: [0, 0, 0]\nkept_keys: [0, 0, 0]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "classes: {car: {label: car, color: [1, 2]}}\n" + GOOD,
            r"classes.yaml: colour of car is \[1, 2\], expected",
        ),
        ("classes: {car: {label: car, color: [1, 2, 256]}}\n" + GOOD, r"colour of car is \[1, 2, 256\]"),
        ("classes: {car: {label: car, color: [1, 2, true]}}\n" + GOOD, r"colour of car is \[1, 2, True\]"),
        ("classes: {car: {color: [1, 2, 3]}}\n" + GOOD, "label of car is None, expected ASCII"),
        ("classes: {car: {label: Pkw ä, color: [1, 2, 3]}}\n" + GOOD, "label of car is 'Pkw ä'"),
        ("classes: {truck: {label: car, color: [1, 2, 3]}}\n" + GOOD, "car is None, expected a mapping"),
        ("classes: {car: {label: car, color: [1, 2, 3]}}\n", "curves is None"),
        ("classes: {car: {label: car, color: [1, 2, 3]}}\n" + GOOD.replace("mAP", "map"), "colour of mAP is None"),
        ("- car\n", r"the file is \['car'\], expected a mapping"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    bad = tmp_path / "classes.yaml"
    bad.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_palette(("car",), bad)
