"""plan: what cannot be done is refused before an hour of work, and the node is told what was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tggbc_ros.showcase.plan import Network, Plan

ONE = (Network("dense", "demo"),)
TWO = (*ONE, Network("slim", "demo_slim", backend="openvino_int8"))


def plan(**changes: Any) -> Plan:
    given = {"networks": ONE, "seed": 1, "seconds": 2.0, "keep_ratios": (1.0, 0.3), "show_score": 0.3}
    return Plan(Path("out"), **(given | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ()}, r"networks are \[\], expected different ones, at least one"),
        ({"networks": ONE * 2}, "expected different ones"),
        ({"keep_ratios": (1.0, 0.0)}, "keep_ratio is 0.0"),
        ({"keep_ratios": (0.3, 1.0)}, "the largest first"),
        ({"keep_ratios": (0.3, 0.3)}, "expected different ones"),
        ({"keep_ratios": ()}, "expected different ones"),
        ({"seed": -1}, "seed is -1"),
        ({"seconds": 0.1}, "duration_s is 0.1"),
        ({"seconds": 0.5}, "seconds is 0.5, expected at least 1"),
    ],
)
def test_bad_values_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_the_pass_nearest_to_the_shown_ratio_is_shown() -> None:
    assert plan(keep_ratios=(1.0, 0.5, 0.3, 0.15)).shown == 2
    assert plan(keep_ratios=(1.0, 0.1)).shown == 1
    assert plan(keep_ratios=(0.9,)).shown == 0
    assert plan(keep_ratios=(1.0, 0.5, 0.3, 0.15), networks=TWO).shown == 6, "the last network's"


def test_every_network_is_played_at_every_ratio() -> None:
    passes = [(network.name, ratio) for network, ratio in plan(networks=TWO).passes()]
    assert passes == [("dense", 1.0), ("dense", 0.3), ("slim", 1.0), ("slim", 0.3)]


def test_the_drive_is_the_demo_models_world() -> None:
    drive = plan(seconds=20.0).drive
    assert (drive.image_size, drive.range_m, drive.objects, drive.samples) == ((352, 198), 22.0, 50, 40)
    assert not drive.sweeps


def test_random_weights_are_only_allowed_where_none_are_named() -> None:
    assert TWO[1].node_parameters() == {
        "model": "demo_slim",
        "checkpoint": "",
        "backend": "openvino_int8",
        "allow_random_weights": True,
    }
    named = Network("mine", "demo", "some.pth").node_parameters()
    assert (named["checkpoint"], named["allow_random_weights"]) == ("some.pth", False)
