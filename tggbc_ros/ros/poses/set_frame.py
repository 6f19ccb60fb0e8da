"""The last steps before the core: pictures of a set and their matrices -> one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tggbc_ros.core.types import CameraFrame
from tggbc_ros.ros import convert
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.camera_sync import ImageSet
from tggbc_ros.ros.images.partial_rig import StandIns, visible_cells
from tggbc_ros.ros.images.pictures import Picture
from tggbc_ros.ros.plausibility import Look, RigCheck
from tggbc_ros.ros.poses.ego_pose import SetGeometry

AnySet = ImageSet[Any]


class SetFrames:
    """Makes them, one after the other; remembers how each camera was last seen, for sets that lack it.

    cameras: all of the rig. feature_size: rows and columns of the network's cells.
    """

    def __init__(self, cameras: Sequence[str], feature_size: tuple[int, int]) -> None:
        self._cameras = tuple(cameras)
        self._feature_size = feature_size
        self._stand_ins = StandIns()

    def make(self, images: AnySet, pictures: Mapping[str, Picture], geometry: SetGeometry) -> CameraFrame:
        """All of it as the core takes it; raises BadInputError where it makes no sense."""
        seen = {camera: pictures[camera] for camera in images.cameras}
        views = {
            camera: convert.View(picture.pixels, picture.intrinsics, geometry.lidar2cam[camera])
            for camera, picture in seen.items()
        }
        masks = {camera: picture.cells for camera, picture in seen.items()}
        cells = visible_cells(self._cameras, images.cameras, masks, self._feature_size)
        views = self._stand_ins.complete(self._cameras, views)
        return convert.camera_frame(views, images.reference_ns, geometry.lidar2global, cells)


def impossible(
    check: RigCheck, images: AnySet, pictures: Mapping[str, Picture], geometry: SetGeometry
) -> dict[str, BadInputError]:
    """The cameras of a set whose calibration cannot be, and why; what is only odd, ``check`` tells."""
    looks = {
        camera: Look(
            pictures[camera].pixels.shape[:2],
            pictures[camera].intrinsics,
            pictures[camera].told,
            geometry.cam2base[camera],
            image.message.header.frame_id,
        )
        for camera, image in zip(images.cameras, images.images, strict=True)
    }
    return {
        found.camera: BadInputError("implausible_rig", f"{found.text}; allow_implausible_rig infers all the same")
        for found in check.check(looks, geometry.lidar2base)
        if found.impossible and found.camera in looks
    }
