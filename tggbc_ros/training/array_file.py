"""Arrays that are filled where they lie on disk."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt


def new_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A .npy file of zeros, mapped for writing, whose room is taken at once.

    Without it a process dies of a bus error, not of an exception, at the first page that a full disk has no room for.
    Raises OSError naming the file where there is not enough room; none is left behind then.
    """
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        words = f"{os.strerror(errno.ENOSPC)}: {needed / 2**20:.0f} MiB needed, {free / 2**20:.0f} MiB free"
        raise OSError(errno.ENOSPC, words, str(path))
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink()
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    return mapped
