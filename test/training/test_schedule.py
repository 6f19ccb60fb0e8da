"""Learning rate and keep ratio over a run."""

from __future__ import annotations

import math

import pytest

from tggbc_ros.training.schedule import KeepRamp, learning_rate


def test_rate_warms_up_peaks_and_falls_to_a_hundredth() -> None:
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(101)]
    assert math.isclose(rates[0], 0.1) and math.isclose(max(rates), 1.0) and rates.index(max(rates)) in (9, 10)
    assert math.isclose(rates[55], 0.505, abs_tol=1e-9) and math.isclose(rates[100], 0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_keys_are_kept_then_fewer_then_as_many_as_asked() -> None:
    ramp = KeepRamp(final=0.2, begin=0.25, end=0.75)
    kept = [ramp.keep_ratio(step, 8) for step in range(9)]
    assert kept[:3] == [1.0, 1.0, 1.0] and math.isclose(kept[4], 0.6) and all(math.isclose(k, 0.2) for k in kept[6:])


def test_without_pruning_all_keys_stay() -> None:
    assert {KeepRamp().keep_ratio(step, 5) for step in range(6)} == {1.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [((0.0, 0.3, 0.7), "prune_final_keep is 0.0"), ((0.5, 0.7, 0.7), "prune ramp is 0.7 to 0.7")],
)
def test_bad_ramps_are_refused(values: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeepRamp(*values)
