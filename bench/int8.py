"""Exports in int8 for a clock: calibrated on the benchmark's own frames, and kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from bench.frames import raw_frame
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.export.cache import cache_folder, code_hash, quantised_encoder
from tggbc_ros.export.calibration import FEWEST_FRAMES, describe
from tggbc_ros.export.exporter import export, quantise_on
from tggbc_ros.export.manifest import ExportError, read


def int8_export(model: ModelConfig, weights: Path | None) -> Path | None:
    """The folder of one, made at the first call, in some minutes; the weights themselves where one lies beside them."""
    if weights and quantised_encoder(weights).is_file():
        return weights
    made_of = sha256(weights) if weights else "RANDOM"
    digest = hashlib.sha256(f"{model} {made_of} {code_hash()}".encode()).hexdigest()
    folder = cache_folder() / f"bench-int8-{model.name}-{digest[:16]}"
    try:
        read(folder)
    except ExportError:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        frames = (raw_frame(model, number) for number in range(FEWEST_FRAMES))
        images = [preprocess(frame, model, "cpu").images[0].numpy() for frame in frames]
        quantise = quantise_on(images, describe(images, "the benchmark's frames", model.image_size))
        export(model, weights, folder, "int8", quantise=quantise)
    return folder
