"""With which quality of service a bag's topic is played, by what was recorded of its publishers."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.interfaces import Connection, Qos, QosDurability

from tggbc_ros.data.bags.messages import TF_STATIC_TOPIC

MIN_DEPTH, MAX_DEPTH = 10, 100_000


def recorded_profiles(connections: Sequence[Connection]) -> list[Qos]:
    """What the topic's publishers offered when the bag was recorded; not every recorder notes it."""
    return [profile for entry in connections for profile in getattr(entry.ext, "offered_qos_profiles", ())]


def is_latched(connections: Sequence[Connection]) -> bool:
    """Whether any publisher of the topic offered transient-local durability; without record, /tf_static is."""
    profiles = recorded_profiles(connections)
    if not profiles:
        return any(entry.topic == TF_STATIC_TOPIC for entry in connections)
    return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in profiles)


def topic_qos(connections: Sequence[Connection]) -> QoSProfile:
    """Reliable; depth as recorded, within reason; latched if recorded so, then deep enough for every message.

    Several nodes may each have latched one message on the topic (/tf_static): one publisher must hold all.
    """
    depth = max([MIN_DEPTH, *(min(profile.depth, MAX_DEPTH) for profile in recorded_profiles(connections))])
    if not is_latched(connections):
        return QoSProfile(depth=depth)
    messages = sum(entry.msgcount for entry in connections)
    return QoSProfile(depth=max(depth, min(messages, 1000)), durability=DurabilityPolicy.TRANSIENT_LOCAL)
