"""What bag_player's command line says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.ros.bags.lockstep import PlayError

DEFAULT_CLOCK_HZ = 40.0
DEFAULT_GAP_S = 3600.0


@dataclass(frozen=True)
class PlayOptions:
    """What to play and how; times in seconds, rate 1.0 is real time, clock_hz 0 means no /clock.

    skip_gaps_s: longer stretches of the bag without a message are left out; 0: none is.
    """

    bag: Path
    rate: float = 1.0
    loop: bool = False
    start_offset_s: float = 0.0
    clock_hz: float = 0.0
    topics: tuple[str, ...] = ()
    progress: bool = True
    wait_for_subscribers: int = 0
    wait_timeout_s: float = 30.0
    grace_s: float = 1.0
    wait_for_images: bool = False
    lockstep: str = ""
    lockstep_timeout_s: float = 60.0
    skip_gaps_s: float = DEFAULT_GAP_S

    def __post_init__(self) -> None:
        for name, value, holds in (
            ("rate", self.rate, self.rate > 0),
            ("start offset", self.start_offset_s, self.start_offset_s >= 0),
            ("clock", self.clock_hz, self.clock_hz >= 0),
            ("wait timeout", self.wait_timeout_s, self.wait_timeout_s >= 0),
            ("grace", self.grace_s, self.grace_s >= 0),
            ("lockstep timeout", self.lockstep_timeout_s, self.lockstep_timeout_s >= 0),
            ("skip gaps", self.skip_gaps_s, self.skip_gaps_s >= 0),
        ):
            if not holds or value == float("inf"):
                raise PlayError(f"{name} is {value}, expected a finite {'positive' if name == 'rate' else '>= 0'} one")


def parse_options(arguments: Sequence[str]) -> PlayOptions:
    """Command line -> options."""
    parser = argparse.ArgumentParser("bag_player", description="Play a rosbag2 over ROS 2.")
    add = parser.add_argument
    add("bag", type=Path, help="bag folder, or one .mcap or .db3 file")
    add("-r", "--rate", type=float, default=1.0, help="speed, 1.0 is real time")
    add("-l", "--loop", action="store_true", help="start over at the end, until interrupted")
    add("--start-offset", type=float, default=0.0, metavar="S", help="begin this many seconds into the bag")
    clock_help = f"publish /clock at this frequency, {DEFAULT_CLOCK_HZ:g} if none is given, and at every message's time"
    add("--clock", type=float, nargs="?", const=DEFAULT_CLOCK_HZ, default=0.0, metavar="HZ", help=clock_help)
    add("--topics", nargs="+", default=[], metavar="TOPIC", help="play only these")
    add("--no-progress", action="store_true", help="no progress bar; there is none without a terminal either")
    add("--wait-for-subscribers", type=int, default=0, metavar="N", help="start when N topics have a subscriber")
    add("--wait-timeout", type=float, default=30.0, metavar="S", help="give up waiting for them after this time")
    add("--grace", type=float, default=1.0, metavar="S", help="start when no subscriber has come for this long")
    add("--wait-for-images", action="store_true", help="start when somebody subscribes to images, be it in an hour")
    lockstep_help = "wait here, as on /detector/report, after a set: an image on each image topic that is subscribed to"
    add("--lockstep", default="", metavar="TOPIC", help=lockstep_help)
    timeout_help = "wait no longer than this for an answer; a set that is dropped, or lacks an image, may cost as much"
    add("--lockstep-timeout", type=float, default=60.0, metavar="S", help=timeout_help)
    gaps_help = f"leave out stretches without a message that are longer, default {DEFAULT_GAP_S:g}; 0: wait them out"
    add("--skip-gaps", type=float, default=DEFAULT_GAP_S, metavar="S", help=gaps_help)
    given = parser.parse_args(arguments)
    return PlayOptions(
        bag=given.bag,
        rate=given.rate,
        loop=given.loop,
        start_offset_s=given.start_offset,
        clock_hz=given.clock,
        topics=tuple(given.topics),
        progress=not given.no_progress,
        wait_for_subscribers=given.wait_for_subscribers,
        wait_timeout_s=given.wait_timeout,
        grace_s=given.grace,
        wait_for_images=given.wait_for_images,
        lockstep=given.lockstep,
        lockstep_timeout_s=given.lockstep_timeout,
        skip_gaps_s=given.skip_gaps,
    )
