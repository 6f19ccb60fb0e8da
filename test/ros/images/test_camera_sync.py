"""camera_sync: exact accounting, the newest complete set, and bag loops."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tggbc_ros.ros.drops import Account
from tggbc_ros.ros.images.camera_sync import BACKWARD_JUMP_NS, CameraSync, ImageSet, Stored
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


@pytest.mark.parametrize("place", range(6))
def test_stray_image_of_the_old_pass_does_not_cost_the_new_ones_first_set(place: int) -> None:
    """It completes its own set as long as most cameras have not begun again."""
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    old, new = sweep(10**9, 20), sweep(10**9, 2)
    stray = [old.pop()]
    assert len(run(old, account, sync)) == 19
    found = run(new[:place] + stray + new[place:], account, sync)
    assert [image_set.reference_ns for image_set in found[-2:]] == [new[5][1], new[11][1]]
    assert len(found) == (3 if place < 4 else 2)
    assert account.totals().drops == ({} if place < 4 else {"image_time_jump": 6})


def test_what_waits_from_the_old_pass_goes_when_most_cameras_have_begun_again() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    new = sweep(10**9, 2)
    run([*sweep(10**9, 20), *sweep(11 * 10**9, 1)[:4]], account, sync)
    assert run(new[:3], account, sync) == []
    assert (sync.buffered, account.totals().drops) == (7, {})
    assert run(new[3:4], account, sync) == []
    assert (sync.buffered, account.totals().drops) == (4, {"image_time_jump": 4})
    assert len(run(new[4:], account, sync)) == 2


def test_one_old_image_costs_no_other_and_lets_no_set_through_twice() -> None:
    account = Account()
    sync = partial(account, min_cameras=0)
    events = sweep(10**9, 13, 83 * MS)
    old = events[-1][0], events[-1][1] - 620 * MS
    repeated = events[11 * 6 : 12 * 6]
    assert len(run(events[:-1] + [old], account, sync)) == 12
    assert run(repeated, account, sync) == []
    assert len(run(events[-1:], account, sync)) == 1
    assert account.totals().drops == {"image_duplicate": 6, "image_late": 1}
    assert sync.buffered == 0


def test_the_only_camera_that_speaks_begins_again_with_its_second_image() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 50 * MS, 8, account, 1, 1.0)
    bag = [("CAM_FRONT", 10**9 + n * 83 * MS) for n in range(60)]
    arrivals_s = itertools.count(0, 83)
    made = [[sync.add(c, Stored(t, next(arrivals_s) / 1e3, None)) for c, t in bag] for _ in range(3)]
    assert [sum(image_set is not None for image_set in each) for each in made][1:] == [59, 59]
    assert account.totals().drops["image_unmatched"] >= 2


def test_images_of_the_new_pass_wait_until_the_clock_says_so_too() -> None:
    account = Account()
    sync: CameraSync[None] = CameraSync(CAMERAS, 80 * MS, 8, account)
    run(sweep(10**9, 20), account, sync)
    new = sweep(10**9, 1)
    assert run(new[:2], account, sync) == []
    sync.rewind(10**9)
    assert len(run(new[2:], account, sync)) == 1
    assert account.totals().drops == {}


def test_a_set_without_some_of_its_cameras_has_their_times_no_more() -> None:
    images = tuple(Stored(stamp, float(stamp), None) for stamp in (10, 20, 30))
    whole: ImageSet[None] = ImageSet(images, RIG)
    part = whole.only({"left", "front"})
    assert (part.cameras, part.images) == (("left", "front"), images[:2])
    assert (part.reference_ns, part.spread_ns, part.arrival_s) == (20, 10, 20.0)
    assert whole.only(RIG).images == images


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


def partial(account: Account, min_cameras: int = 5, timeout_s: float = 1.0) -> CameraSync[None]:
    return CameraSync(CAMERAS, 50 * MS, 8, account, min_cameras, timeout_s)


def drive(events: list[tuple[str, int]], sync: CameraSync[None]) -> list[tuple[float, ImageSet[None]]]:
    """Images arrive in the order of their stamps, at those times; each set with the time it was made."""
    found = []
    for camera, stamp_ns in sorted(events, key=lambda event: event[1]):
        image_set = sync.add(camera, Stored(stamp_ns, stamp_ns / 1e9, None))
        if image_set is not None:
            found.append((stamp_ns / 1e9, image_set))
    return found


@given(arrivals, st.integers(0, 12), st.integers(1, 6), st.integers(1, 3), st.sampled_from([0.05, 0.5, 60.0]))
def test_partial_sets_are_accounted_for_tight_and_large_enough(
    events: list[tuple[str, int]], spread: int, capacity: int, least: int, timeout_s: float
) -> None:
    account = Account()
    sync: CameraSync[int] = CameraSync(RIG, spread * 10 * MS, capacity, account, least, timeout_s)
    made = [sync.add(c, Stored(t * 10 * MS, 0.1 * n, n)) for n, (c, t) in enumerate(events)]
    sets = [found for found in made if found is not None]
    used = [image.message for found in sets for image in found.images]
    assert len(used) == len(set(used))
    assert len(events) == len(used) + sum(account.totals().drops.values()) + sync.buffered
    for found in sets:
        assert least <= len(found.images) <= len(RIG)
        assert tuple(events[image.message][0] for image in found.images) == found.cameras
        assert list(found.cameras) == [camera for camera in RIG if camera in found.cameras]
        assert found.spread_ns <= spread * 10 * MS


@given(st.lists(st.tuples(st.sampled_from(RIG), st.integers(1, 43)), max_size=60), st.integers(0, 8), st.integers(1, 3))
def test_with_partial_sets_time_only_goes_forward(events: list[tuple[str, int]], spread: int, least: int) -> None:
    sync: CameraSync[int] = CameraSync(RIG, spread * 10 * MS, 5, Account(), least, 0.35)
    made = [sync.add(c, Stored(t * 10 * MS, 0.1 * n, n)) for n, (c, t) in enumerate(events)]
    for before, after in itertools.pairwise(found for found in made if found is not None):
        assert after.reference_ns > before.reference_ns


@given(arrivals, st.integers(0, 12), st.integers(1, 6))
def test_all_cameras_as_the_fewest_are_the_default(events: list[tuple[str, int]], spread: int, capacity: int) -> None:
    default, all_of_them = (CameraSync(RIG, spread * 10 * MS, capacity, Account(), least, 0.0) for least in (0, 3))
    expected, found = ([(s.reference_ns, s.cameras) for s in feed(sync, events)] for sync in (default, all_of_them))
    assert found == expected


def test_a_rig_in_order_is_neither_split_nor_delayed_by_partial_sets() -> None:
    account = Account()
    sets = drive(sweep(10**9, 50, 83 * MS), partial(account, min_cameras=1))
    assert [len(image_set.images) for _, image_set in sets] == [6] * 50
    assert all(made_s == image_set.reference_ns / 1e9 for made_s, image_set in sets)
    assert account.totals().drops == {}


def test_a_dead_camera_delays_one_set_and_then_none() -> None:
    account, dies_ns = Account(), 3 * 10**9
    events = [(c, t) for c, t in sweep(10**9, 100, 83 * MS) if c != "CAM_BACK" or t < dies_ns]
    sets = drive(events, partial(account))
    without = [(made_s, s) for made_s, s in sets if "CAM_BACK" not in s.cameras]
    assert all(s.cameras == tuple(c for c in CAMERAS if c != "CAM_BACK") for _, s in without)
    waited_s = without[0][0] - dies_ns / 1e9
    assert 0.8 < waited_s < 1.1
    assert all(made_s - s.reference_ns / 1e9 < 1e-6 for made_s, s in without[1:])
    gaps_ns = {after.reference_ns - before.reference_ns for (_, before), (_, after) in itertools.pairwise(without)}
    assert gaps_ns == {83 * MS}
    assert without[-1][1].reference_ns == max(t for _, t in events)
    assert len(events) == sum(len(s.images) for _, s in sets) + sum(account.totals().drops.values())


def test_a_camera_that_comes_back_is_part_of_the_next_set() -> None:
    events = [(c, t) for c, t in sweep(10**9, 60, 83 * MS) if c != "CAM_BACK" or not 2 * 10**9 < t < 4 * 10**9]
    sets = [image_set for _, image_set in drive(events, partial(Account()))]
    back = [s for s in sets if s.reference_ns > 4 * 10**9 + 83 * MS]
    assert back and all(len(s.cameras) == 6 for s in back)


def test_a_lost_image_costs_its_camera_only() -> None:
    """Five cameras of the sixth sweep, as soon as the sixth camera has sent its next image."""
    account = Account()
    events = sweep(10**9, 24, 83 * MS)
    lost = events[5 * 6 + 2]
    sets = drive([event for event in events if event != lost], partial(account))
    assert [len(s.images) for _, s in sets] == [6] * 5 + [5] + [6] * 18
    made_s, image_set = sets[5]
    assert lost[0] not in image_set.cameras
    assert made_s == events[6 * 6 + 2][1] / 1e9
    assert account.totals().drops == {}


def test_more_lost_images_than_allowed_cost_the_set() -> None:
    account = Account()
    events = sweep(10**9, 10, 83 * MS)
    lost = {events[5 * 6 + 1], events[5 * 6 + 2]}
    sets = drive([event for event in events if event not in lost], partial(account))
    assert [len(s.images) for _, s in sets] == [6] * 9
    assert account.totals().drops == {"image_unmatched": 4}


def test_what_comes_too_late_for_its_partial_set_is_counted() -> None:
    account = Account()
    sync = partial(account, timeout_s=0.5)
    first = sweep(10**9, 1)
    assert sync.add(*stored(first[0], 0.0)) is None
    assert [sync.add(*stored(event, 0.4)) for event in first[1:4]] == [None] * 3
    made = sync.add(*stored(first[4], 0.6))  # the last camera has not spoken for 0.6 s
    assert made is not None and made.cameras == CAMERAS[:5]
    assert sync.add(*stored(first[5], 0.8)) is None
    assert account.totals().drops == {"image_late": 1}


def test_a_pause_of_all_cameras_counts_against_none() -> None:
    account = Account()
    sync = partial(account)
    events = sweep(10**9, 10, 83 * MS)
    for number, event in enumerate(events):
        made = sync.add(*stored(event, event[1] / 1e9 + (600.0 if number >= 30 else 0.0)))
        assert (made is not None) == (number % 6 == 5)
    assert account.totals().drops == {}


def drive_with_a_wrong_clock(
    off_s: float, cameras: tuple[str, ...], account: Account, min_cameras: int = 5, count: int = 384, until: int = 384
) -> list[ImageSet[None]]:
    """12 Hz; the stamps of these cameras are off from frame 24 on, not when they arrive."""
    sync, sets = partial(account, min_cameras), []
    for number, (camera, time_ns) in enumerate(sweep(100 * 10**9, count, 83 * MS)):
        off_ns = round(off_s * 1e9) if camera in cameras and 24 <= number // 6 < until else 0
        sets.append(sync.add(camera, Stored(time_ns + off_ns, time_ns / 1e9, None)))
    found = [image_set for image_set in sets if image_set is not None]
    used = sum(len(image_set.images) for image_set in found)
    assert 6 * count == used + sum(account.totals().drops.values()) + sync.buffered
    return found


@pytest.mark.parametrize("off_s", [-0.7, -1.0, -10.0, -3600.0])
@pytest.mark.parametrize("min_cameras", [1, 5])
def test_a_camera_whose_stamps_are_behind_is_waited_for_once(off_s: float, min_cameras: int) -> None:
    account = Account()
    sets = drive_with_a_wrong_clock(off_s, ("CAM_BACK",), account, min_cameras)
    assert len(sets) >= 384 - 13
    assert [len(s.images) for s in sets[:24]] == [6] * 24
    assert [s.cameras for s in sets[28:]] == [tuple(c for c in CAMERAS if c != "CAM_BACK")] * (len(sets) - 28)
    gaps_ns = [after.reference_ns - before.reference_ns for before, after in itertools.pairwise(sets)]
    assert max(gaps_ns[:28]) < 1.1e9
    assert set(gaps_ns[28:]) == {83 * MS}
    drops = account.totals().drops
    assert drops["image_late"] + drops.get("image_duplicate", 0) + drops["image_unmatched"] >= 360


@pytest.mark.parametrize("off_s", [0.7, 1.0, 10.0, 3600.0])
@pytest.mark.parametrize("min_cameras", [1, 5])
def test_a_camera_whose_stamps_are_ahead_delays_nothing(off_s: float, min_cameras: int) -> None:
    account = Account()
    sets = drive_with_a_wrong_clock(off_s, ("CAM_BACK",), account, min_cameras)
    assert [len(s.images) for s in sets] == [6] * 24 + [5] * 360
    assert account.totals().drops == {"image_overflow": 360 - 8}


@pytest.mark.parametrize("off_s", [-10.0, -1.0, 1.0, 10.0])
def test_a_camera_whose_clock_is_set_right_is_back_at_once(off_s: float) -> None:
    sets = drive_with_a_wrong_clock(off_s, ("CAM_BACK",), Account(), until=200)
    assert [len(s.images) for s in sets[-184:]] == [6] * 184
    assert len(sets) >= 384 - 13


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3000), min_size=40, max_size=40), st.sampled_from([0, 1, 5]))
def test_one_camera_whatever_its_stamps_never_turns_time_back(stamps: list[int], min_cameras: int) -> None:
    account = Account()
    sync, sets, sent = partial(account, min_cameras), [], 0
    for number, (camera, time_ns) in enumerate(sweep(10 * 10**9, 40, 83 * MS)):
        stamp_ns = stamps[number // 6] * 10 * MS if camera == "CAM_BACK" else time_ns
        sets.append(sync.add(camera, Stored(stamp_ns, time_ns / 1e9, None)))
        sent += 1
    found = [image_set for image_set in sets if image_set is not None]
    assert all(after.reference_ns > before.reference_ns for before, after in itertools.pairwise(found))
    assert all(len(image_set.images) >= 5 for image_set in found if min_cameras == 5)
    used = sum(len(image_set.images) for image_set in found)
    assert sent == used + sum(account.totals().drops.values()) + sync.buffered


@pytest.mark.parametrize("behind", [2, 3])
def test_cameras_behind_together_do_not_turn_the_time_back(behind: int) -> None:
    sets = drive_with_a_wrong_clock(-1.0, CAMERAS[:behind], Account(), min_cameras=2)
    assert all(after.reference_ns > before.reference_ns for before, after in itertools.pairwise(sets))
    assert sets[-1].cameras == CAMERAS[behind:]
    assert len(sets) >= 384 - 13


@pytest.mark.parametrize("behind", [4, 5])
def test_most_cameras_decide_what_time_it_is(behind: int) -> None:
    """Time goes back once, and the sets go on with those that say so."""
    sets = drive_with_a_wrong_clock(-1.0, CAMERAS[:behind], Account(), min_cameras=2)
    back = [after.reference_ns < before.reference_ns for before, after in itertools.pairwise(sets)]
    assert (back.count(True), back.index(True)) == (1, 23)
    assert [s.cameras for s in sets[24:]] == [CAMERAS[:behind]] * 360


@pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.5])
def test_a_camera_that_is_late_by_less_than_its_buffer_is_part_of_every_set(delay_s: float) -> None:
    account = Account()
    sync = partial(account)
    events = [(t / 1e9 + delay_s * (c == "CAM_BACK"), c, t) for c, t in sweep(10**9, 100, 83 * MS)]
    made = [sync.add(c, Stored(t, arrival_s, None)) for arrival_s, c, t in sorted(events)]
    assert [len(s.images) for s in made if s is not None] == [6] * 100
    assert account.totals().drops == {}


@pytest.mark.parametrize("delay_s", [0.8, 3.0])
def test_a_camera_that_is_late_by_more_is_not_waited_for(delay_s: float) -> None:
    sync = partial(Account())
    events = [(t / 1e9 + delay_s * (c == "CAM_BACK"), c, t) for c, t in sweep(10**9, 384, 83 * MS)]
    sets = [sync.add(c, Stored(t, arrival_s, None)) for arrival_s, c, t in sorted(events)]
    assert [len(s.images) for s in sets if s is not None][-340:] == [5] * 340


def stored(event: tuple[str, int], arrival_s: float) -> tuple[str, Stored[None]]:
    return event[0], Stored(event[1], arrival_s, None)


def test_a_looped_bag_with_a_dead_camera_gives_the_same_sets_in_every_pass() -> None:
    account = Account()
    sync: CameraSync[None] = partial(account)
    bag = [(c, t) for c, t in sweep(10**9, 60, 83 * MS) if c != "CAM_BACK"]
    clock = itertools.count()
    per_pass = []
    for _ in range(3):
        made = [sync.add(c, Stored(t, 83e-3 / 5 * next(clock), None)) for c, t in bag]
        per_pass.append(sum(image_set is not None for image_set in made))
    assert per_pass[1:] == [60, 60]
    assert per_pass[0] >= 48
