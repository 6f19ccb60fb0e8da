"""Hooks: tgGBC's schedule to the key, refusals, class names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmdet3d.registry import MODELS
from mmengine.runner import Runner
from tiny_setup import KEYS, TinySetup, model_config

from tggbc_ros.mmdet3d_plugin.hooks import KeyPruningHook


def test_schedule_of_the_authors_config() -> None:
    """r = 21000; three epochs of 7032 iterations without, six with ever more, iterations counted from 0."""
    hook = KeyPruningHook(warmup_iters=3 * 7032, heating_iters=6 * 7032, r=21000)
    at = {
        0: 0,
        21095: 0,
        21096: 0,
        21097: 0,
        21098: 1,
        31643: 5250,
        42191: 10500,
        63286: 20999,
        63287: 21000,
        99999: 21000,
    }
    assert {iteration: hook.removed(iteration, 21000) for iteration in at} == at


def test_without_heating_all_go_at_once() -> None:
    hook = KeyPruningHook(warmup_iters=2, heating_iters=0, keep_ratio=0.5)
    assert [hook.removed(iteration, 24) for iteration in range(4)] == [0, 0, 24, 24]


@pytest.mark.parametrize("options", [{}, {"r": 10, "keep_ratio": 0.5}])
def test_r_or_keep_ratio(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected one of the two"):
        KeyPruningHook(warmup_iters=1, heating_iters=1, **options)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"r": KEYS}, f"r is {KEYS}, expected 0 to {KEYS - 1}: there are {KEYS} keys"),
        ({"keep_ratio": 0.5, "n": 9}, "prune_layers is 9, expected 1 to 3"),
    ],
)
def test_what_the_network_cannot_do_is_refused_before_training(
    tiny: TinySetup, tmp_path: Path, hook: dict[str, float], message: str
) -> None:
    hooks = [{"type": "KeyPruningHook", "warmup_iters": 1, "heating_iters": 1, **hook}]
    runner = Runner.from_cfg(tiny.config(tmp_path, custom_hooks=hooks))
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_classes_in_another_order_are_refused(tiny: TinySetup, tmp_path: Path) -> None:
    config = tiny.config(tmp_path)
    names = config.test_dataloader.dataset.metainfo.classes
    config.test_dataloader.dataset.metainfo.classes = (names[1], names[0], *names[2:])
    with pytest.raises(ValueError, match="the data set's classes are .*'truck', 'car'"):
        Runner.from_cfg(config).test()


@pytest.mark.parametrize(
    ("field", "value"), [("mean", [0.0, 0.0, 0.0]), ("std", [1.0, 1.0, 1.0]), ("bgr_to_rgb", False)]
)
def test_other_normalisation_than_the_networks_is_refused(field: str, value: object) -> None:
    config = model_config()
    config["data_preprocessor"][field] = value
    with pytest.raises(ValueError, match="data_preprocessor has .* expects"):
        MODELS.build(config)
