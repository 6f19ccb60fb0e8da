"""What all stages of one call share: settings, places, the network, what it does on the calibration frames."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.compress.progress_bar import bar, each
from tggbc_ros.compress.sparse.curves_file import Found, read_found
from tggbc_ros.compress.sparse.folded import folded
from tggbc_ros.compress.sparse.layers import Layer, find_layers
from tggbc_ros.compress.sparse.places import Places
from tggbc_ros.compress.sparse.recording import Moment, Replay, record
from tggbc_ros.compress.sparse.settings import Settings
from tggbc_ros.compress.sparse.study import Studied, random_signs, study
from tggbc_ros.compress.splits import prepared
from tggbc_ros.compress.values import Floats
from tggbc_ros.core.checkpoint import build_network, fitting, read_state_dict, sha256
from tggbc_ros.core.config import ModelConfig, model_config
from tggbc_ros.core.gates import Gate
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.training.frames import FrameTable


class Context:
    """Read when they are first needed, so that a stage that is done costs nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.places = settings, Places(settings)

    def also(self, settings: Settings) -> Context:
        """Another run on the same network and frames: what was found here is not found again."""
        other = Context(settings)
        other.__dict__ |= {name: value for name, value in vars(self).items() if name not in ("settings", "places")}
        return other

    @cached_property
    def model(self) -> ModelConfig:
        """The dense network's configuration, with its backbone's shape where its file has one."""
        return fitting(model_config(self.settings.model), self.settings.checkpoint)

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the dense checkpoint."""
        return sha256(self.settings.checkpoint)

    @cached_property
    def item(self) -> int:
        """Bytes of a number in the dense checkpoint."""
        return max(
            value.element_size() for value in read_state_dict(self.settings.checkpoint).values() if value.ndim > 1
        )

    @cached_property
    def device(self) -> torch.device:
        """Where networks are tuned."""
        return find_device(self.settings.device)

    @cached_property
    def dense(self) -> StreamPETR:
        """The dense network, on the CPU."""
        return build_network(self.model, self.settings.checkpoint)[0].eval().requires_grad_(False)

    @cached_property
    def folded(self) -> StreamPETR:
        """A copy without norms, which is what is studied."""
        return folded(self.dense)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What may be pruned."""
        return find_layers(self.folded).pruned

    @cached_property
    def frames(self) -> FrameTable:
        """What is calibrated and tuned on, prepared the first time."""
        where = self.settings.train
        folder = self.places.prepared(where.split, self.model.image_size)
        return prepared(where, self.model, folder)

    @cached_property
    def moments(self) -> list[Moment]:
        """The dense network's run over the calibration frames."""
        with bar("recording", "frame", self.settings.frames) as shown:
            return record(self.folded, self.frames, self.settings.frames, done=each(shown))

    @cached_property
    def subject(self) -> Replay:
        """The folded network on all of them."""
        return Replay(self.folded, self.moments, self.settings.confidence)

    @cached_property
    def studied(self) -> dict[str, Studied]:
        """What its weights do and what its layers see, by layer."""
        given = self.settings
        vectors = random_signs(given.passes, torch.Generator().manual_seed(given.seed))
        with bar("curvature", "frame", len(self.subject)) as shown:
            return study(self.subject, self.layers, vectors, given.places, given.seed, each(shown))

    def found(self) -> Found:
        """The curves of this way to prune."""
        return read_found(self.places.curves, self.layers, self.weights)

    def arrays(self) -> list[Floats]:
        """The folded layers' weights."""
        parameters = dict(self.folded.named_parameters())
        return [layer.of(parameters).detach().numpy().astype(np.float64) for layer in self.layers]

    def expect_all_there(self) -> None:
        """Raise, before hours of work, where the checkpoint does not fit or a split is not there."""
        gates = [name for name, module in self.dense.named_modules() if isinstance(module, Gate)]
        if gates:
            raise ValueError(
                f"checkpoint {self.settings.checkpoint} has {len(gates)} gates, {gates[0]} first: what they let pass "
                "differs from frame to frame; give the network without them"
            )
        for where in filter(None, (self.settings.train, self.settings.held_out)):
            where.expect_there()
