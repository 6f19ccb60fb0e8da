"""The exact program: equal to recorded optima, and to enumeration of whatever structure can be written down."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tggbc_ros.compress import program
from tggbc_ros.compress.linear_model import Outcome
from tggbc_ros.compress.problem import Layer, Problem
from tggbc_ros.compress.problem_files import read_problems
from tggbc_ros.compress.problem_model import ProblemModel

sys.path.insert(0, str(Path(__file__).parent))

from made_problems import resnet50, vovnet99, write_entries  # noqa: E402

Best = tuple[int, int]


def structures(problem: Problem) -> Iterator[tuple[tuple[int, ...], tuple[bool, ...]]]:
    widths = [[problem.fixed[g]] if g in problem.fixed else range(1, n) for g, n in enumerate(problem.choices)]
    for keep in product([True, False], repeat=problem.n_blocks - 1):
        for choice in product(*widths):
            yield choice, (True, *keep)


def enumerated(problem: Problem) -> tuple[Best | None, int]:
    """Importance and latency of the best structure within the budget; the least latency of all."""
    found = [problem.evaluate(choice, keep) for choice, keep in structures(problem)]
    able = [(worth, -cost) for worth, cost in found if cost <= problem.budget]
    best = max(able, default=None)
    return (best[0], -best[1]) if best else None, min(cost for _, cost in found)


def any_problem(seed: int) -> Problem:
    """Layers between any groups in any blocks: shared, concatenated, of their own width, unread, unwritten."""
    rng = np.random.default_rng(seed)
    choices = tuple(int(n) for n in rng.integers(2, 5, size=rng.integers(1, 5)))
    n_blocks = int(rng.integers(1, 4))

    def layer(place: int) -> Layer:
        group = int(rng.integers(len(choices)))
        reads = tuple(int(g) for g in rng.integers(len(choices), size=rng.choice([0, 1, 1, 1, 2, 3])))
        shape = (choices[group], sum(choices[g] - 1 for g in reads) + 1) if reads else (choices[group],)
        worth = np.concatenate([[0], np.cumsum(rng.integers(0, 5, size=choices[group] - 1))])
        block = int(rng.integers(n_blocks))
        return Layer(str(place), group, reads, block, rng.integers(0, 30, shape), worth if rng.random() < 0.8 else None)

    layers = tuple(layer(place) for place in range(int(rng.integers(1, 8))))
    fixed = {0: choices[0] - 1} if rng.random() < 0.5 else {}
    budget = int(rng.integers(0, 20 * len(layers)))
    return Problem(f"seed {seed}", choices, n_blocks, budget, layers, fixed)


class TestRecorded:
    def test_every_tiny_instance_equals_the_enumerated_optimum(self, compress_dir: Path) -> None:
        path = compress_dir / "public_mdp_tiny.json"
        entries = json.loads(path.read_text(encoding="utf-8"))["instances"]
        for place, problem in read_problems(path).items():
            found, optimum = program.solve(problem), entries[place]["optimum"]
            assert found.feasible == optimum["feasible"]
            if found.feasible:
                assert (found.importance, found.latency, found.gap) == (optimum["importance"], optimum["latency"], 0)
                if optimum["n_optima"] == 1:
                    assert found.choice == tuple(optimum["choice"])
                    assert found.keep == tuple(optimum["keep"])

    def test_every_real_instance_equals_the_proven_optimum(self, compress_dir: Path) -> None:
        path = compress_dir / "public_mdp_real.npz"
        with np.load(path) as recorded:
            for prefix, problem in read_problems(path).items():
                found = program.solve(problem)
                latency, importance = recorded[f"{prefix}_optimum_result"]
                assert (found.importance, found.gap) == (importance, 0)
                assert found.latency <= latency <= problem.budget
                assert problem.evaluate(*problem.full())[::-1] == tuple(recorded[f"{prefix}_full"])


class TestEnumeration:
    @pytest.mark.parametrize("large", [0, program.LARGE], ids=["narrowed first", "as it is"])
    @settings(max_examples=150, deadline=None)
    @given(seed=st.integers(0, 2**32))
    def test_any_structure(self, seed: int, large: int) -> None:
        problem = any_problem(seed)
        best, least = enumerated(problem)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, "LARGE", large)
            found = program.solve(problem)
        assert found.feasible == (best is not None)
        if best:
            assert (found.importance, found.latency) == best
            assert found.gap == 0
        else:
            assert found.latency == least > problem.budget
        assert problem.evaluate(found.choice, found.keep) == (found.importance, found.latency)
        untouched = set(range(len(problem.choices))) - problem.touched(found.keep)
        assert {group for group, k in enumerate(found.choice) if k == 0} == untouched

    def test_of_equals_the_fastest(self) -> None:
        layer = Layer("only", 0, (), 0, np.array([0, 5, 3, 4]), np.array([0, 7, 7, 7]))
        assert program.solve(Problem("ties", (4,), 1, 9, (layer,))).choice == (2,)

    def test_a_layer_that_reads_its_own_width_pays_for_that_one(self) -> None:
        """An eSE gate: only the diagonal of its table can be."""
        gate = np.array([[9, 9, 9], [9, 8, 0], [9, 0, 8]])
        layer = Layer("gate", 0, (0,), 0, gate, np.array([0, 1, 2]))
        found = program.solve(Problem("gate", (3,), 1, 8, (layer,)))
        assert (found.choice, found.latency) == ((2,), 8)

    def test_a_neck_that_reads_a_stage_is_paid_for(self) -> None:
        stage = Layer("stage", 0, (), 0, np.array([0, 1, 1]), np.array([0, 1, 5]))
        lateral = Layer("lateral", 1, (0,), 0, np.array([[0, 0, 0], [0, 4, 9]]))
        problem = Problem("neck", (3, 2), 1, 9, (stage, lateral), {1: 1})
        assert program.solve(problem).choice == (1, 1)


class TestWholeEncoders:
    @pytest.mark.parametrize("make", [resnet50, vovnet99])
    def test_solved_and_within_budget(self, make: Any, tmp_path: Path) -> None:
        path = write_entries(tmp_path / "made.json", [make(1, 64, 0.5)])
        found = program.solve(read_problems(path)[0], gap=1e-3)
        assert found.feasible
        assert found.gap is not None
        assert found.gap <= 1e-3

    def test_time_limit_leaves_a_structure_and_an_honest_gap(self, tmp_path: Path) -> None:
        problem = read_problems(write_entries(tmp_path / "made.json", [vovnet99(1, 64, 0.5)]))[0]
        best = program.solve(problem, gap=1e-4)
        hurried = program.solve(problem, seconds=0.2)
        assert hurried.feasible
        assert hurried.gap is not None
        assert best.importance <= hurried.importance * (1 + hurried.gap) * (1 + 1e-4)


class TestSolverIsNotBelieved:
    @pytest.fixture
    def problem(self) -> Problem:
        layer = Layer("only", 0, (), 0, np.array([0, 3, 5]), np.array([0, 1, 2]))
        return Problem("one", (3,), 1, 4, (layer,))

    @pytest.mark.parametrize(
        ("values", "message"),
        [([0.0, 1.0], "overspent by its tolerance: 5 of 4"), ([0.0, 0.4], "says importance 0.8, the tables 2")],
    )
    def test_answers_are_checked_against_the_tables(
        self, problem: Problem, monkeypatch: pytest.MonkeyPatch, values: Sequence[float], message: str
    ) -> None:
        monkeypatch.setattr(ProblemModel, "minimise", lambda *_: Outcome(np.array(values), -2.0, True))
        with pytest.raises(ArithmeticError, match=message):
            program.solve(problem)


class TestCommand:
    def test_writes_an_entry_an_instance_of_all_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        layer = {"group": 0, "pre": -1, "block": 0, "lat": [0, 3, 5], "imp": [0, 1, 2]}
        one = {"choices": [3], "n_blocks": 2, "budget": 4, "layers": [layer], "fixed": {}}
        files = [write_entries(tmp_path / name, [one, {**one, "budget": 2}]) for name in ("a.json", "b.json")]
        out = tmp_path / "out.json"
        assert program.main([*map(str, files), "--json", str(out)]) == 0
        first, second, *rest = json.loads(out.read_text(encoding="utf-8"))
        assert first.pop("seconds") >= 0
        assert first == {
            "file": str(files[0]),
            "instance": 0,
            "feasible": True,
            "importance": 1,
            "latency": 3,
            "choice": [1],
            "keep": [1, 0],
            "gap": 0,
        }
        assert second["feasible"] is False
        assert second["instance"] == 1
        assert [entry["file"] for entry in rest] == [str(files[1])] * 2
        printed = capsys.readouterr().err.splitlines()
        assert printed[0] == f"{files[0]} instance 1: budget 2 us cannot be met, the least reachable is 3 us"

    def test_ctrl_c_ends_it_at_once_and_leaves_what_was_solved(self, tmp_path: Path) -> None:
        quick = write_entries(tmp_path / "quick.json", [resnet50(1, 64, 0.5)])
        slow = write_entries(tmp_path / "slow.json", [vovnet99(1, 16, 0.4)])
        out = tmp_path / "out.json"
        command = [sys.executable, "-m", program.__name__, str(quick), str(slow), "--json", str(out)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            while "quick.json" not in child.stdout.readline():  # HiGHS may say something, too
                assert child.poll() is None
            time.sleep(1)
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=90)  # HiGHS looks up between two steps, which a busy machine spreads
        assert child.returncode == 130
        assert errors == f"program: interrupted; {out} holds what was solved before\n"
        assert len(json.loads(out.read_text(encoding="utf-8"))) == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"budget": float("nan")}, "budget is nan, expected whole numbers"),
            ({"budget": -1}, "budget is -1, expected 0 to"),
            ({"budget": 10**30}, "budget is 1000"),
            ({"choices": [1]}, "group 0 has 1 choices, expected at least 2"),
            ({"choices": "many"}, "choices is 'many', expected whole numbers"),
            ({"n_blocks": 0}, "n_blocks is 0, expected at least 1"),
            ({"layers": []}, "no layers"),
            ({"fixed": {"4": 1}}, "fixed names group 4"),
            ({"fixed": {"stem": 1}}, "fixed has the key 'stem'"),
            ({"fixed": {"0": 0}}, "group 0 is fixed to choice 0, expected 1 to 2"),
            ({"layers": None}, "NoneType"),
            ({"layer": {"group": 1}}, "layer conv names group 1"),
            ({"layer": {"block": 1}}, "layer conv is in block 1, expected 0 to 0"),
            ({"layer": {"lat": [0, 3]}}, "layer conv: latency has shape [2], expected [3]"),
            ({"layer": {"lat": [0, 3.5, 4]}}, "layer 0: lat is [0, 3.5, 4], expected whole numbers"),
            ({"layer": {"lat": [0, -3, 4]}}, "layer conv: latency holds -3"),
            ({"layer": {"lat": [[0], [1, 2]]}}, "layer 0: lat"),
            ({"layer": {"imp": [0, float("nan"), 1]}}, "layer 0: imp is [0, nan, 1]"),
            ({"layer": {"imp": [0, 1]}}, "layer conv: importance has shape [2]"),
            ({"layer": {"pre": 0}}, "latency has shape [3], expected [3, 3]"),
            ({"layer": {"pre": [0, -2]}}, "layer conv names group -2"),
        ],
    )
    def test_bad_instances_are_named_in_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
    ) -> None:
        layer = {"name": "conv", "group": 0, "pre": -1, "block": 0, "lat": [0, 3, 5], "imp": [0, 1, 2]}
        layer |= change.pop("layer", {})
        entry = {"choices": [3], "n_blocks": 1, "budget": 4, "layers": [layer], "fixed": {}} | change
        path = write_entries(tmp_path / "bad.json", [entry])
        assert program.main([str(path), "--json", str(tmp_path / "out.json")]) == 1
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert f"{path} instance 0" in printed
        assert message in printed

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("no.json", b"{", "is no JSON file"),
            ("list.json", b"[]", "has no list 'instances'"),
            ("entry.json", b'{"instances": [7]}', "instance 0"),
            ("lacking.json", b'{"instances": [{}]}', "instance 0: no 'choices'"),
            ("no.npz", b"PK", "is no NPZ file"),
        ],
    )
    def test_broken_files_are_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        assert program.main([str(path), "--json", str(tmp_path / "out.json")]) == 1
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert message in printed

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"i00_lat_flat": np.arange(2)}, "lat_flat has shape [2], expected [3]"),
            ({"i00_layer_pre": np.array([-1, 0])}, "expected the 1 layers"),
            ({"i00_imp_flat": np.array([0.0, np.inf, 1.0])}, "imp_flat is array([ 0., inf, 1.])"),
            ({"i00_budget": np.array([1, 2])}, "budget is array([1, 2]), expected one whole number"),
        ],
    )
    def test_bad_arrays_are_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
    ) -> None:
        arrays = {
            "i00_choices": [3],
            "i00_n_blocks": 1,
            "i00_budget": 4,
            "i00_fixed": [0, 2],
            "i00_layer_group": [0],
            "i00_layer_pre": [-1],
            "i00_layer_block": [0],
            "i00_lat_shape": [[3, 1]],
            "i00_lat_flat": [0, 3, 5],
            "i00_imp_len": [3],
            "i00_imp_flat": [0, 1, 2],
        }
        path = tmp_path / "bad.npz"
        np.savez(path, **(arrays | change))
        assert program.main([str(path), "--json", str(tmp_path / "out.json")]) == 1
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert f"{path} instance i00" in printed
        assert message in printed
