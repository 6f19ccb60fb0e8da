"""One drive as records of the nuScenes v1.0 schema.

Quaternions are (w, x, y, z), sizes (width, length, height), timestamps microseconds, as the schema has them.
Tokens are digests of what they stand for, so the same drive has the same tokens wherever it is made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import quaternion_from_rotation, rigid, yaw_rotation
from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.config import SWEEPS_PER_SAMPLE
from tggbc_ros.data.drive.frames import DriveFrame, frame_time_us
from tggbc_ros.data.drive.rig import LIDAR2EGO
from tggbc_ros.data.drive.world import Scene, labels

Record = dict[str, Any]
Tables = dict[str, list[Record]]

LIDAR = "LIDAR_TOP"
CATEGORIES = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "construction_vehicle": "vehicle.construction",
    "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer",
    "barrier": "movable_object.barrier",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "pedestrian": "human.pedestrian.adult",
    "traffic_cone": "movable_object.trafficcone",
}
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
VISIBILITIES = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
MAP_FILE = "maps/synthetic.png"
DECIMALS = 9


def token(*parts: object) -> str:
    """32 hexadecimal digits for what the parts name."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def common_tables(channels: tuple[str, ...]) -> Tables:
    """The tables that are the same for every drive."""
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": f"Detection class {label}."}
            for label, name in CATEGORIES.items()
        ],
        "attribute": [{"token": token("attribute", name), "name": name, "description": ""} for name in ATTRIBUTES],
        "visibility": [
            {"token": level, "level": name, "description": f"Visible share of the object in per cent: {name[1:]}."}
            for level, name in VISIBILITIES.items()
        ],
        "sensor": [
            {"token": token("sensor", name), "channel": name, "modality": "lidar" if name == LIDAR else "camera"}
            for name in (*channels, LIDAR)
        ],
    }


@dataclass
class SceneRecords:
    """Collects one scene's records, a frame at a time, in time order; ``finish`` gives the tables."""

    name: str
    scene: Scene
    description: str
    tables: Tables = field(default_factory=dict)
    _last_data: dict[str, Record] = field(default_factory=dict)
    _last_annotation: dict[int, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("instance", "calibrated_sensor", "ego_pose", "log", "scene", "sample", "sample_data")
        self.tables = {name: [] for name in (*names, "sample_annotation")}
        for camera in self.scene.cameras:
            self._add_calibration(camera.name, camera.cam2ego, camera.intrinsics.round(DECIMALS).tolist())
        self._add_calibration(LIDAR, LIDAR2EGO, [])

    def token(self, *parts: object) -> str:
        """A token within this scene."""
        return token(self.name, *parts)

    def add(self, frame: DriveFrame) -> dict[str, str]:
        """Record a frame; returns the file of each channel, relative to the data root."""
        time_us = self.scene.start_us + frame_time_us(frame.index)
        if frame.is_sample:
            self._add_sample(frame.index, time_us)
            self._add_annotations(frame)
        files = {
            name: self._add_data(frame, name, int(stamp), image.shape[:2])
            for name, stamp, image in zip(frame.frame.rig.names, frame.camera_us, frame.frame.images, strict=True)
        }
        if frame.is_sample:
            files[LIDAR] = self._add_data(frame, LIDAR, time_us, (0, 0))
        return files

    def finish(self) -> Tables:
        """The scene's tables, complete once every frame was added."""
        samples = self.tables["sample"]
        log = self.token("log")
        self.tables["log"].append({
            "token": log, "logfile": self.name, "vehicle": "synthetic", "date_captured": "2020-01-01",
            "location": "synthetic"})  # fmt: skip
        self.tables["scene"].append({
            "token": self.token("scene"), "log_token": log, "nbr_samples": len(samples),
            "first_sample_token": samples[0]["token"], "last_sample_token": samples[-1]["token"],
            "name": self.name, "description": self.description})  # fmt: skip
        return self.tables

    def _add_calibration(self, channel: str, sensor2ego: Array, intrinsics: list[list[float]]) -> None:
        self.tables["calibrated_sensor"].append({
            "token": self.token("calibrated_sensor", channel), "sensor_token": token("sensor", channel),
            **_pose(sensor2ego), "camera_intrinsic": intrinsics})  # fmt: skip

    def _add_sample(self, index: int, time_us: int) -> None:
        samples = self.tables["sample"]
        record = {
            "token": self.token("sample", index), "timestamp": time_us, "prev": "", "next": "",
            "scene_token": self.token("scene")}  # fmt: skip
        if samples:
            _chain(samples[-1], record)
        samples.append(record)

    def _add_data(self, frame: DriveFrame, channel: str, stamp_us: int, size: tuple[int, ...]) -> str:
        own = self.token("sample_data", channel, frame.index)
        folder, ending = ("samples" if frame.is_sample else "sweeps"), ("pcd.bin" if channel == LIDAR else "jpg")
        nearest = round(frame.index / SWEEPS_PER_SAMPLE) * SWEEPS_PER_SAMPLE
        record = {
            "token": own, "sample_token": self.token("sample", nearest), "ego_pose_token": own,
            "calibrated_sensor_token": self.token("calibrated_sensor", channel), "timestamp": stamp_us,
            "fileformat": ending[:3], "is_key_frame": frame.is_sample, "height": size[0], "width": size[1],
            "filename": f"{folder}/{channel}/{self.name}__{channel}__{stamp_us}.{ending}",
            "prev": "", "next": ""}  # fmt: skip
        if channel in self._last_data:
            _chain(self._last_data[channel], record)
        self._last_data[channel] = record
        self.tables["sample_data"].append(record)
        ego2global = self.scene.ego2global((stamp_us - self.scene.start_us) / 1e6)
        self.tables["ego_pose"].append({"token": own, "timestamp": stamp_us, **_pose(ego2global)})
        return str(record["filename"])

    def _add_annotations(self, frame: DriveFrame) -> None:
        truth = frame.annotations
        for row in range(len(truth)):
            instance, attribute = int(truth.instance[row]), truth.attribute[row]
            length, width, height = truth.size[row].round(DECIMALS).tolist()
            record = {
                "token": self.token("annotation", instance, frame.index),
                "sample_token": self.token("sample", frame.index),
                "instance_token": self.token("instance", instance),
                "visibility_token": visibility_token(float(truth.visible_share[row])),
                "attribute_tokens": [token("attribute", attribute)] if attribute else [],
                **_pose(rigid(yaw_rotation(float(truth.yaw[row])), truth.center[row])),
                "size": [width, length, height],
                "prev": "", "next": "", "num_lidar_pts": int(truth.lidar_points[row]), "num_radar_pts": 0,
            }  # fmt: skip
            self._link(instance, record)
            self.tables["sample_annotation"].append(record)

    def _link(self, instance: int, record: Record) -> None:
        """Chain an annotation to its instance's last one; a new instance gets its record."""
        if instance in self._last_annotation:
            _chain(self._last_annotation[instance], record)
            owner = next(item for item in self.tables["instance"] if item["token"] == record["instance_token"])
            owner["nbr_annotations"] += 1
            owner["last_annotation_token"] = record["token"]
        else:
            category = CATEGORIES[CLASS_NAMES[labels(self.scene)[instance]]]
            self.tables["instance"].append({
                "token": record["instance_token"], "category_token": token("category", category),
                "nbr_annotations": 1, "first_annotation_token": record["token"],
                "last_annotation_token": record["token"]})  # fmt: skip
        self._last_annotation[instance] = record


def visibility_token(share: float) -> str:
    """The visibility record for a visible share between 0 and 1."""
    return "1" if share <= 0.4 else "2" if share <= 0.6 else "3" if share <= 0.8 else "4"


def _chain(earlier: Record, later: Record) -> None:
    earlier["next"], later["prev"] = later["token"], earlier["token"]


def _pose(matrix: Array) -> Record:
    x, y, z, w = quaternion_from_rotation(matrix[:3, :3])
    rotation = [round(value, DECIMALS) for value in (w, x, y, z)]
    return {"translation": matrix[:3, 3].round(DECIMALS).tolist(), "rotation": rotation}
