"""The encoders of networks on the engine that will run them."""

from __future__ import annotations

from pathlib import Path

import torch

from tggbc_ros import backends
from tggbc_ros.compress.progress_bar import bar
from tggbc_ros.compress.slim.context import Context
from tggbc_ros.compress.slim.judging import Encode
from tggbc_ros.compress.slim.networks import norm_frames
from tggbc_ros.core.threads import beside
from tggbc_ros.export.calibration import FRAMES, describe
from tggbc_ros.export.exporter import export, quantise_on
from tggbc_ros.export.quantisation import require_library

INT8 = "_int8"


def encoder(context: Context, weights: Path, images: torch.Tensor) -> Encode:
    """What encodes the images [1, N, 3, H, W] with these weights, or an export of them, on the settings' engine."""
    given = context.settings
    network = backends.load_network(given.engine, context.model, weights, given.device)
    there = images.to(network.device)

    def encode() -> torch.Tensor:
        with beside(network.own_threads):  # as in a frame
            features = network.encode(there)
        network.synchronize()
        return features

    return encode


def needs_int8(engine: str) -> bool:
    """Whether an engine runs exports that were calibrated on images."""
    return engine.endswith(INT8)


def export_int8(context: Context, weights: Path, folder: Path) -> None:
    """Export a network with an encoder in int8, its ranges learned from the frames that were scored."""
    require_library()
    model, table = context.model, context.frames
    rows = norm_frames(table, FRAMES, context.settings.seed)
    images = []
    with bar("reading images", "frame", len(rows)) as shown:
        for row in rows:
            images.append(table.batch([row], model, torch.device("cpu")).inputs.images[0].numpy())
            shown.update()
    calibration = describe(images, f"split {context.settings.train.split}", model.image_size)
    export(model, weights, folder, "int8", progress=lambda _: None, quantise=quantise_on(images, calibration))
