"""Exact allocation of sparsity: equal to recorded enumerations, and what is wrong in a file named in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tggbc_ros.compress import allocation
from tggbc_ros.compress.allocation import BudgetError, allocate
from tggbc_ros.compress.curves import read_curves

CASE = {
    "phi": [[0.0, 0.5, 1.0], [0.0, 1.0]],
    "distortion": [[0.0, 0.25, 0.5], [0.0, 0.75]],
    "kept_weights": [[10, 5, 0], [4, 0]],
    "kept_macs": [[100, 50, 0], [80, 0]],
    "min_index": [0, 0],
    "weights": {"budget": 9},
    "macs": {"budget": 95},
}


def write(path: Path, *cases: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"cases": cases}), encoding="utf-8")
    return path


class TestRecorded:
    def test_every_case_equals_the_enumerated_optimum(self, compress_dir: Path) -> None:
        path = compress_dir / "public_rd_alloc.json"
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        for case, curves in zip(cases, read_curves(path), strict=True):
            for of in ("weights", "macs"):
                found = allocate(curves, of, case[of]["budget"])
                assert found.distortion == pytest.approx(case[of]["best_distortion"], abs=1e-8)
                assert (found.index, found.used) == (tuple(case[of]["best_index"]), case[of]["used"])


class TestAllocate:
    def test_earlier_pruning_is_not_undone(self, tmp_path: Path) -> None:
        free, bound = read_curves(write(tmp_path / "a.json", CASE, CASE | {"min_index": [2, 0]}))
        assert allocate(free, "weights", 9).index == (1, 0)
        assert allocate(bound, "weights", 9).index == (2, 0)

    @pytest.mark.parametrize("of", ["bytes", "latency"])
    def test_anything_that_adds_up_can_be_the_budget(self, tmp_path: Path, of: str) -> None:
        case = CASE | {f"kept_{of}": [[8, 7, 6], [9, 1]], of: {"budget": 9}}
        curves = read_curves(write(tmp_path / "a.json", case))[0]
        assert allocate(curves, of, curves.budgets[of]).index == (0, 1)

    def test_a_budget_of_nothing_prunes_everything(self, tmp_path: Path) -> None:
        found = allocate(read_curves(write(tmp_path / "a.json", CASE))[0], "macs", 0)
        assert (found.index, found.used, found.distortion) == ((2, 1), 0, 1.25)

    def test_a_budget_below_the_sparsest_is_named_with_the_least(self, tmp_path: Path) -> None:
        curves = read_curves(write(tmp_path / "a.json", CASE | {"kept_weights": [[10, 5, 3], [4, 1]]}))[0]
        with pytest.raises(BudgetError, match="case 0: budget of 3 weights cannot be met, the least reachable is 4"):
            allocate(curves, "weights", 3)


class TestCommand:
    def test_writes_both_budgets_of_all_cases(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        beyond = CASE | {"kept_weights": [[10, 5, 5], [4, 4]], "weights": {"budget": 8}}
        path, out = write(tmp_path / "a.json", CASE, beyond), tmp_path / "out.json"
        assert allocation.main([str(path), "--json", str(out)]) == 0
        entries = json.loads(out.read_text(encoding="utf-8"))
        assert [(entry["case"], entry["budget_of"]) for entry in entries] == [
            (0, "weights"),
            (0, "macs"),
            (1, "weights"),
            (1, "macs"),
        ]
        assert entries[0].pop("seconds") >= 0
        assert entries[0] == {
            "file": str(path),
            "case": 0,
            "budget_of": "weights",
            "distortion": 0.25,
            "index": [1, 0],
            "used": 9,
        }
        assert entries[2]["index"] is entries[2]["distortion"] is entries[2]["used"] is None
        assert "case 1: budget of 8 weights cannot be met, the least reachable is 9" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"distortion": [[0.0, float("nan"), 0.5], [0.0, 1.0]]}, "distortion of layer 0 is [0.0, nan, 0.5]"),
            ({"distortion": [[0.0, -0.1, 0.5], [0.0, 1.0]]}, "expected finite numbers of at least 0"),
            ({"distortion": []}, "no layers"),
            ({"distortion": 1}, "distortion is 1, expected a list"),
            ({"distortion": [[0.0, 0.5], [0.0, 1.0]]}, "layer 0: phi has shape [3], expected [2]"),
            ({"kept_weights": [[10, 5, 0]]}, "weights has 1 layers, distortion 2"),
            ({"kept_weights": [[10, 5.5, 0], [4, 0]]}, "kept_weights of layer 0 is [10, 5.5, 0]"),
            ({"kept_weights": [[10, 5, -1], [4, 0]]}, "layer 0: kept weights holds -1"),
            ({"min_index": [3, 0]}, "layer 0: min_index is 3, expected 0 to 2"),
            ({"min_index": [0]}, "min_index has 1 layers"),
            ({"phi": [[0.0, 0.5, 1.5], [0.0, 1.0]]}, "layer 0: phi holds 1.5, expected 0 to 1"),
            ({"weights": {"budget": float("inf")}}, "budget of weights is inf"),
            ({"weights": {"budget": -1}}, "budget of weights is -1, expected at least 0"),
            ({"macs": {}}, "no 'budget'"),
            ({"macs": 7}, "case 0"),
        ],
    )
    def test_bad_cases_are_named_in_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
    ) -> None:
        path = write(tmp_path / "bad.json", CASE | change)
        assert allocation.main([str(path), "--json", str(tmp_path / "out.json")]) == 1
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert f"{path} case 0" in printed
        assert message in printed

    def test_no_budget_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        case = {key: value for key, value in CASE.items() if key not in ("weights", "macs")}
        assert allocation.main([str(write(tmp_path / "a.json", case)), "--json", str(tmp_path / "out.json")]) == 1
        assert "no budget, expected one of weights, macs, bytes, latency" in capsys.readouterr().err

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "nowhere" / "out.json"
        assert allocation.main([str(write(tmp_path / "a.json", CASE)), "--json", str(out)]) == 1
        assert "No such file or directory" in capsys.readouterr().err
