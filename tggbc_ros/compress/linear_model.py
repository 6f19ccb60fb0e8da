"""A mixed-integer linear program, put together row by row and handed to HiGHS through SciPy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.intp]

OPTIMAL, LIMIT, INFEASIBLE = 0, 1, 2
"""SciPy's names for how a solve ended."""


@dataclass(frozen=True)
class Outcome:
    """How a solve ended: values [n] or None, and the proven bound that no solution's objective is below."""

    values: Floats | None
    bound: float
    proven: bool


@dataclass(frozen=True)
class Relaxation:
    """A bound that no solution's objective is below, and by how much a variable at 1 raises it [n] (if above 0)."""

    bound: float
    reduced_costs: Floats


class LinearModel:
    """Minimise a linear objective; every variable lies in [0, upper]."""

    def __init__(self) -> None:
        self._upper: list[Floats] = []
        self._integer: list[npt.NDArray[np.int8]] = []
        self._entries: list[tuple[Columns, Columns, Floats]] = []  # row, column, coefficient
        self._lower_sides: list[Floats] = []
        self._upper_sides: list[Floats] = []
        self.n_variables = 0
        self.n_rows = 0

    def variables(self, count: int, integer: bool = False, upper: float = 1.0) -> Columns:
        """New variables: their columns [count]."""
        self._upper.append(np.full(count, upper))
        self._integer.append(np.full(count, integer, np.int8))
        self.n_variables += count
        return np.arange(self.n_variables - count, self.n_variables)

    def rows(self, lower: npt.ArrayLike, upper: npt.ArrayLike, count: int) -> Columns:
        """New rows ``lower <= row <= upper`` without entries as yet: their indices [count]."""
        self._lower_sides.append(np.broadcast_to(np.asarray(lower, np.float64), count))
        self._upper_sides.append(np.broadcast_to(np.asarray(upper, np.float64), count))
        self.n_rows += count
        return np.arange(self.n_rows - count, self.n_rows)

    def add(self, rows: npt.ArrayLike, columns: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Entries of rows; the three are broadcast against each other, entries at one place add up."""
        row, column, value = np.broadcast_arrays(rows, columns, np.asarray(values, np.float64))
        self._entries.append((row.ravel(), column.ravel(), value.ravel()))

    def minimise(self, objective: Floats, seconds: float, gap: float) -> Outcome:
        """Solve within a time limit, until bound and solution differ by no more than the share ``gap``.

        Ctrl-C ends it at once. Raises ArithmeticError where HiGHS gives up.
        """
        sides = LinearConstraint(self._matrix(), *self._sides())
        found = _on_a_thread(
            lambda: milp(
                objective,
                integrality=np.concatenate(self._integer),
                bounds=Bounds(0.0, np.concatenate(self._upper)),
                constraints=sides,
                options={"time_limit": seconds, "mip_rel_gap": gap},
            )
        )
        if found.status == INFEASIBLE:
            return Outcome(None, float("inf"), True)
        if found.status not in (OPTIMAL, LIMIT):
            raise ArithmeticError(f"HiGHS gave up: {found.message}")
        bound = -float("inf") if found.mip_dual_bound is None else float(found.mip_dual_bound)
        return Outcome(found.x, bound, found.status == OPTIMAL)

    def relax(self, objective: Floats, seconds: float) -> Relaxation | None:
        """What the program without its integers proves; None where it takes longer or has no solution."""
        matrix, (lower, upper) = self._matrix(), self._sides()
        equal = lower == upper
        if np.isfinite(lower[~equal]).any():
            raise ValueError("a row with a lower side only, expected equations and upper sides")
        most = np.concatenate(self._upper)
        found = _on_a_thread(
            lambda: linprog(
                objective,
                A_ub=matrix[~equal],
                b_ub=upper[~equal],
                A_eq=matrix[equal],
                b_eq=upper[equal],
                bounds=np.stack([np.zeros_like(most), most], axis=1),
                method="highs-ipm",
                options={"time_limit": seconds},
            )
        )
        if found.status != OPTIMAL:
            return None
        prices = np.empty(self.n_rows)
        prices[equal] = found.eqlin.marginals
        prices[~equal] = np.minimum(found.ineqlin.marginals, 0)  # any such prices prove a bound, exact ones or not
        reduced = objective - matrix.T @ prices
        return Relaxation(float(prices @ upper + np.minimum(reduced, 0) @ most), reduced)

    def _matrix(self) -> csr_array:
        row, column, value = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        return csr_array((value, (row, column)), shape=(self.n_rows, self.n_variables))

    def _sides(self) -> tuple[Floats, Floats]:
        return np.concatenate(self._lower_sides), np.concatenate(self._upper_sides)


def _on_a_thread(solve: Callable[[], Any]) -> Any:
    """What a call gives. HiGHS hears no signals: only a thread that waits for it is free to be interrupted."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(solve())
        except BaseException as error:  # whoever waits gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result()
