"""Where a camera sees its own vehicle: a picture per camera, white on the vehicle; those cells have no keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import cells_beside
from tggbc_ros.core.visible import Mask
from tggbc_ros.ros.convert import MAX_PIXELS, Pixels
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.foreign import foreign
from tggbc_ros.ros.images.lenses import Lens

WHITE = 128
MAX_ASPECT_ERROR = 0.01


class EgoMasks:
    """Masks [height, width] uint8 by camera, in pixels of the images as they are published, of any size.

    Raises ValueError for a mask that hides a whole camera.
    """

    def __init__(self, masks: Mapping[str, Pixels], model: ModelConfig) -> None:
        self._masks = masks
        self._model = model
        self._cells = {camera: cells_beside(mask >= WHITE, model) for camera, mask in masks.items()}
        self._straight: dict[str, tuple[Lens, Mask]] = {}
        for camera, cells in self._cells.items():
            if not cells.any():
                raise ValueError(f"the ego mask of {camera} hides all of it, expected white on the vehicle only")

    @property
    def hidden_share(self) -> dict[str, float]:
        """Share of its cells that each masked camera loses."""
        return {camera: 1.0 - float(cells.mean()) for camera, cells in self._cells.items()}

    def cells(self, camera: str, size: tuple[int, int], lens: Lens | None) -> Mask | None:
        """Cells [rows, columns] of the camera that may be looked at, its images being (height, width) large.

        None where it has no mask. lens: what its images are straightened by; the mask then goes the same way.
        Raises BadInputError, bad_ego_mask, where mask and image differ in shape.
        """
        if camera not in self._masks:
            return None
        height, width = self._masks[camera].shape
        if abs(height * size[1] / (width * size[0]) - 1.0) > MAX_ASPECT_ERROR:
            found = f"mask of {camera} is {width}x{height}, its images are {size[1]}x{size[0]}"
            raise BadInputError("bad_ego_mask", f"{found}, expected the same shape")
        return self._cells[camera] if lens is None else self._straight_cells(camera, size, lens)

    def _straight_cells(self, camera: str, size: tuple[int, int], lens: Lens) -> Mask:
        known = self._straight.get(camera)
        if known is None or known[0] is not lens:
            with foreign("bad_ego_mask", f"OpenCV cannot resize the mask of {camera}"):
                mask = cv2.resize(self._masks[camera], size[::-1], interpolation=cv2.INTER_NEAREST)
            straight = lens.straighten(np.asarray(mask, np.uint8), cv2.INTER_NEAREST)
            known = self._straight[camera] = lens, cells_beside(straight >= WHITE, self._model)
        return known[1]


def load_ego_masks(folder: str, cameras: Sequence[str], model: ModelConfig) -> EgoMasks:
    """The masks ``folder``/<CAMERA>.png of those cameras that have one; no folder, no masks.

    Raises ValueError where no camera has one, and for a file that is no usable mask; OSError as reading does.
    """
    if not folder:
        return EgoMasks({}, model)
    files = {camera: Path(folder) / f"{camera}.png" for camera in cameras}
    masks = {camera: _read_mask(path) for camera, path in files.items() if path.is_file()}
    if not masks:
        expected = ", ".join(path.name for path in files.values())
        raise ValueError(f"ego_mask_dir is {folder!r}, expected a folder with one or more of {expected}")
    return EgoMasks(masks, model)


def _read_mask(path: Path) -> Pixels:
    """[height, width] grey levels; raises ValueError naming the file."""
    try:
        with Pillow.open(path, formats=("PNG",)) as file:
            width, height = file.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"ego mask {path} is {width}x{height}, expected at most {MAX_PIXELS} pixels")
            return np.asarray(file.convert("L"), np.uint8)
    except (OSError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise ValueError(f"ego mask {path} cannot be read: {error}") from error
