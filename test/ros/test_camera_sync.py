"""camera_sync: exact accounting, the newest complete set, and bag loops."""

from __future__ import annotations

import itertools
import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tggbc_ros.ros.camera_sync import BACKWARD_JUMP_NS, CameraSync, ImageSet, Stored
from tggbc_ros.ros.drops import Account
from tggbc_ros.ros.params import CAMERAS, Settings

MS = 1_000_000
RIG = ("left", "front", "right")
arrivals = st.lists(st.tuples(st.sampled_from(RIG), st.integers(1, 200)), max_size=60)


def feed(sync: CameraSync[int], events: list[tuple[str, int]]) -> list[ImageSet[int]]:
    """Add images by (camera, stamp in 10 ms); the message is the number of the event."""
    sets = (sync.add(camera, Stored(tens * 10 * MS, 0.0, n)) for n, (camera, tens) in enumerate(events))
    return [found for found in sets if found is not None]


@given(arrivals, st.integers(0, 12), st.integers(1, 6))
def test_every_image_is_accounted_for(events: list[tuple[str, int]], spread: int, capacity: int) -> None:
    account = Account()
    sync: CameraSync[int] = CameraSync(RIG, spread * 10 * MS, capacity, account)
    sets = feed(sync, events)
    dropped = sum(account.totals().drops.values())
    assert len(events) == len(RIG) * len(sets) + dropped + sync.buffered
    assert sync.buffered <= capacity * len(RIG)
    sync.clear("image_stopped")
    assert len(events) == len(RIG) * len(sets) + sum(account.totals().drops.values())
    assert sync.buffered == 0


@given(arrivals, st.integers(0, 12), st.integers(1, 6))
def test_sets_are_complete_tight_and_made_once(events: list[tuple[str, int]], spread: int, capacity: int) -> None:
    sets = feed(CameraSync(RIG, spread * 10 * MS, capacity, Account()), events)
    used = [image.message for found in sets for image in found.images]
    assert len(used) == len(set(used))
    for found in sets:
        assert tuple(events[image.message][0] for image in found.images) == RIG
        assert found.spread_ns <= spread * 10 * MS
        assert found.reference_ns == max(image.stamp_ns for image in found.images)


@given(st.lists(st.tuples(st.sampled_from(RIG), st.integers(1, 51)), max_size=60), st.integers(0, 12))
def test_without_a_jump_time_only_goes_forward(events: list[tuple[str, int]], spread: int) -> None:
    sets = feed(CameraSync(RIG, spread * 10 * MS, 5, Account()), events)
    for before, after in itertools.pairwise(sets):
        assert after.reference_ns > before.reference_ns
        assert all(b.stamp_ns > a.stamp_ns for a, b in zip(before.images, after.images, strict=True))


@settings(max_examples=300)
@example([("left", 1), ("left", 2), ("front", 2), ("right", 2)], 1, 2)
@given(st.lists(st.tuples(st.sampled_from(RIG), st.integers(1, 51)), max_size=40), st.integers(0, 8), st.integers(1, 5))
def test_same_sets_as_brute_force(events: list[tuple[str, int]], spread: int, capacity: int) -> None:
    """The oracle tries every combination and takes the one whose oldest, then whose other images come first."""
    buffers: dict[str, list[int]] = {camera: [] for camera in RIG}
    taken = dict.fromkeys(RIG, 0)
    expected = []
    for camera, stamp in events:
        if stamp > taken[camera] and stamp not in buffers[camera]:
            buffers[camera] = sorted([*buffers[camera], stamp])
        fitting = [c for c in itertools.product(*buffers.values()) if max(c) - min(c) <= spread]
        if fitting:
            newest = max(map(min, fitting))
            chosen = min(c for c in fitting if min(c) == newest)
            expected.append(chosen)
            taken = dict(zip(RIG, chosen, strict=True))
            buffers = {name: [s for s in buffers[name] if s > taken[name]] for name in RIG}
        buffers[camera] = buffers[camera][-capacity:]
    sets = feed(CameraSync(RIG, spread * 10 * MS, capacity, Account()), events)
    assert [tuple(image.stamp_ns // (10 * MS) for image in found.images) for found in sets] == expected


def sweep(start_ns: int, count: int, period_ns: int = 500 * MS) -> list[tuple[str, int]]:
    """Six cameras, 8 ms apart."""
    return [
        (camera, start_ns + number * period_ns + place * 8 * MS)
        for number in range(count)
        for place, camera in enumerate(CAMERAS)
    ]


def run(events: list[tuple[str, int]], account: Account, sync: CameraSync[None] | None = None) -> list[ImageSet[None]]:
    sync = sync or CameraSync(CAMERAS, 80 * MS, 8, account)
    sets = (sync.add(camera, Stored(stamp_ns, 0.0, None)) for camera, stamp_ns in events)
    return [found for found in sets if found is not None]


def test_looped_bag_gives_every_set_in_every_pass() -> None:
    """Where ApproximateTime gave 228, 0, 0 sets: six cameras at 12 Hz, of which one ends a second early."""
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 10, account)
    end_ns = 10**9 + 19 * 10**9
    bag = [(c, t) for c, t in sweep(10**9, 240, 83 * MS) if not (c == "CAM_BACK" and t > end_ns - 10**9)]
    per_pass = [len(run(bag, account, sync)) for _ in range(3)]
    assert per_pass[0] > 200
    assert per_pass == [per_pass[0]] * 3
    assert len(bag) * 3 == 6 * sum(per_pass) + sum(account.totals().drops.values()) + sync.buffered


def test_stray_image_of_the_old_pass_does_not_cost_the_new_ones_first_set() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    old, new = sweep(10**9, 20), sweep(10**9, 2)
    stray = [old.pop()]
    assert len(run(old, account, sync)) == 19
    assert len(run(new[:3] + stray + new[3:], account, sync)) == 2
    assert account.totals().drops == {"image_time_jump": 6}


def test_what_waits_from_the_old_pass_goes_when_the_first_camera_begins_again() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    run([*sweep(10**9, 20), *sweep(11 * 10**9, 1)[:4]], account, sync)
    assert sync.buffered == 4
    run(sweep(10**9, 1)[:1], account, sync)
    assert sync.buffered == 1
    assert account.totals().drops == {"image_time_jump": 4}


def test_lost_images_cost_only_their_own_set() -> None:
    account, draw = Account(), random.Random(1)
    events = sweep(10**9, 240)
    kept = [event for event in events if draw.random() > 0.05]
    whole = sum(all(event in set(kept) for event in events[i : i + 6]) for i in range(0, len(events), 6))
    assert len(run(kept, account)) == whole
    assert 150 < whole < 210


def test_a_lost_image_never_mixes_two_sweeps_of_the_real_rig() -> None:
    """nuScenes' stagger at 12 Hz and the default spread: exactly the set of the lost image is missing."""
    account = Account()
    spread_ns = round(Settings().max_spread_s * 1e9)
    stagger_ms = dict(zip(CAMERAS, (7.6, 15.5, 0.0, 32.7, 42.6, 23.0), strict=True))
    events = [
        (camera, 10**9 + round((sweep_ * 1000 / 12 + stagger_ms[camera]) * MS))
        for sweep_ in range(24)
        for camera in sorted(CAMERAS, key=stagger_ms.__getitem__)
    ]
    lost = events[5 * 6]  # the first camera of the sixth sweep
    sets = run([event for event in events if event != lost], account, CameraSync(CAMERAS, spread_ns, 8, account))
    assert len(sets) == 23
    assert all(image_set.spread_ns < 43 * MS for image_set in sets)


def test_a_stray_future_stamp_does_not_let_a_set_through_twice() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    again = sweep(10**9, 1)
    assert len(run(again, account, sync)) == 1
    assert run([(CAMERAS[0], 101 * 10**9), *again], account, sync) == []
    assert account.totals().drops == {"image_duplicate": 6, "image_time_jump": 1}


def test_duplicates_and_late_images_are_counted_by_cause() -> None:
    account = Account()
    events = sweep(10**9, 2)
    sets = run([*events[:6], events[0], *events[6:], ("CAM_BACK", 10**9 + 60 * MS), events[3]], account)
    assert len(sets) == 2
    assert account.totals().drops == {"image_duplicate": 1, "image_late": 2}


def test_five_of_six_cameras_never_make_a_set_and_stay_bounded() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    events = [event for event in sweep(10**9, 100) if event[0] != "CAM_FRONT"]
    assert run(events, account, sync) == []
    assert sync.buffered == 5 * 8
    assert account.totals().drops == {"image_overflow": 5 * 92}


def test_a_clock_that_goes_back_frees_the_stamps_for_a_second_pass() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    events = sweep(10**9, 1)
    assert len(run(events, account, sync)) == 1
    assert len(run(events, account, sync)) == 0
    sync.rewind(10**9 - BACKWARD_JUMP_NS)
    assert len(run(events, account, sync)) == 1
