"""The README names what is there, with the defaults that are there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tggbc_ros.ros.params import Settings

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
ROWS = {line.split("|")[1].strip(" *`"): line for line in README.splitlines() if line.startswith("| ")}


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_parameter_is_in_the_table(field: dataclasses.Field) -> None:
    row = ROWS[field.name]
    assert field.metadata["description"] in row
    assert ("**" in row) == field.metadata["live"]
    if isinstance(field.default, int | float) and not isinstance(field.default, bool):
        assert f"| `{field.default}` |" in row
