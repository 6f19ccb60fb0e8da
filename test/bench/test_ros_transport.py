"""ros_transport: what was sent and what came are counted by stamp, and Fast DDS takes our settings without a word."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy

from bench import ros_transport
from bench.ros_transport import PROFILE, PROFILE_VARIABLES, measure, profile

pytestmark = pytest.mark.timeout(180)
MIB = 1 << 20


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A DDS domain of its own, which the publisher's process inherits."""
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    rclpy.init()
    yield
    rclpy.try_shutdown()


def test_the_settings_hold_a_set_of_raw_images() -> None:
    text = PROFILE.read_text(encoding="utf-8")
    size = re.search(r"<segment_size>(\d+)</segment_size>", text)
    capacity = re.search(r"<port_queue_capacity>(\d+)</port_queue_capacity>", text)
    assert size is not None and capacity is not None
    set_bytes = 6 * 1600 * 900 * 3
    assert set_bytes < int(size.group(1)) == 32 * MIB
    assert set_bytes / 65_500 < int(capacity.group(1))


def test_settings_are_there_in_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = PROFILE_VARIABLES
    monkeypatch.setenv(first, "theirs.xml")
    monkeypatch.delenv(second, raising=False)
    with profile(PROFILE):
        assert [os.environ[name] for name in PROFILE_VARIABLES] == [str(PROFILE)] * 2
    with profile(None):
        assert not set(PROFILE_VARIABLES) & set(os.environ)
    assert (os.environ[first], second in os.environ) == ("theirs.xml", False)


def test_only_counted_sets_count() -> None:
    seen = [(10, 9_000_000), (20, 1_000_000), (30, 3_000_000), (40, 2_000_000)]
    row = ros_transport._row(seen, {"start_ns": 20, "cpu_s": 0.03}, sets=1)
    assert (row["images_sent"], row["images_received"], row["lost"]) == (6, 3, 0.5)
    assert (row["age_p50_ms"], row["publisher_cpu_ms_per_set"]) == (2.0, pytest.approx(30.0))


def test_raw_images_arrive(ros: None, tmp_path: Path) -> None:
    """Reliable and slow: none is lost, however busy the machine is."""
    row = measure(reliable=True, with_profile=True, sets=2, rate_hz=1.0, logs=tmp_path)
    assert (row["images_sent"], row["images_received"], row["lost"]) == (12, 12, 0.0)
    assert 0 < row["age_p50_ms"] <= row["age_p95_ms"]
    assert (tmp_path / "ros_transport.log").read_text() == ""  # Fast DDS tells here of settings it cannot take
