"""A CSV of what a run did."""

from __future__ import annotations

import csv
from pathlib import Path


class CsvLog:
    """Appends rows to a CSV file; columns are those of the first row, and one that comes later is an error.

    ``keep_until``: rows of that step and later, which a resumed run is going to write again, are dropped.
    """

    def __init__(self, path: Path, keep_until: int) -> None:
        self.path = path
        rows = _rows(path)
        self._columns = list(rows[0]) if rows else None
        kept = [row for row in rows if int(row["step"]) < keep_until]
        with path.open("w", newline="", encoding="utf-8") as file:
            if self._columns:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(kept)

    def write(self, row: dict[str, float]) -> None:
        """One row; a column that the first row had and this one lacks stays empty."""
        first = self._columns is None
        self._columns = self._columns or list(row)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            if first:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
