"""DM3D's allocation, exact: how sparse each layer becomes, so that the output is distorted least within a budget.

``python -m tggbc_ros.compress.allocation FILE... --json OUT``: FILE is JSON as `curves` reads it. OUT is a list with an
entry for each budget of each case: file, case, budget_of, distortion, index (a candidate a layer), used, seconds.
Distortions of layers add up (DM3D, arXiv 2407.02098, takes that rule from its predecessor).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tggbc_ros.compress.curves import Curves, read_curves
from tggbc_ros.compress.knapsack import Knapsack
from tggbc_ros.compress.values import write_list


class BudgetError(ValueError):
    """A budget that even the sparsest candidates exceed."""


@dataclass(frozen=True)
class Allocation:
    """A candidate for each layer [L]; the summed distortion, and how much of the budget is used."""

    index: tuple[int, ...]
    distortion: float
    used: int


def allocate(curves: Curves, of: str, budget: int) -> Allocation:
    """The least distortion at a budget of ``of`` ("weights", "macs", ...).

    Of equally good ones the one that prunes the first layer least, then the second, and so on (as far as `Knapsack`
    says). Raises BudgetError naming the least reachable.
    """
    kept = [row[first:] for row, first in zip(curves.kept[of], curves.first, strict=True)]
    losses = [row[first:] for row, first in zip(curves.distortion, curves.first, strict=True)]
    knapsack = Knapsack(kept, losses)
    picked = knapsack.solve(budget)
    if picked is None:
        raise BudgetError(
            f"{curves.name}: budget of {budget} {of} cannot be met, the least reachable is {knapsack.least_cost}"
        )
    return allocation(curves, of, [i + first for i, first in zip(picked, curves.first, strict=True)])


def allocation(curves: Curves, of: str, index: Sequence[int]) -> Allocation:
    """What candidates amount to."""
    distortion = sum(float(row[i]) for row, i in zip(curves.distortion, index, strict=True))
    return Allocation(tuple(index), distortion, sum(int(row[i]) for row, i in zip(curves.kept[of], index, strict=True)))


def _entry(path: Path, case: int, of: str, found: Allocation | None, seconds: float) -> dict[str, Any]:
    return {
        "file": str(path),
        "case": case,
        "budget_of": of,
        "distortion": found.distortion if found else None,
        "index": list(found.index) if found else None,
        "used": found.used if found else None,
        "seconds": round(seconds, 3),
    }


def _allocated(curves: Curves, of: str) -> Allocation | None:
    """One line about it, on standard error if the budget cannot be met."""
    budget = curves.budgets[of]
    try:
        found = allocate(curves, of, budget)
    except BudgetError as error:
        print(error, file=sys.stderr)
        return None
    print(f"{curves.name}: distortion {found.distortion:.9g}, {found.used} of {budget} {of}")
    return found


def _run(files: Sequence[Path], out: Path) -> None:
    cases = [(path, case, curves) for path in files for case, curves in enumerate(read_curves(path))]
    entries: list[dict[str, Any]] = []
    for path, case, curves in cases:
        for of in curves.budgets:
            started = time.perf_counter()
            found = _allocated(curves, of)
            entries.append(_entry(path, case, of, found, time.perf_counter() - started))
        write_list(out, entries)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.compress.allocation", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JSON with cases")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="JSON file, written after each case")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Solve files; exit status 1 and one line on standard error if one is broken. No budget too small is a failure."""
    given = _parser().parse_args(arguments)
    try:
        _run(given.files, given.json)
    except (OSError, ValueError, ArithmeticError) as error:
        print(f"allocation: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"allocation: interrupted; {given.json} holds what was solved before", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
