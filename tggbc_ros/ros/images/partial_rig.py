"""What the network is given for cameras that are missing, and which cells of the others it may look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from tggbc_ros.core.visible import Mask
from tggbc_ros.ros.convert import View
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.camera_sync import ImageSet

Message = TypeVar("Message")


class StandIns:
    """Remembers how each camera was last seen, for the sets that it is missing in.

    The intrinsics stay, because every camera's keys depend on all focal lengths, and the place, so that nothing is
    computed anew; the pixels do not. A camera that was never seen is stood in for by another one.
    """

    def __init__(self) -> None:
        self._last: dict[str, View] = {}

    def complete(self, cameras: Sequence[str], views: Mapping[str, View]) -> dict[str, View]:
        """Every camera's view, in the order of ``cameras``: one of ``views``, or what stands in for it."""
        self._last |= {camera: blank(view) for camera, view in views.items()}
        other = next(iter(views))
        return {camera: views.get(camera) or self._last.get(camera) or self._last[other] for camera in cameras}


def left_over(images: ImageSet[Message], errors: Mapping[str, BadInputError], fewest: int) -> ImageSet[Message]:
    """The set without the cameras of ``errors``; raises the first of these where fewer than ``fewest`` are left."""
    left = images.only([camera for camera in images.cameras if camera not in errors])
    if errors and len(left.cameras) < fewest:
        camera, error = next(iter(errors.items()))
        raise BadInputError(error.cause, f"{camera}: {error}")
    return left


def blank(view: View) -> View:
    """The same camera, black; the pixels take no memory."""
    return View(np.broadcast_to(np.uint8(0), view.pixels.shape), view.intrinsics, view.lidar2cam)


def visible_cells(
    cameras: Sequence[str], present: Iterable[str], masks: Mapping[str, Mask | None], feature_size: tuple[int, int]
) -> Mask | None:
    """Cells [N, rows, columns] that may be looked at: of the cameras present, beside their masks. None: all.

    masks: camera -> cells [rows, columns] that may be looked at; None: all of it.
    """
    there = set(present)
    if len(there) == len(cameras) and not any(mask is not None for mask in masks.values()):
        return None
    nothing, all_of_it = np.zeros(feature_size, np.bool_), np.ones(feature_size, np.bool_)
    seen = {camera: all_of_it if masks.get(camera) is None else masks[camera] for camera in there}
    return np.stack([seen.get(camera, nothing) for camera in cameras])
