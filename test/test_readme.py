"""README and docs/parameters.md name what is there, with the defaults that are there; README opens with a film."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from tggbc_ros.ros.params import Settings
from tggbc_ros.tools import parameters

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
FIELDS = {item.name: item for item in dataclasses.fields(Settings)}
MAX_PICTURE_BYTES = 1_500_000
SHOWN_IN_README = range(10, 21)


def rows(text: str) -> dict[str, list[str]]:
    """Parameter -> the cells of its line in a table."""
    cells = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    named = {line[0].strip("|* `"): [cell.removesuffix(" |") for cell in line[1:]] for line in cells}
    return {name: found for name, found in named.items() if name in FIELDS}


@pytest.mark.parametrize("item", FIELDS.values(), ids=FIELDS)
def test_every_parameter_is_on_its_page(item: dataclasses.Field) -> None:
    found = rows(PAGE)[item.name]
    assert found[0] == parameters.default(item)
    assert (found[2] == "live") == item.metadata["live"]
    assert found[3] == parameters.description(item)


def test_the_page_is_what_its_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """`./run python -m tggbc_ros.tools.parameters > docs/parameters.md` makes them equal again."""
    assert parameters.main([]) == 0
    assert capsys.readouterr().out == PAGE


def test_nothing_on_the_page_is_taken_for_html() -> None:
    assert "<" not in PAGE.replace("\\<", "")


def test_the_readme_has_those_that_people_turn_as_they_are() -> None:
    found = rows(README)
    assert len(found) in SHOWN_IN_README
    for name, cells in found.items():
        assert cells[0] == parameters.default(FIELDS[name]), name
        assert cells[1] == parameters.description(FIELDS[name]), name
        assert (f"**`{name}`**" in README) == FIELDS[name].metadata["live"], name


def test_the_readme_opens_with_a_film_of_the_demo_and_the_two_commands() -> None:
    pictures = list(re.finditer(r"!\[[^\]]+\]\(([^)]+)\)", README))
    commands = [README.index(command) for command in ("make demo", "make test", "ros2 launch")]
    assert pictures[0].start() < commands[0] < commands[1] < commands[2]
    path = ROOT / pictures[0][1]
    assert path.stat().st_size <= MAX_PICTURE_BYTES
    with Image.open(path) as film:
        assert getattr(film, "n_frames", 1) > 1
        assert film.width <= 900, "no wider than the page, or its text shrinks"


def test_what_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
