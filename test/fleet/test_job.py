"""The network of all workers, and names and prints of bags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tggbc_ros.backends import weights_file
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.config import MODELS
from tggbc_ros.fleet.job import Engine, names_of, print_of

ENGINE = Engine("demo", None, sha256(weights_file(MODELS["demo"], None)), "torch", "cpu", 1, (1.0, 0.3))


def test_a_worker_loads_the_weights_that_were_meant_and_no_others() -> None:
    assert ENGINE.load().model.name == "demo"
    with pytest.raises(ValueError, match=r"demo_model.safetensors of this worker is sha256:\w{16}, expected 0000"):
        replace(ENGINE, weights="0" * 64).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_ratios": (0.0,)}, "keep_ratio is 0.0"),
        ({"keep_ratios": ()}, "at least one"),
        ({"keep_ratios": (0.3, 0.3)}, "expected different ones"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_bad_values_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ENGINE, **changes)


def test_bags_of_one_name_are_told_apart_and_one_bag_is_given_once(tmp_path: Path) -> None:
    bags = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "other"]
    names = names_of(bags)
    assert names[2] == "other" and len(set(names)) == 3
    assert all(name.startswith("run-") and len(name) == 12 for name in names[:2])
    assert names_of(bags[::-1]) == names[::-1], "whatever their order"
    with pytest.raises(ValueError, match="is given twice"):
        names_of([tmp_path / "a", tmp_path / "b" / ".." / "a"])


def test_a_bag_that_changes_has_another_print(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "bag.mcap").write_bytes(b"1")
    before = print_of(tmp_path / "bag")
    assert before == print_of(tmp_path / "bag")
    (tmp_path / "bag" / "bag.mcap").write_bytes(b"12")
    assert print_of(tmp_path / "bag") != before
    with pytest.raises(OSError, match="nowhere"):
        print_of(tmp_path / "nowhere")
