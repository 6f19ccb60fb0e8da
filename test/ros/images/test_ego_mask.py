"""ego_mask: files are checked when they are loaded, and a mask follows its camera's lens."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_rig import HEIGHT, WIDTH, camera_info, pixels

from tggbc_ros.core.config import R50_704
from tggbc_ros.core.preprocess import cells_beside
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.ego_mask import EgoMasks, load_ego_masks
from tggbc_ros.ros.images.lenses import make_lens

CAMERAS = ("CAM_FRONT", "CAM_BACK")


def hood(height: int = HEIGHT, width: int = WIDTH, share: float = 0.3) -> np.ndarray:
    """White at the bottom."""
    mask = np.zeros((height, width), np.uint8)
    mask[round((1.0 - share) * height) :] = 255
    return mask


def write(folder: Path, camera: str, mask: np.ndarray) -> None:
    assert cv2.imwrite(str(folder / f"{camera}.png"), mask)


def test_a_mask_hides_the_cells_it_covers(tmp_path: Path) -> None:
    write(tmp_path, "CAM_BACK", hood())
    masks = load_ego_masks(str(tmp_path), CAMERAS, R50_704)
    cells = masks.cells("CAM_BACK", (HEIGHT, WIDTH), None)
    rows = R50_704.feature_size[0]
    # The network's image is the lower 256 of 396 rows; 30 % of 396 are 118.8 rows, 7.4 of 16 cells.
    np.testing.assert_array_equal(cells.all(axis=1), [True] * (rows - 7) + [False] * 7)
    assert not cells[rows - 7 :].any()
    assert masks.hidden_share == {"CAM_BACK": 7 / 16}
    assert masks.cells("CAM_FRONT", (HEIGHT, WIDTH), None) is None


def test_a_mask_of_another_size_but_the_same_shape_fits(tmp_path: Path) -> None:
    write(tmp_path, "CAM_BACK", hood(5 * HEIGHT, 5 * WIDTH))
    small = EgoMasks({"CAM_BACK": hood()}, R50_704)
    large = load_ego_masks(str(tmp_path), CAMERAS, R50_704)
    expected = small.cells("CAM_BACK", (HEIGHT, WIDTH), None)
    np.testing.assert_array_equal(large.cells("CAM_BACK", (HEIGHT, WIDTH), None), expected)


def test_colour_and_transparency_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path, "CAM_BACK", cv2.cvtColor(hood(), cv2.COLOR_GRAY2BGRA))
    masks = load_ego_masks(str(tmp_path), CAMERAS, R50_704)
    assert masks.hidden_share == {"CAM_BACK": 7 / 16}


def test_a_mask_of_another_shape_than_the_images_is_refused() -> None:
    masks = EgoMasks({"CAM_BACK": hood()}, R50_704)
    with pytest.raises(BadInputError, match="mask of CAM_BACK is 160x90, its images are 160x120") as error:
        masks.cells("CAM_BACK", (120, 160), None)
    assert error.value.cause == "bad_ego_mask"


def test_the_mask_of_a_distorted_camera_goes_the_way_of_its_images() -> None:
    info = camera_info("CAM_BACK", 1)
    info.distortion_model, info.d = "plumb_bob", [-0.5, 0.1, 0.0, 0.0, 0.0]
    mask = hood(share=0.15)
    masks, lens = EgoMasks({"CAM_BACK": np.kron(mask, np.ones((2, 2), np.uint8))}, R50_704), make_lens(info, pixels(0))
    found = masks.cells("CAM_BACK", (HEIGHT, WIDTH), lens)
    expected = cells_beside(lens.straighten(mask, cv2.INTER_NEAREST) >= 128, R50_704)
    assert (found == expected).mean() > 0.99
    assert (~found).sum() < 0.8 * (~masks.cells("CAM_BACK", (HEIGHT, WIDTH), None)).sum()  # the corners move out
    assert masks.cells("CAM_BACK", (HEIGHT, WIDTH), lens) is found
    again = make_lens(info, pixels(0))
    assert masks.cells("CAM_BACK", (HEIGHT, WIDTH), again) is not found


def test_no_folder_no_masks() -> None:
    assert load_ego_masks("", CAMERAS, R50_704).cells("CAM_BACK", (HEIGHT, WIDTH), None) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a folder with one or more of CAM_FRONT.png, CAM_BACK.png"),
        (b"no picture", "CAM_BACK.png cannot be read"),
        (cv2.imencode(".png", hood())[1].tobytes()[:60], "CAM_BACK.png cannot be read"),
        (cv2.imencode(".png", hood(share=1.0))[1].tobytes(), "the ego mask of CAM_BACK hides all of it"),
        (cv2.imencode(".png", np.zeros((9000, 9000), np.uint8))[1].tobytes(), "9000x9000, expected at most"),
    ],
    ids=["none", "text", "cut off", "all white", "too large"],
)
def test_a_bad_mask_is_refused_when_it_is_loaded(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "CAM_BACK.png").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_ego_masks(str(tmp_path), CAMERAS, R50_704)
