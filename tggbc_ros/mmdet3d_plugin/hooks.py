"""Hooks: key pruning that sets in while the network learns, and a check that class names mean the same everywhere."""

from __future__ import annotations

import dataclasses
from typing import Any

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from tggbc_ros.core.pruning import keys_to_keep


@HOOKS.register_module()
class KeyPruningHook(Hook):
    """tgGBC's training schedule: all keys for ``warmup_iters``, then linearly fewer over ``heating_iters``.

    What is removed in the end: ``r`` keys, or all but the share ``keep_ratio``. n and k: decoder layers that trim, and
    queries that vote; None leaves them as the model has them. cameras: of the data set. Iteration i, counted from 1,
    removes int((i - warmup) / heating * r) keys while heating, as the authors' code does. Validation while training
    prunes as the last iteration did.
    """

    def __init__(
        self,
        warmup_iters: int,
        heating_iters: int,
        r: int | None = None,
        keep_ratio: float | None = None,
        n: int | None = None,
        k: int | None = None,
        cameras: int = 6,
    ) -> None:
        if (r is None) == (keep_ratio is None):
            raise ValueError(f"r is {r} and keep_ratio is {keep_ratio}, expected one of the two")
        if warmup_iters < 0 or heating_iters < 0:
            raise ValueError(f"warmup_iters is {warmup_iters} and heating_iters {heating_iters}, expected 0 or more")
        self.warmup_iters, self.heating_iters, self.cameras = warmup_iters, heating_iters, cameras
        self.r, self.keep_ratio = r, keep_ratio
        self.changes = {name: value for name, value in (("layers", n), ("queries", k)) if value is not None}

    def removed(self, iteration: int, final: int) -> int:
        """Keys to remove in an iteration, counted from 0, if ``final`` are in the end."""
        done = iteration + 1 - self.warmup_iters
        if done <= 0:
            return 0
        return final if done > self.heating_iters else int(done / self.heating_iters * final)

    def before_train(self, runner: Runner) -> None:
        """Raise ValueError where there are not that many keys or layers."""
        self._set(runner, self._final(runner))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the model's pruning, whatever iteration a resumed run is at."""
        self._set(runner, self.removed(runner.iter, self._final(runner)))

    def _final(self, runner: Runner) -> int:
        keys = self._keys(runner)
        removed = keys - keys_to_keep(keys, self.keep_ratio) if self.keep_ratio is not None else self.r
        if removed is None or not 0 <= removed < keys:
            raise ValueError(f"r is {removed}, expected 0 to {keys - 1}: there are {keys} keys")
        return removed

    def _keys(self, runner: Runner) -> int:
        rows, columns = bare_model(runner).model.feature_size
        return int(self.cameras * rows * columns)

    def _set(self, runner: Runner, removed: int) -> None:
        model, keys = bare_model(runner), self._keys(runner)
        model.pruning = dataclasses.replace(model.pruning, keep_ratio=1.0 - removed / keys, **self.changes)
        model.pruning.check_layers(model.model.num_layers)
        runner.message_hub.update_scalar("train/keys_removed", removed)


@HOOKS.register_module()
class ClassOrderHook(Hook):
    """Raise ValueError where a data set's class names are not the network's, in its order.

    mmdet3d's own order differs from StreamPETR's, and a label is only an index.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training data."""
        self._check(runner, runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Check the validation data."""
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the test data."""
        self._check(runner, runner.test_dataloader)

    def _check(self, runner: Runner, loader: Any) -> None:
        found, wanted = tuple(loader.dataset.metainfo["classes"]), tuple(bare_model(runner).model.class_names)
        if found != wanted:
            raise ValueError(f"the data set's classes are {found}, expected the network's, {wanted}: set metainfo")


def bare_model(runner: Runner) -> Any:
    """The detector, without what distributed training wraps around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
