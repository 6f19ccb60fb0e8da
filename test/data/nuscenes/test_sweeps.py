"""nuscenes_sweeps: images are grouped by the time their camera should have fired, never used twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.data.nuscenes.sweeps import group_shots
from tggbc_ros.data.nuscenes.tables import SampleDataRow


def rows(name: str, *times_us: int) -> list[SampleDataRow]:
    return [SampleDataRow(f"{name}-{t}", "s", "p", "c", t, False, "", 1, 1) for t in times_us]


def tokens(sets: list[tuple[SampleDataRow, ...]]) -> list[list[str]]:
    return [[row.token for row in entry] for entry in sets]


def test_offsets_decide_who_belongs_together() -> None:
    shots = {"A": rows("A", 0, 100_000, 150_000), "B": rows("B", 45_000, 145_000, 195_000)}
    sets, left_out = group_shots(shots, {"A": 0.0, "B": 45_000.0})
    assert tokens(sets) == [["A-0", "B-45000"], ["A-100000", "B-145000"], ["A-150000", "B-195000"]]
    assert left_out == 0


def test_a_missing_image_leaves_its_set_out() -> None:
    shots = {"A": rows("A", 0, 50_000, 100_000), "B": rows("B", 1_000, 101_000)}
    sets, left_out = group_shots(shots, {"A": 0.0, "B": 0.0})
    assert tokens(sets) == [["A-0", "B-1000"], ["A-100000", "B-101000"]]
    assert left_out == 1


def test_no_image_serves_twice() -> None:
    sets, left_out = group_shots({"A": rows("A", 0, 15_000), "B": rows("B", 8_000)}, {"A": 0.0, "B": 0.0})
    assert tokens(sets) == [["A-0", "B-8000"]]
    assert left_out == 1


def test_a_camera_without_images_leaves_all_out() -> None:
    assert group_shots({"A": rows("A", 0, 50_000), "B": []}, {"A": 0.0, "B": 0.0}) == ([], 2)


@given(st.lists(st.lists(st.integers(0, 2_000_000), max_size=12, unique=True), min_size=2, max_size=4))
def test_every_image_is_used_once_or_counted(times_us: list[list[int]]) -> None:
    shots = {str(camera): rows(str(camera), *times) for camera, times in enumerate(times_us)}
    sets, left_out = group_shots(shots, dict.fromkeys(shots, 0.0))
    used = [row.token for entry in sets for row in entry]
    assert len(used) == len(set(used))
    assert len(used) + left_out == sum(map(len, times_us))
    for entry in sets:
        assert all(abs(row.timestamp - entry[0].timestamp) <= 20_000 for row in entry)
