"""stagger: the spread of the best set that the cameras' stamps allow, whatever it is that they sent."""

from __future__ import annotations

import pytest

from tggbc_ros.ros.drops import Account
from tggbc_ros.ros.images.camera_sync import CameraSync, Stored
from tggbc_ros.ros.images.stagger import Stagger, stagger

PERIOD_NS = 100_000_000


Seen = dict[str, list[tuple[int, float]]]


def seen(*offsets_ns: int, count: int = 5, lost: tuple[tuple[int, int], ...] = ()) -> Seen:
    """Images of cameras a, b, … at these offsets within each period. lost: (camera, number) that never came."""
    return {
        "abcdef"[place]: [
            (number * PERIOD_NS + offset_ns, number * 0.1) for number in range(count) if (place, number) not in lost
        ]
        for place, offset_ns in enumerate(offsets_ns)
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (seen(0, 0, 0), Stagger(0, "a", "c", PERIOD_NS)),
        (seen(0, 10, 30), Stagger(30, "a", "c", PERIOD_NS)),
        (seen(0, 60_000_000), Stagger(40_000_000, "b", "a", PERIOD_NS)),
        (seen(0, 7 * 10**15), Stagger(7 * 10**15 - 4 * PERIOD_NS, "a", "b", PERIOD_NS)),
        (seen(0, 5, lost=((0, 1), (1, 0), (1, 2))), Stagger(5, "a", "b", PERIOD_NS)),
    ],
)
def test_the_nearest_images(given: Seen, expected: Stagger) -> None:
    assert stagger(given, silent_s=1.0) == expected


@pytest.mark.parametrize(
    "given",
    [
        {},
        seen(0, 10, count=2),
        {**seen(0), "b": []},
        {**seen(0), "b": [(0, -5.0), (1, -4.0), (2, -3.0)]},
    ],
)
def test_of_too_little_nothing_is_said(given: Seen) -> None:
    assert stagger(given, silent_s=1.0) is None


def test_images_of_finished_sets_count() -> None:
    """A rig in order has a stagger too."""
    sync: CameraSync[None] = CameraSync(("a", "b"), max_spread_ns=10, capacity=4, account=Account())
    for number in range(3):
        for place, camera in enumerate("ab"):
            sync.add(camera, Stored(number * PERIOD_NS + 7 * place, 0.1 * number, None))
    assert sync.stagger() == Stagger(7, "a", "b", PERIOD_NS)
