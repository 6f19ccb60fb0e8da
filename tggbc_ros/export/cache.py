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
from tggbc_ros.export.exporter import export, require_libraries
from tggbc_ros.export.manifest import ExportError, Manifest, read

PACKAGE = Path(__file__).resolve().parents[1]
MADE_BY = ("core", "export")

_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where exports are kept: $XDG_CACHE_HOME/tggbc_ros, else ~/.cache/tggbc_ros."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "tggbc_ros"


def cached_export(model: ModelConfig, checkpoint: Path | None) -> tuple[Path, Manifest]:
    """A checkpoint's export in float32, checked: its folder and manifest. It is made now where there is none.

    The folder's name holds a hash of the weights and of the code that makes it, so that neither is ever stale. One
    that is damaged, by a disk or by a power cut, is made anew: it is nobody's but ours.
    """
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"checkpoint {checkpoint} does not exist")
    digest = hashlib.sha256(f"{model} {sha256(checkpoint) if checkpoint else 'RANDOM'} {_code_hash()}".encode())
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
            export(model, checkpoint, folder, progress=_logger.info)
            manifest = read(folder)
    return folder, manifest


def _sound(folder: Path) -> Manifest | None:
    """The manifest of the export there, None where there is none or a damaged one."""
    try:
        return read(folder) if folder.exists() else None
    except ExportError as error:
        _logger.warning("damaged: %s", error)
        return None


def _code_hash() -> str:
    """Of the package's source files that decide what an export holds."""
    digest = hashlib.sha256()
    for part in MADE_BY:
        for path in sorted((PACKAGE / part).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
