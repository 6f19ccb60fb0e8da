"""keys: only what kept its keys stays bright, and each camera says how much that is."""

from __future__ import annotations

import numpy as np
import pytest

from tggbc_ros.core.config import CLASS_NAMES, MODELS
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.records import CAMERA_NAMES
from tggbc_ros.drawing.overlay import MOSAIC
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.passes import Split
from tggbc_ros.showcase.frames import ShownFrame
from tggbc_ros.showcase.keys import key_picture

DEMO = MODELS["demo"]
NO_BOXES = Boxes3D(
    np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty((0, 2)), np.empty(0), np.empty(0, np.int64),
    np.empty(0, np.int64)
)  # fmt: skip


@pytest.fixture
def shown(split: Split) -> ShownFrame:
    """The front camera keeps its left half, the others nothing."""
    sample = next(split.samples())
    kept = {name: np.zeros((8, 22), bool) for name in CAMERA_NAMES}
    kept["CAM_FRONT"][:, :11] = True
    return ShownFrame(sample, 0.0, NO_BOXES, NO_BOXES, [], kept)


def test_only_kept_cells_stay_as_bright_as_the_image(shown: ShownFrame) -> None:
    width, height = 704, 396
    picture = key_picture(shown, DEMO, load_palette(CLASS_NAMES), cell_width=width)
    assert picture.shape == (2 * height, 3 * width, 3)
    image = shown.sample.camera_frame().images[CAMERA_NAMES.index("CAM_FRONT")]
    seen = image[80:180]
    front = picture[:height, width : 2 * width][160:360]
    left, right = front[:, 10:340].mean(), front[:, 365:690].mean()
    assert left == pytest.approx(seen[:, 5:170].mean(), rel=0.03)
    assert right == pytest.approx(0.3 * seen[:, 182:345].mean(), rel=0.1)
    assert (shown.keys_kept, shown.keys) == (88, 1056)


def test_each_camera_says_its_share(shown: ShownFrame) -> None:
    """The front camera's corner reads otherwise than its neighbours', which read alike."""
    picture = key_picture(shown, DEMO, load_palette(CLASS_NAMES), cell_width=352)
    white = {}
    for row, names in enumerate(MOSAIC):
        for column in range(len(names)):
            foot = picture[(row + 1) * 198 - 30 : (row + 1) * 198 - 8, column * 352 + 8 : column * 352 + 100]
            white[row, column] = (foot.min(axis=-1) > 200).sum()
    assert min(white.values()) > 30
    assert white[0, 1] > max(count for place, count in white.items() if place != (0, 1)), "50% is longer than 0%"
