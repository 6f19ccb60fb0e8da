"""recorded_profiles: one meaning, however it is written."""

from __future__ import annotations

import pytest
from rosbags.interfaces import QosDurability, QosReliability

from tggbc_ros.data.bags.recorded_profiles import read_profiles

LATCHED = [
    [{"durability": 1, "reliability": 1, "depth": 3}],
    [{"durability": "transient_local", "reliability": "reliable", "depth": 3}],
    [{"durability": "TRANSIENT_LOCAL", "reliability": "Reliable", "depth": 3, "deadline": "infinite"}],
    [{"durability": "RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL", "reliability": "1", "depth": 3}],
    "- durability: 1\n  reliability: 1\n  depth: 3\n  lifespan: {sec: 0, nsec: 0}",
    "[{durability: transient_local, reliability: reliable, depth: 3}]",
]


@pytest.mark.parametrize("recorded", LATCHED)
def test_forms_of_the_same(recorded: object) -> None:
    (profile,) = read_profiles(recorded)
    assert profile.durability is QosDurability.TRANSIENT_LOCAL
    assert profile.reliability is QosReliability.RELIABLE
    assert profile.depth == 3


@pytest.mark.parametrize("recorded", [None, "", [], {}, 7, "''"])
def test_nothing_recorded(recorded: object) -> None:
    assert read_profiles(recorded) == []


@pytest.mark.parametrize("recorded", [[{}], [None], ["x"], [{"durability": 99, "depth": -1}], "- {durability: x}", "["])
def test_what_is_of_no_known_form_is_unknown(recorded: object) -> None:
    (profile,) = read_profiles(recorded)
    assert (profile.durability, profile.depth) == (QosDurability.UNKNOWN, 0)
