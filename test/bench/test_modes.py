from __future__ import annotations

from bench.modes import DENSE, DENSE_EXPLICIT, all_modes


def test_every_mode_has_its_own_label() -> None:
    labels = [mode.label for mode in all_modes()]
    assert len(set(labels)) == len(labels) == 14
    assert {"dense_sdpa", "pruned 0.125 n=1", "pruned 0.7 n=3", "carry 0.125 n=1 from 0.25"} <= set(labels)


def test_what_the_reference_runs_is_dense_or_prunes_hardest() -> None:
    explicit = [mode for mode in all_modes() if mode.explicit]
    assert [(mode.pruning.keep_ratio, mode.trims) for mode in explicit] == [(1.0, 0), (0.125, 1)]


def test_carry_begins_with_more_keys_than_it_ends_with() -> None:
    modes = all_modes(keep_ratios=(0.7, 0.3), trims=(1,))
    assert modes[:2] == [DENSE, DENSE_EXPLICIT]
    assert [mode.label for mode in modes[2:]] == [
        "pruned 0.7 n=1",
        "pruned 0.3 n=1",
        "pruned_explicit 0.3 n=1",
        "carry 0.3 n=1 from 0.5",
        "carry 0.3 n=1 from 0.4",
    ]
