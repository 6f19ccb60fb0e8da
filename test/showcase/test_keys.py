"""keys: a cell's pixels are where the network saw them, and only kept ones stay bright."""

from __future__ import annotations

import numpy as np
import pytest

from tggbc_ros.core.config import CLASS_NAMES, MODELS
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.records import CAMERA_NAMES
from tggbc_ros.evaluation.passes import Split
from tggbc_ros.ros.overlay import MOSAIC, load_palette
from tggbc_ros.showcase.frames import ShownFrame
from tggbc_ros.showcase.keys import CUT, KEPT, cell_fates, key_picture

DEMO, R50 = MODELS["demo"], MODELS["r50_704"]
NO_BOXES = Boxes3D(
    np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty((0, 2)), np.empty(0), np.empty(0, np.int64),
    np.empty(0, np.int64)
)  # fmt: skip


def test_fates_of_the_demo_models_image_pixel_by_pixel() -> None:
    """352 x 198 is cut to the lower 352 x 128, unscaled: a cell is 16 x 16 pixels from row 70 on."""
    kept = np.zeros((8, 22), bool)
    kept[1, 2] = True
    fate = cell_fates(kept, DEMO, 198, 352)
    assert fate.shape == (198, 352)
    assert (fate[:70] == CUT).all()
    assert (fate[70:] != CUT).all()
    assert np.argwhere(fate == KEPT).min(axis=0).tolist() == [70 + 16, 32]
    assert np.argwhere(fate == KEPT).max(axis=0).tolist() == [70 + 31, 47]
    assert (fate == KEPT).sum() == 256


def test_fates_of_an_image_that_is_scaled() -> None:
    """900 x 1600 is scaled by 0.44 to 396 x 704, of which the lower 256 rows are kept."""
    fate = cell_fates(np.ones((16, 44), bool), R50, 900, 1600)
    assert fate.shape == (396, 704)
    assert (fate[:140] == CUT).all()
    assert (fate[140:] == KEPT).all()


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
