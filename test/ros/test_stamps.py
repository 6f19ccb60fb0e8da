"""stamps: times by header or by arrival, as integer nanoseconds."""

from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time
from rclpy.clock import ROSClock
from rclpy.time import Time as Instant

from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.stamps import image_time, nanoseconds, pose_time

NOW_NS = 1_700_000_000_123_456_789
STAMP = Time(sec=1_600_000_000, nanosec=5)
STAMP_NS = 1_600_000_000_000_000_005


@pytest.fixture
def clock(context: object) -> ROSClock:
    """A simulated clock that stands at NOW_NS."""
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    clock.set_ros_time_override(Instant(nanoseconds=NOW_NS, clock_type=clock.clock_type))
    return clock


def test_images_have_their_headers_time_or_that_of_their_arrival(clock: ROSClock) -> None:
    assert image_time(STAMP, "message", clock) == STAMP_NS
    assert image_time(STAMP, "receive", clock) == NOW_NS  # wrong stamps are replaced as well as zero ones
    assert (image_time(Time(), "message", clock), image_time(Time(), "receive", clock)) == (0, NOW_NS)


def test_poses_keep_a_stamp_that_they_have(clock: ROSClock) -> None:
    assert pose_time(STAMP, "receive", clock) == pose_time(STAMP, "message", clock) == STAMP_NS
    assert (pose_time(Time(), "message", clock), pose_time(Time(), "receive", clock)) == (0, NOW_NS)


def test_a_stamp_that_no_clock_shows_matters_only_where_it_is_used(clock: ROSClock) -> None:
    impossible = Time(sec=-1)
    assert image_time(impossible, "receive", clock) == NOW_NS
    for read in (nanoseconds, lambda stamp: image_time(stamp, "message", clock)):
        with pytest.raises(BadInputError, match="bad_stamp"):
            read(impossible)
