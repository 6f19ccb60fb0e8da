"""Comparing with recordings: strict on numbers, forgiving only where rounding may swap what is near-equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tggbc_ros.data.golden.cases import GoldenFrame
from tggbc_ros.data.golden.checks import ROUNDING, Check, check_frame, largest_difference, not_compared, worst

QUERIES, ROWS, OLD = 8, 3, 4
Outputs = dict[str, Any]


@pytest.fixture
def recorded() -> Outputs:
    """One frame of a made-up recording: 8 queries, 2 classes, 3 new memory rows before 4 old ones."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1, 1, QUERIES, 2))
    codes = generator.normal(size=(1, 1, QUERIES, 10))
    scores = 1 / (1 + np.exp(-logits[-1, 0]))
    top = np.argsort(-scores.ravel())[:6]
    code = codes[-1, 0, top // 2]
    yaw = np.arctan2(code[:, 6], code[:, 7])
    gravity = np.column_stack([code[:, :3], np.exp(code[:, 3:6]), yaw, code[:, 8:]])
    rows = ROWS + OLD
    return {
        "all_cls_scores": logits,
        "all_bbox_preds": codes,
        "mem_topk_query": np.argsort(-scores.max(-1))[:ROWS],
        "memory_embedding": generator.normal(size=(1, rows, 5)),
        "memory_reference_point": generator.normal(size=(1, rows, 3)),
        "memory_timestamp": generator.normal(size=(1, rows, 1)),
        "memory_velo": generator.normal(size=(1, rows, 2)),
        "memory_egopose": generator.normal(size=(1, rows, 4, 4)),
        "dec_scores": scores.ravel()[top],
        "dec_labels": top % 2,
        "dec_boxes_gravity": gravity,
        "dec_topk_query": top // 2,
        "dec_topk_label": top % 2,
        "dec_topk_score": scores.ravel()[top],
        "gbc.layer0.kept": np.array([1, 4, 5, 9]),
        "gbc.layer0.queries": np.array([3, 2]),
        "gbc.layer0.importance": np.arange(10.0),
    }


def missed(computed: Outputs, recorded: Outputs, **margins: Any) -> list[str]:
    """Outputs that fail."""
    checks = worst(list(check_frame(computed, GoldenFrame({}, recorded, margins), ROUNDING)))
    return [check.output for check in checks if not check.passed]


def changed(recorded: Outputs, name: str, index: Any, by: float) -> Outputs:
    array = np.array(recorded[name], dtype=float if by % 1 else None)
    array[index] += by
    return {**recorded, name: array}


def test_the_recording_equals_itself(recorded: Outputs) -> None:
    assert missed(recorded, recorded) == []


@pytest.mark.parametrize(
    ("name", "index", "by", "output"),
    [
        ("all_cls_scores", (0, 0, 1, 1), 2e-4, "all_cls_scores"),
        ("all_bbox_preds", (0, 0, 1, 2), 2e-3, "all_bbox_preds.center"),
        ("all_bbox_preds", (0, 0, 1, 3), 2e-4, "all_bbox_preds.code"),
        ("memory_embedding", (0, 6, 0), 2e-4, "memory_embedding"),
        ("memory_reference_point", (0, 0, 0), 2e-3, "memory_reference_point"),
        ("memory_timestamp", (0, 3, 0), 1e-3, "memory_timestamp"),
        ("memory_velo", (0, 1, 1), 2e-4, "memory_velo"),
        ("memory_egopose", (0, 1, 0, 0), 2e-5, "memory_egopose.rotation"),
        ("memory_egopose", (0, 1, 0, 3), 2e-3, "memory_egopose.position"),
        ("dec_scores", 2, 2e-4, "dec_scores"),
        ("dec_boxes_gravity", (1, 0), 2e-3, "dec_boxes_gravity.center"),
        ("dec_boxes_gravity", (1, 4), 1e-2, "dec_boxes_gravity.log_size"),
        ("dec_boxes_gravity", (1, 6), 0.01, "dec_boxes_gravity.yaw"),
        ("dec_boxes_gravity", (1, 8), 2e-4, "dec_boxes_gravity.velocity"),
        ("gbc.layer0.kept", 0, 1, "gbc.layer0.kept"),
        ("gbc.layer0.queries", 0, 1, "gbc.layer0.queries"),
        ("gbc.layer0.importance", 5, 0.01, "gbc.layer0.importance (relative)"),
    ],
)
def test_each_error_is_found_in_its_output(recorded: Outputs, name: str, index: Any, by: float, output: str) -> None:
    assert missed(changed(recorded, name, index, by), recorded) == [output]
    if by % 1:
        assert missed(changed(recorded, name, index, by / 200), recorded) == []


def test_nan_and_wrong_shapes_never_pass(recorded: Outputs) -> None:
    assert missed(changed(recorded, "all_cls_scores", (0, 0, 0, 0), np.nan), recorded) == ["all_cls_scores"]
    assert missed({**recorded, "memory_velo": recorded["memory_velo"][..., :1]}, recorded) == ["memory_velo"]
    assert largest_difference(np.zeros(3), np.zeros((3, 1))) == np.inf
    assert largest_difference(np.array([np.nan, 1.0]), np.array([np.nan, 1.5])) == 0.5


def swapped_rows(recorded: Outputs, first: int, second: int) -> Outputs:
    """The new memory rows in another order."""
    order = np.arange(ROWS + OLD)
    order[[first, second]] = second, first
    names = [name for name in recorded if name.startswith("memory_")]
    swapped = {name: recorded[name][:, order] for name in names}
    return {**recorded, **swapped, "mem_topk_query": recorded["mem_topk_query"][order[:ROWS]]}


def test_memory_rows_may_swap_only_where_their_scores_are_near_equal(recorded: Outputs) -> None:
    computed = swapped_rows(recorded, 0, 1)
    assert missed(computed, recorded) == ["mem_topk_query"]
    first, second = recorded["mem_topk_query"][:2]
    tied = np.array(recorded["all_cls_scores"])
    tied[0, 0, second] = tied[0, 0, first] - 1e-6
    both = {"all_cls_scores": tied}
    assert "mem_topk_query" not in missed({**computed, **both}, {**recorded, **both})


def test_a_swapped_box_is_compared_with_its_own_recording(recorded: Outputs) -> None:
    order = np.array([1, 0, 2, 3, 4, 5])
    names = ("dec_labels", "dec_boxes_gravity", "dec_topk_query", "dec_topk_label")
    assert missed({**recorded, **{name: recorded[name][order] for name in names}}, recorded) == []


def test_a_box_of_another_query_is_missed_unless_it_sits_at_the_cut(recorded: Outputs) -> None:
    best = changed(recorded, "dec_topk_query", 0, 100)
    assert missed(best, recorded) == ["dec_labels"]
    last = changed(recorded, "dec_topk_query", 5, 100)
    assert missed(last, recorded) == []


def test_boxes_outside_the_range_are_expected_to_be_gone(recorded: Outputs) -> None:
    recorded = changed(recorded, "all_bbox_preds", (0, 0, recorded["dec_topk_query"][2], 0), 80.0)
    inside = recorded["dec_topk_query"] != recorded["dec_topk_query"][2]
    for name in ("dec_scores", "dec_labels", "dec_boxes_gravity"):
        recorded[name] = recorded[name][inside]
    computed = {**recorded, "dec_topk_query": recorded["dec_topk_query"][inside]}
    assert missed(computed, recorded) == []


def test_a_short_heading_vector_forgives_its_yaw(recorded: Outputs) -> None:
    query = recorded["dec_topk_query"][0]
    for short, expected in ((True, []), (False, ["dec_boxes_gravity.yaw"])):
        codes = np.array(recorded["all_bbox_preds"])
        codes[0, 0, query, 6:8] = (0.01, 0.0) if short else (1.0, 0.0)
        both = {"all_bbox_preds": codes}
        turned = changed(recorded, "dec_boxes_gravity", (0, 6), 0.002)
        assert missed({**turned, **both}, {**recorded, **both}) == expected


def test_kept_keys_may_differ_only_where_the_cut_was_not_clear(recorded: Outputs) -> None:
    computed = changed(recorded, "gbc.layer0.kept", 0, 1)
    assert missed(computed, recorded, rel_gap=[2e-4], q_gap=[1e-3]) == ["gbc.layer0.kept"]
    assert missed(computed, recorded, rel_gap=[5e-5], q_gap=[1e-3]) == []
    assert missed(computed, recorded, rel_gap=[2e-4], q_gap=[1e-6]) == []
    assert missed({**recorded, "gbc.layer0.kept": np.array([4])}, recorded) == ["gbc.layer0.kept"]


def test_what_is_recorded_and_not_computed_is_told(recorded: Outputs) -> None:
    assert not_compared({"a": np.zeros(1)}, GoldenFrame({}, {"a": np.zeros(1), "b": np.zeros(1)}, {})) == ["b"]


def test_the_worst_frame_of_each_output_counts() -> None:
    checks = [Check("x", 1e-3, 5e-2), Check("y", 0, 0), Check("x", 1e-4, 1e-4), Check("y", 2, 0), Check("x", 0, 1)]
    assert worst(checks) == [Check("x", 1e-4, 1e-4), Check("y", 2, 0)]
    assert np.isnan(worst([Check("x", 9, 1), Check("x", np.nan, 1)])[0].error)
