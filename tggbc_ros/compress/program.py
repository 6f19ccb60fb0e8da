"""MDP's program solved exactly by HiGHS: ``python -m tggbc_ros.compress.program FILE... --json OUT``.

FILE is JSON or NPZ as `problem_files` reads it. OUT is a list with an entry for each instance: file, instance,
feasible, importance, latency (microseconds), choice, keep, gap, seconds.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.compress.linear_model import Floats, Relaxation
from tggbc_ros.compress.peers import PEERS
from tggbc_ros.compress.problem import Integers, Problem, Solution, solution
from tggbc_ros.compress.problem_files import read_problems
from tggbc_ros.compress.problem_model import ProblemModel
from tggbc_ros.compress.values import write_list

SECONDS = 150.0
LARGE = 10_000
"""With more variables it pays to solve the program without its integers first, which leaves fewer choices."""
HOPE = 0.15
"""Of the way from the bound to the best peer: so near to the bound the optimum is hoped to be."""
TIE = 0.5
"""What all of a budget's latency is worth: less than the least step of importance."""
ROUNDING = 1e-10
"""Share of a bound that rounding may take."""


def solve(problem: Problem, gap: float = 0.0, seconds: float = SECONDS) -> Solution:
    """The most important structure within the budget, and of equally important ones the one with the least latency.

    Stops early where the importance is proven to be within the share ``gap`` of the best one, or at the time limit,
    where a peer's structure is taken if it is better; the solution says what is proven. Where the budget cannot be
    met, it is the structure with the least latency.
    Raises ArithmeticError where nothing is found in time, or the solver contradicts the tables.
    """
    started = time.perf_counter()
    model = _model(problem, allowed_choices(problem))
    bound, answers = -math.inf, list[Solution]()
    stages: Iterable[tuple[ProblemModel, float]] = [(model, math.inf)]
    if model.n_variables > LARGE:
        answers = [answer for answer in (peer(problem) for peer in PEERS.values()) if answer.feasible]
        relaxed = model.relax(_objective(problem, model), 0.9 * seconds)
        if relaxed is not None:
            bound = relaxed.bound
        if relaxed is not None and answers:
            stages = _narrowed(problem, model, relaxed, answers)
    for narrow, reach in stages:
        left = seconds - (time.perf_counter() - started)
        if answers and (left < 1 or (gap > 0 and _gap(problem, _most_important(answers), bound) <= gap)):
            break
        found = narrow.minimise(_objective(problem, narrow), max(left, 1.0), gap)
        bound = max(bound, min(found.bound, reach))
        if found.values is not None:
            answers.append(_within_budget(problem, narrow, found.values, started))
        elif found.proven and not answers:
            return _fastest(problem, started, seconds)
        if found.proven and _value(problem, _most_important(answers)) <= reach:
            break
    best = _most_important(answers) if answers else least_latency(problem, seconds)
    proven = _gap(problem, best, bound) if best.feasible else None
    return replace(best, gap=proven, seconds=time.perf_counter() - started)


def _most_important(answers: Sequence[Solution]) -> Solution:
    return max(answers, key=lambda answer: (answer.importance, -answer.latency))


def _model(problem: Problem, allowed: Sequence[Integers]) -> ProblemModel:
    model = ProblemModel(problem, allowed)
    model.limit_latency(problem.budget)
    return model


def _objective(problem: Problem, model: ProblemModel) -> Floats:
    """To be minimised. Importance is whole, so less than half of one for the latency decides only between equals."""
    return TIE / (problem.budget + 1) * model.latency - model.importance


def _value(problem: Problem, answer: Solution) -> float:
    """The objective of an answer."""
    return TIE / (problem.budget + 1) * answer.latency - answer.importance


def _narrowed(
    problem: Problem, model: ProblemModel, relaxed: Relaxation, answers: list[Solution]
) -> Iterator[tuple[ProblemModel, float]]:
    """Models with fewer choices, each with the objective up to which it has everything.

    The first hopes that the optimum is near the bound, which is so as a rule; the second has all that is as good as
    the best of the answers, to which the first may have added.
    """
    for share in (HOPE, 1.0):
        reach = TIE - _most_important(answers).importance + ROUNDING * (1 + abs(relaxed.bound))
        reach = relaxed.bound + share * max(0.0, reach - relaxed.bound)
        yield _model(problem, model.narrowed(relaxed, reach)), reach


def least_latency(problem: Problem, seconds: float = SECONDS) -> Solution:
    """The structure with the least latency; raises ArithmeticError where none is proven to be it in time."""
    started = time.perf_counter()
    model = ProblemModel(problem, allowed_choices(problem))
    found = model.minimise(model.latency, seconds, 0.0)
    if found.values is None or not found.proven:
        raise ArithmeticError(f"{problem.name}: the least reachable latency is not proven within {seconds:g} s")
    return _decoded(problem, model, found.values, started)


def allowed_choices(problem: Problem) -> list[Integers]:
    """[G]: the choices that each group may take."""
    return [
        np.array([problem.fixed[group]], np.int64) if group in problem.fixed else np.arange(1, count, dtype=np.int64)
        for group, count in enumerate(problem.choices)
    ]


def _gap(problem: Problem, best: Solution, bound: float) -> float:
    """By what share of its importance a structure can be better, if no objective is below the bound."""
    most = problem.most_importance()
    if math.isfinite(bound):
        most = min(most, math.floor(TIE + ROUNDING * (1 + abs(bound)) - bound))
    return max(0.0, (most - best.importance) / max(best.importance, 1))


def _fastest(problem: Problem, started: float, seconds: float) -> Solution:
    """The answer where the budget cannot be met."""
    fastest = least_latency(problem, seconds)
    if fastest.feasible:
        raise ArithmeticError(f"{problem.name}: HiGHS finds no structure, but {fastest.latency} us can be reached")
    return replace(fastest, seconds=time.perf_counter() - started)


def _within_budget(problem: Problem, model: ProblemModel, values: Floats, started: float) -> Solution:
    best = _decoded(problem, model, values, started)
    if not best.feasible:
        raise ArithmeticError(f"{problem.name}: HiGHS overspent by its tolerance: {best.latency} of {problem.budget}")
    return best


def _decoded(problem: Problem, model: ProblemModel, values: Floats, started: float) -> Solution:
    """The structure that the variables say; checked against the tables, which know nothing of tolerances."""
    keep = [True] + [False] * (problem.n_blocks - 1)
    for block, column in model.keep.items():
        keep[block] = bool(values[column] > 0.5)
    choice = [0] * len(problem.choices)
    for group, columns in model.choice.items():
        if len(columns):
            choice[group] = int(model.allowed[group][np.argmax(values[columns])])
    found = solution(problem, choice, keep, started)
    for what, objective, exact in (
        ("importance", model.importance, found.importance),
        ("latency", model.latency, found.latency),
    ):
        said = float(objective @ values)
        if abs(said - exact) > 0.5 + 1e-6 * exact:
            raise ArithmeticError(f"{problem.name}: HiGHS says {what} {said:.1f}, the tables {exact}")
    return found


def _entry(path: Path, instance: int | str, found: Solution) -> dict[str, Any]:
    answer = {
        "importance": found.importance,
        "latency": found.latency,
        "choice": list(found.choice),
        "keep": [int(kept) for kept in found.keep],
        "gap": found.gap,
    }
    if not found.feasible:
        answer = dict.fromkeys(answer)
    return {
        "file": str(path),
        "instance": instance,
        "feasible": found.feasible,
        **answer,
        "seconds": round(found.seconds, 3),
    }


def _line(problem: Problem, found: Solution) -> str:
    if not found.feasible:
        return f"{problem.name}: budget {problem.budget} us cannot be met, the least reachable is {found.latency} us"
    proven = "" if found.gap is None else f", gap {found.gap:.2g}"
    return (
        f"{problem.name}: importance {found.importance}, {found.latency} of {problem.budget} us{proven}, "
        f"{found.seconds:.1f} s"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.compress.program", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JSON or NPZ with problems")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="JSON file, written after each problem")
    parser.add_argument("--method", choices=("mdp", *PEERS), default="mdp", help="default: mdp, the exact one")
    parser.add_argument("--gap", type=float, default=0.0, metavar="SHARE", help="mdp: good enough; default 0")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="mdp: time limit of a problem; default 150")
    return parser


def _run(given: argparse.Namespace) -> None:
    if not (0 <= given.gap < math.inf and 0 < given.seconds < math.inf):
        raise ValueError(f"gap {given.gap}, seconds {given.seconds}: expected at least 0, and more than 0")
    methods = {"mdp": lambda problem: solve(problem, given.gap, given.seconds), **PEERS}
    problems = [(path, *item) for path in given.files for item in read_problems(path).items()]
    entries: list[dict[str, Any]] = []
    for path, instance, problem in problems:
        found = methods[given.method](problem)
        entries.append(_entry(path, instance, found))
        write_list(given.json, entries)
        print(_line(problem, found), file=sys.stdout if found.feasible else sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Solve files; exit status 1 and one line on standard error if one is broken. No budget too small is a failure."""
    given = _parser().parse_args(arguments)
    try:
        _run(given)
    except (OSError, ValueError, ArithmeticError) as error:
        print(f"program: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"program: interrupted; {given.json} holds what was solved before", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
