"""Fixtures of the ROS tests: a DDS domain per module, so that modules never hear each other."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context

sys.path.insert(0, str(Path(__file__).parent))

_domains = itertools.count(os.getpid())


@pytest.fixture(scope="module")
def domain_id() -> int:
    """A DDS domain of this module's own; above 101 its ports meet those of outgoing connections."""
    return next(_domains) % 100 + 1


@pytest.fixture(scope="module")
def context(domain_id: int) -> Iterator[Context]:
    """An rclpy context in the module's domain."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    yield context
    context.try_shutdown()
