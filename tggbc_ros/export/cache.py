"""Exports that are made when they are first needed, and kept for the next start."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from pathlib import Path

from tggbc_ros.core.checkpoint import CheckpointError, sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export.exporter import export, require_libraries, take_quantised
from tggbc_ros.export.manifest import EXPORT_COMMAND, ExportError, Manifest, read
from tggbc_ros.export.quantisation import expect_quantisable

PACKAGE = Path(__file__).resolve().parents[1]
MADE_BY = ("core", "export")

_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where exports are kept: $XDG_CACHE_HOME/tggbc_ros, else ~/.cache/tggbc_ros."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "tggbc_ros"


def quantised_encoder(checkpoint: Path) -> Path:
    """Where a checkpoint's encoder in int8 lies, if it has one: that of a shipped model is shipped."""
    return checkpoint.with_name(f"{checkpoint.stem}_encoder_int8.onnx")


def cached_export(model: ModelConfig, checkpoint: Path | None, precision: str = "fp32") -> tuple[Path, Manifest]:
    """A checkpoint's export, checked: its folder and manifest. It is made now where there is none.

    The folder's name holds a hash of the weights and of the code that makes it, so that neither is ever stale. One
    that is damaged, by a disk or by a power cut, is made anew: it is nobody's but ours. precision: fp32, or int8 where
    the encoder in int8 lies beside the checkpoint; raises ExportError where it does not.
    """
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"checkpoint {checkpoint} does not exist")
    if precision == "int8":
        expect_quantisable(model)
    quantised = quantised_encoder(checkpoint) if checkpoint and precision == "int8" else None
    if precision == "int8" and not (quantised and quantised.is_file()):
        raise ExportError(
            f"an encoder in int8 has to be calibrated on images, and {checkpoint or 'random weights'} has none: "
            f"{EXPORT_COMMAND} --precision int8 --calibrate-bag BAG, then set checkpoint to the folder it made"
        )
    made_of = " ".join(sha256(file) for file in (checkpoint, quantised) if file) or "RANDOM"
    digest = hashlib.sha256(f"{model} {made_of} {code_hash()}".encode())
    folder = cache_folder() / f"{model.name}-{digest.hexdigest()[:16]}"
    manifest = _sound(folder)
    if manifest is not None:
        return folder, manifest
    require_libraries()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another node may be at it
        manifest = _sound(folder)
        if manifest is None:
            shutil.rmtree(folder, ignore_errors=True)
            # A warning, because it takes about a minute, and lower levels are not shown unless asked for.
            _logger.warning("exporting model %s to ONNX in %s, this once", model.name, folder)
            take = take_quantised(quantised) if quantised else None
            export(model, checkpoint, folder, precision=precision, progress=_logger.info, quantise=take)
            manifest = read(folder)
    return folder, manifest


def _sound(folder: Path) -> Manifest | None:
    """The manifest of the export there, None where there is none or a damaged one."""
    try:
        return read(folder) if folder.exists() else None
    except ExportError as error:
        _logger.warning("damaged: %s", error)
        return None


def code_hash() -> str:
    """Of the package's source files that decide what an export holds."""
    digest = hashlib.sha256()
    for part in MADE_BY:
        for path in sorted((PACKAGE / part).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
