"""self_check: for how long nothing has changed. What the node makes of it is in the fault drill."""

from __future__ import annotations

from builtin_interfaces.msg import Time

from tggbc_ros.ros.health.self_check import SelfCheck, Stillness
from tggbc_ros.ros.params import Settings


def test_a_value_is_as_old_as_its_last_change() -> None:
    still = Stillness(100.0)
    values = [(101.0, None), (102.0, None), (103.0, 7), (104.0, 7), (109.0, 7), (110.0, 6)]
    assert [still.age_s(value, now_s) for now_s, value in values] == [1.0, 2.0, 0.0, 1.0, 6.0, 0.0]


def test_time_that_is_excused_does_not_count() -> None:
    still = Stillness(0.0)
    assert still.age_s(3, 50.0, excused=True) == 0.0
    assert still.age_s(3, 51.0) == 1.0
    assert still.age_s(3, 60.0, excused=True) == 0.0
    assert still.age_s(3, 62.0) == 2.0


def test_every_status_carries_the_full_name_of_its_node_and_a_hardware_id() -> None:
    """Two nodes of one name in two namespaces, and two of one namespace."""
    names = ("/car1/detector", "/car2/detector", "/car2/rear")
    found = [
        SelfCheck(name, print).message(Time(), "unconfigured", Settings(), None, None, {}).status for name in names
    ]
    assert [status.name for statuses in found for status in statuses] == [
        f"{name[1:]}: {what}" for name in names for what in ("node", "network")
    ]
    assert all(status.hardware_id for statuses in found for status in statuses)
