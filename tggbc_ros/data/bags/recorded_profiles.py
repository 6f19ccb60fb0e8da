"""Quality of service as recorders write it: a list, or YAML of one; names in either case, or numbers, old or new."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

Policy = TypeVar("Policy", bound=Enum)
NO_TIME = QosTime(0, 0)
"""Deadline, lifespan and lease are not read: nobody here asks, and recorders write them in several ways."""


def read_profiles(recorded: object) -> list[Qos]:
    """What the topic's publishers offered; UNKNOWN, or depth 0, where it does not say so in any known form."""
    if isinstance(recorded, str):
        try:
            recorded = YAML(typ="safe").load(recorded)
        except (YAMLError, ValueError):
            recorded = [None]
    if not isinstance(recorded, list):
        return []
    return [_profile(entry if isinstance(entry, dict) else {}) for entry in recorded]


def without_times(profile: Qos) -> Qos:
    """As `read_profiles` gives it, so that two are equal that differ in nothing else."""
    return profile._replace(deadline=NO_TIME, lifespan=NO_TIME, liveliness_lease_duration=NO_TIME)


def _profile(entry: dict[str, Any]) -> Qos:
    depth = entry.get("depth")
    return Qos(
        history=_policy(QosHistory, entry.get("history")),
        depth=depth if isinstance(depth, int) and depth >= 0 else 0,
        reliability=_policy(QosReliability, entry.get("reliability")),
        durability=_policy(QosDurability, entry.get("durability")),
        deadline=NO_TIME,
        lifespan=NO_TIME,
        liveliness=_policy(QosLiveliness, entry.get("liveliness")),
        liveliness_lease_duration=NO_TIME,
        avoid_ros_namespace_conventions=entry.get("avoid_ros_namespace_conventions") is True,
    )


def _policy(kind: type[Policy], value: object) -> Policy:
    """A policy by its number or its name, whatever stands before the name."""
    text = str(value).strip().upper().replace(" ", "_").replace("-", "_")
    for policy in kind:
        if text == str(policy.value) or text.endswith(policy.name):
            return policy
    return kind["UNKNOWN"]
