"""recorded_qos: what a bag says of its publishers, and what holds where it says nothing."""

from __future__ import annotations

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from tggbc_ros.ros.bags.recorded_qos import is_latched, topic_qos


def qos(durability: QosDurability, reliability: QosReliability = QosReliability.RELIABLE, depth: int = 5) -> Qos:
    zero = QosTime(0, 0)
    liveliness = QosLiveliness.AUTOMATIC
    return Qos(QosHistory.KEEP_LAST, depth, reliability, durability, zero, zero, liveliness, zero, False)


def connection(msgcount: int, *profiles: Qos, topic: str = "/topic") -> Connection:
    with_profiles = type("Ext", (), {"offered_qos_profiles": list(profiles)})()
    return Connection(1, topic, "std_msgs/msg/String", None, "", msgcount, with_profiles, None)  # type: ignore


def test_qos_is_reliable_and_latched_as_recorded() -> None:
    volatile = topic_qos([connection(500, qos(QosDurability.VOLATILE, QosReliability.BEST_EFFORT, depth=5))])
    assert volatile.reliability == ReliabilityPolicy.RELIABLE
    assert volatile.durability == DurabilityPolicy.VOLATILE
    assert volatile.depth == 10
    assert topic_qos([connection(500, qos(QosDurability.VOLATILE, depth=100))]).depth == 100
    latched = topic_qos([connection(2, qos(QosDurability.TRANSIENT_LOCAL, depth=1)), connection(30)])
    assert latched.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert latched.depth == 32, "one publisher stands for all that latched a message"
    unknown = topic_qos([connection(32)])
    assert (unknown.depth, unknown.durability) == (10, DurabilityPolicy.VOLATILE), "a bag without recorded profiles"
    static = topic_qos([connection(32, topic="/tf_static")])
    assert (static.depth, static.durability) == (32, DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.mark.parametrize("topic", ["/tf_static", "/robot/tf_static"])
@pytest.mark.parametrize("durability", list(QosDurability))
def test_static_transforms_are_latched_whatever_was_recorded(topic: str, durability: QosDurability) -> None:
    """Volatile, as bridges and relays offer them, would reach none of those who listen to them."""
    offered = topic_qos([connection(32, qos(durability), topic=topic)])
    assert (offered.depth, offered.durability) == (32, DurabilityPolicy.TRANSIENT_LOCAL)
    assert is_latched([connection(32, qos(durability), topic=topic)])


def test_an_unknown_durability_serves_listeners_of_both_kinds() -> None:
    offered = topic_qos([connection(500, qos(QosDurability.UNKNOWN))])
    assert (offered.depth, offered.durability) == (10, DurabilityPolicy.TRANSIENT_LOCAL)
    assert not is_latched([connection(500, qos(QosDurability.UNKNOWN))]), "a start offset repeats none of its messages"
