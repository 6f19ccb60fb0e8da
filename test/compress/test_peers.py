"""What the exact program is measured against: same tables, never better, and honest about it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.compress import program
from tggbc_ros.compress.peers import PEERS, greedy, halp, uniform
from tggbc_ros.compress.problem import Layer, Problem, Solution
from tggbc_ros.compress.problem_files import read_problems

sys.path.insert(0, str(Path(__file__).parent))

from made_problems import resnet50, write_entries  # noqa: E402


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return read_problems(write_entries(tmp_path_factory.mktemp("made") / "made.json", [resnet50(2, 64, 0.5)]))[0]


@pytest.fixture(scope="module")
def best(encoder: Problem) -> Solution:
    return program.solve(encoder)


def chain(budget: int) -> Problem:
    """Two layers of three steps; the second's importance is worth more for its time."""
    first = Layer("first", 0, (), 0, np.array([0, 10, 20, 30]), np.array([0, 1, 2, 3]))
    table = np.zeros((4, 4), np.int64)
    table[1:, 1:] = np.multiply.outer([1, 2, 3], [1, 2, 3])
    second = Layer("second", 1, (0,), 0, table, np.array([0, 5, 9, 12]))
    return Problem("chain", (4, 4), 1, budget, (first, second))


@pytest.mark.parametrize("name", PEERS)
class TestAll:
    def test_within_budget_and_no_better_than_the_exact_one(self, encoder: Problem, best: Solution, name: str) -> None:
        found = PEERS[name](encoder)
        assert found.feasible
        assert 0.5 * best.importance < found.importance <= best.importance
        assert found.gap is None
        assert encoder.evaluate(found.choice, found.keep) == (found.importance, found.latency)
        assert all(found.choice[group] == only for group, only in encoder.fixed.items())

    def test_a_loose_budget_keeps_everything(self, name: str) -> None:
        assert PEERS[name](chain(39)).choice == (3, 3)

    def test_what_cannot_be_met_is_not_feasible(self, name: str) -> None:
        found = PEERS[name](chain(10))
        assert not found.feasible
        assert found.choice == (1, 1)
        assert found.latency == 11


class TestEach:
    def test_uniform_takes_the_same_share_of_all(self) -> None:
        assert uniform(chain(38)).choice == (2, 2)

    def test_greedy_gives_up_what_is_worth_least_for_its_time(self) -> None:
        assert greedy(chain(26)).choice == (2, 3)

    def test_greedy_can_drop_a_block(self) -> None:
        stays = Layer("stays", 0, (), 0, np.array([0, 10]), np.array([0, 5]))
        goes = Layer("goes", 0, (0,), 1, np.array([[0, 0], [0, 10]]), np.array([0, 5]))
        assert greedy(Problem("block", (2,), 2, 15, (stays, goes))).keep == (True, False)

    def test_halp_never_drops_a_block(self, encoder: Problem) -> None:
        assert all(halp(encoder).keep)
