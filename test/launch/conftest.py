"""Fixtures of the launch tests: a DDS domain of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.context import Context


@pytest.fixture(scope="module")
def domain_id() -> int:
    """Apart from those that test/ros takes in the same process; above 101 ports meet those of outgoing connections."""
    return (os.getpid() + 50) % 100 + 1


@pytest.fixture(scope="module")
def context(domain_id: int) -> Iterator[Context]:
    """An rclpy context in that domain."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    yield context
    context.try_shutdown()
