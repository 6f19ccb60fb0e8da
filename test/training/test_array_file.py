"""Arrays on disk: zeros of the right kind, and a disk too small is told before a byte is written."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.training.array_file import new_array


def test_what_is_written_is_read_again_and_the_room_is_really_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    mapped = new_array(path, np.float16, (300, 4000))
    assert mapped.shape == (300, 4000)
    assert path.stat().st_blocks * 512 >= 300 * 4000 * 2
    mapped[7] = 1.5
    mapped.flush()
    again = np.load(path)
    assert again.dtype == np.float16
    assert (again.sum(axis=1) > 0).nonzero()[0].tolist() == [7]


def test_a_disk_without_room_is_one_error_that_names_the_file(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OSError, match=r"No space left on device: \d+ MiB needed, \d+ MiB free.*big\.npy") as raised:
        new_array(tmp_path / "big.npy", np.uint8, (2, free))
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
