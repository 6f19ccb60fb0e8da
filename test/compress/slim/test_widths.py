"""The choice of widths: the program's numbers are the table's and the scores', and its answer is a cut that fits."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_latency import made_table
from tiny_model import TINY

from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut, cut_shape
from tggbc_ros.compress.importance import best
from tggbc_ros.compress.slim.widths import METHODS, UNITS, Choices, choose, priced
from tggbc_ros.compress.slim.widths_file import read_chosen, read_cut, write_chosen
from tggbc_ros.core.shape import Shape, Stage, VoVNetShape, resnet

SHAPES: dict[str, Shape] = {
    "basic": resnet("basic", (2, 1, 1, 2), width=8),
    "bottleneck": resnet("bottleneck", (2, 1, 1, 1), width=8),
    "odd widths": resnet("basic", (1, 1, 1, 1), width=9),
    "vovnet": VoVNetShape(
        (8, 8, 12),
        (Stage(12, ((8, 4),)), Stage(16, ((8, 8),) * 2), Stage(16, ((8, 4, 4),) * 2), Stage(20, ((4,),) * 2)),
    ),
}


def choices(name: str, keep_stem: bool = True, seed: int = 0, step: int = 4) -> Choices:
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    widths = layout.widths(shape)
    importance = {each.name: rng.exponential(1.0, widths[each.group]) for each in layout.layers(shape)}
    family = {"vovnet": "vovnet99", "bottleneck": "resnet50"}.get(name, "resnet18")
    return Choices(shape, made_table(replace(TINY, backbone=family), shape=shape), importance, step, keep_stem)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("budget", [0.9, 0.8])
def test_the_sum_of_the_chosen_layers_is_what_the_table_predicts_of_the_cut_shape(name: str, budget: float) -> None:
    of = choices(name)
    chosen = choose(of, "mdp", budget, 0.0, 30.0)
    small = cut_shape(of.shape, chosen.cut)
    layers = len(chosen.layers) + 2
    predict = made_table(replace(TINY, backbone="resnet18"), shape=of.shape).predict
    assert chosen.dense_us == pytest.approx(1e3 * predict(of.shape), abs=layers)
    assert chosen.slim_us == pytest.approx(1e3 * predict(small), abs=layers)
    assert chosen.slim_us <= budget * chosen.dense_us
    assert sum(after for _, after in chosen.layers.values()) + chosen.rest_us == chosen.slim_us
    assert sum(before for before, _ in chosen.layers.values()) + chosen.rest_us == chosen.dense_us


def test_it_keeps_the_best_channels_of_each_group_by_the_groups_total() -> None:
    of = choices("basic")
    cut = choose(of, "mdp", 0.5, 0.0, 30.0).cut
    assert any(len(kept) < of.widths[group] for group, kept in cut.kept.items())
    for group, kept in cut.kept.items():
        assert list(kept) == best(of.totals[group], len(kept))


def test_no_structure_of_those_drawn_at_random_is_better() -> None:
    of, rng = choices("odd widths", step=5), np.random.default_rng(1)
    found = choose(of, "mdp", 0.6, 0.0, 30.0)
    problem = of.problem("all", int(0.6 * found.dense_us) - found.rest_us)
    most = problem.evaluate(*problem.full())[0]
    for _ in range(400):
        choice = [int(rng.integers(1, count)) for count in problem.choices]
        importance, latency = problem.evaluate(choice, [True, *(rng.random(len(of.blocks)) < 0.7)])
        assert latency > problem.budget or importance <= found.kept_importance * most + 0.5
    assert found.gap == 0.0


def test_importance_adds_up_to_the_same_units_whatever_its_scale() -> None:
    of = choices("basic")
    tiny = dataclasses.replace(of, importance={name: 1e-12 * each for name, each in of.importance.items()})
    for each in (of, tiny):
        problem = each.problem("all", 1 << 40)
        assert problem.evaluate(*problem.full())[0] == pytest.approx(UNITS, rel=1e-5)
    assert choose(of, "mdp", 0.6, 0.0, 30.0).cut == choose(tiny, "mdp", 0.6, 0.0, 30.0).cut


@pytest.mark.parametrize("name", ["bottleneck", "vovnet"])
def test_a_stem_of_its_own_is_kept_unless_it_is_free(name: str) -> None:
    stems = [group for group in layout.widths(SHAPES[name]) if group.startswith("stem")]
    kept = choose(choices(name), "mdp", 0.8, 0.0, 30.0).cut.kept
    assert all(len(kept[group]) == layout.widths(SHAPES[name])[group] for group in stems)
    assert not choices(name, keep_stem=False).problem("free", 1).fixed


@pytest.mark.parametrize("method", METHODS)
def test_every_method_stays_within_the_budget_and_none_beats_the_exact_one(method: str) -> None:
    of = choices("basic", seed=3)
    most = choose(of, "mdp", 0.55, 0.0, 30.0)
    found = choose(of, method, 0.55, 0.0, 30.0)
    assert found.slim_us <= 0.55 * found.dense_us
    assert found.kept_importance <= most.kept_importance


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_below_the_least_reachable_names_it_and_that_one_can_be_met(method: str) -> None:
    of = choices("basic")
    with pytest.raises(
        ValueError, match=r"budget 0.01 of .* cannot be met: the least reachable share is 0\.\d+"
    ) as told:
        choose(of, method, 0.01, 0.0, 30.0)
    least = float(str(told.value).split("share is ")[1].split()[0])
    assert choose(of, "mdp", least, 0.0, 30.0).slim_us <= least * choose(of, "mdp", 1.0, 0.0, 30.0).dense_us


def test_scores_that_are_no_numbers_are_named() -> None:
    of = choices("basic")
    of.importance["layer3.0.conv2"][5] = np.nan
    with pytest.raises(ValueError, match=r"the score of channel 5 of layer layer3.0.conv2 is nan"):
        dataclasses.replace(of)


def test_a_choice_on_disk_is_the_same_and_one_of_another_network_is_refused(tmp_path: Path) -> None:
    of, path = choices("vovnet"), tmp_path / "widths.json"
    chosen = choose(of, "mdp", 0.8, 0.0, 30.0)
    write_chosen(path, chosen, of.shape, {"engine": "torch"})
    read, said = read_chosen(path, of.shape)
    assert cut_shape(of.shape, read.cut) == cut_shape(of.shape, chosen.cut)
    assert (read.slim_us, read.layers, said["engine"]) == (chosen.slim_us, dict(chosen.layers), "torch")
    with pytest.raises(ValueError, match=r"widths.json is no choice of widths for this network"):
        read_chosen(path, SHAPES["basic"])


@pytest.mark.parametrize("name", SHAPES)
def test_a_choice_made_elsewhere_costs_what_the_methods_own_would(name: str, tmp_path: Path) -> None:
    of = choices(name)
    chosen = choose(of, "mdp", 0.8, 0.0, 30.0)
    write_chosen(tmp_path / "widths.json", chosen, of.shape, {})
    again = priced(of, read_cut(tmp_path / "widths.json", of.shape), 0.8)
    same = {field.name for field in dataclasses.fields(chosen)} - {"cut", "gap", "seconds"}
    assert {field: getattr(again, field) for field in same} == {field: getattr(chosen, field) for field in same}
    assert again.gap is None


def test_a_choice_made_elsewhere_is_held_to_steps_and_budget() -> None:
    of = choices("basic")
    with pytest.raises(ValueError, match=r"the given widths are predicted to take 1.0000 .* at most the budget, 0.9"):
        priced(of, Cut({}, frozenset()), 0.9)
    with pytest.raises(ValueError, match=r"group layer4 is given 5 channels, expected a multiple of 4 or 64"):
        priced(of, Cut({"layer4": (0, 1, 2, 3, 4)}, frozenset()), 0.9)
