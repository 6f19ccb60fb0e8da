"""What all stages of one call share: the settings, where things lie, the network, the frames."""

from __future__ import annotations

from functools import cached_property

import torch

from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.compress.latency import LatencyTable, Setting, read_table
from tggbc_ros.compress.score import Scores
from tggbc_ros.compress.slim.networks import shape_of
from tggbc_ros.compress.slim.places import Places
from tggbc_ros.compress.slim.scores_file import read_scores
from tggbc_ros.compress.slim.settings import Settings
from tggbc_ros.compress.slim.widths import Choices
from tggbc_ros.compress.splits import prepared
from tggbc_ros.core.checkpoint import build_network, fitting, sha256
from tggbc_ros.core.config import ModelConfig, model_config
from tggbc_ros.core.shape import Shape
from tggbc_ros.training.frames import FrameTable


class Context:
    """Read when they are first needed, so that a stage that is done costs nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.places = settings, Places(settings)

    @cached_property
    def shape(self) -> Shape:
        """Of the dense network's backbone."""
        return shape_of(self.model, self.settings.checkpoint)

    @cached_property
    def model(self) -> ModelConfig:
        """The dense network's configuration, with its backbone's shape where its file has one."""
        return fitting(model_config(self.settings.model), self.settings.checkpoint)

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the dense checkpoint."""
        return sha256(self.settings.checkpoint)

    @cached_property
    def device(self) -> torch.device:
        """Where scores and tuning are computed."""
        return find_device(self.settings.device)

    @cached_property
    def setting(self) -> Setting:
        """What the latency table has to be of."""
        given = self.settings
        return Setting.here(self.model, given.engine, given.cameras, given.device)

    @cached_property
    def frames(self) -> FrameTable:
        """What is scored and tuned on, prepared the first time."""
        where = self.settings.train
        folder = self.places.prepared(where.split, self.model.image_size)
        return prepared(where, self.model, folder)

    def expect_all_there(self) -> None:
        """Raise, before hours of work, where the checkpoint does not fit or a split is not there."""
        build_network(self.model, self.settings.checkpoint)
        for where in filter(None, (self.settings.train, self.settings.held_out)):
            where.expect_there()

    def table(self) -> LatencyTable:
        """Of latencies; raises ValueError for one of another machine, engine, size or network."""
        return read_table(self.places.latency, self.setting, self.settings.foreign_table)

    def scores(self) -> Scores:
        """Of importance; raises ValueError for those of another network."""
        return read_scores(self.places.scores, self.shape, self.weights)

    def choices(self) -> Choices:
        """What may be chosen."""
        given = self.settings
        return Choices(self.shape, self.table(), self.scores().importance, given.step, given.keep_stem)
