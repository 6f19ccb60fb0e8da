"""mmdet3d's annotation files (info_version 1.1) from any data set in nuScenes' schema, synthetic drives included.

What mmdet3d's own create_data.py writes, as far as cameras need it; it needs no lidar file, knows splits.json, and
says which scene a frame belongs to, so that memory ends exactly with the scene.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet3d.datasets import NuScenesDataset

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import Annotations, Sample

MMDET3D_CLASSES = tuple(NuScenesDataset.METAINFO["classes"])
"""The order that labels in the files refer to, whatever order a config asks for."""


def write_infos(root: Path, split: str, path: Path) -> int:
    """Write the keyframes of a split, relative to ``root``, as ``data_root`` of a config wants them; how many."""
    data = NuScenes(root)
    infos = [info for scene in data.scene_names(split) for info in _scene(data, root, scene)]
    if not infos:
        raise ValueError(f"split {split!r} of {root} has no keyframe")
    for index, info in enumerate(infos):
        info["sample_idx"] = index
    categories = {name: index for index, name in enumerate(MMDET3D_CLASSES)}
    metainfo = {"dataset": "nuscenes", "info_version": "1.1", "version": data.tables.name, "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"metainfo": metainfo, "data_list": infos}))
    return len(infos)


def _scene(data: NuScenes, root: Path, scene: str) -> Iterator[dict[str, Any]]:
    for sample in data.samples(scene):
        yield {
            "token": sample.token,
            "scene_token": scene,
            "timestamp": sample.timestamp_ns / 1e9,
            "ego2global": sample.ego2global.tolist(),
            "lidar_points": {"lidar2ego": sample.lidar2ego.tolist(), "lidar_path": "", "num_pts_feats": 5},
            "images": _images(sample, root),
            "instances": [] if sample.annotations is None else list(_instances(sample.annotations)),
        }


def _images(sample: Sample, root: Path) -> dict[str, dict[str, Any]]:
    rig = sample.rig()
    images = {}
    for shot, intrinsics, lidar2cam in zip(sample.cameras, rig.intrinsics, rig.lidar2cam, strict=True):
        assert isinstance(shot.jpeg, Path)
        images[shot.name] = {
            "img_path": str(shot.jpeg.relative_to(root)),
            "cam2img": intrinsics.tolist(),
            "cam2ego": shot.cam2ego.tolist(),
            "lidar2cam": lidar2cam.tolist(),
            "cam2lidar": invert_rigid(lidar2cam).tolist(),
            "timestamp": shot.timestamp_ns / 1e9,
        }
    return images


def _instances(annotations: Annotations) -> Iterator[dict[str, Any]]:
    boxes = annotations.boxes
    for row in range(len(boxes)):
        label = MMDET3D_CLASSES.index(CLASS_NAMES[boxes.label[row]])
        points = int(annotations.num_points[row])
        yield {
            "bbox_3d": [*boxes.center[row].tolist(), *boxes.size[row].tolist(), float(boxes.yaw[row])],
            "bbox_label_3d": label,
            "bbox_label": label,
            "velocity": boxes.velocity[row].tolist(),
            "num_lidar_pts": points,
            "num_radar_pts": 0,
            "bbox_3d_isvalid": points > 0,
        }
