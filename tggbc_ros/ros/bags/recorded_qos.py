"""With which quality of service a bag's topic is played, by what was recorded of its publishers."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.interfaces import Connection, Qos, QosDurability

# As in data.bags.messages, whose geometry would make the player import torch.
TF_STATIC_TOPIC = "/tf_static"
MIN_DEPTH, MAX_DEPTH = 10, 100_000
UNCERTAIN = (QosDurability.UNKNOWN, QosDurability.SYSTEM_DEFAULT, QosDurability.BEST_AVAILABLE)


def recorded_profiles(connections: Sequence[Connection]) -> list[Qos]:
    """What the topic's publishers offered when the bag was recorded; not every recorder notes it."""
    return [profile for entry in connections for profile in getattr(entry.ext, "offered_qos_profiles", ())]


def is_latched(connections: Sequence[Connection]) -> bool:
    """Whether any publisher of the topic offered transient-local durability; /tf_static is latched in any case.

    Bridges, relays and recorders note it as volatile or not at all, but all its listeners ask for it as latched, and
    DDS would connect none of them.
    """
    return any(_is_tf_static(entry.topic) for entry in connections) or _offers(
        connections, (QosDurability.TRANSIENT_LOCAL,)
    )


def topic_qos(connections: Sequence[Connection]) -> QoSProfile:
    """Reliable; depth as recorded, within reason; latched if recorded so, then deep enough for every message.

    Several nodes may each have latched one message on the topic (/tf_static): one publisher must hold all. Where the
    durability is not known, transient local serves listeners of both kinds.
    """
    depth = max([MIN_DEPTH, *(min(profile.depth, MAX_DEPTH) for profile in recorded_profiles(connections))])
    if is_latched(connections):
        depth = max(depth, min(sum(entry.msgcount for entry in connections), 1000))
    elif not _offers(connections, UNCERTAIN):
        return QoSProfile(depth=depth)
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _offers(connections: Sequence[Connection], kinds: Sequence[QosDurability]) -> bool:
    return any(profile.durability in kinds for profile in recorded_profiles(connections))


def _is_tf_static(topic: str) -> bool:
    """Robots that share a network have it in a namespace each."""
    return topic.rpartition("/")[2] == TF_STATIC_TOPIC.strip("/")
