"""Reader of nuScenes v1.0-schema data sets, real or synthetic: tables in, ``Sample`` out; needs no devkit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from tggbc_ros.core.geometry import rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array
from tggbc_ros.data.nuscenes.boxes import BoxTables, annotations_in_lidar
from tggbc_ros.data.nuscenes.sweeps import group_shots
from tggbc_ros.data.nuscenes.tables import (
    AnnotationRow,
    CalibrationRow,
    CategoryRow,
    InstanceRow,
    PoseRow,
    SampleDataRow,
    SampleRow,
    SceneRow,
    SensorRow,
    find_row,
    read_json,
    read_table,
    unlikely_time,
)
from tggbc_ros.data.records import CAMERA_NAMES, Annotations, CameraShot, Sample

LIDAR = "LIDAR_TOP"
LIKELY_STEP_US = range(2_000, 60_000_000)
"""Between two keyframes of a scene, in microseconds: from 500 Hz, far above any camera, to a minute."""


class NuScenes:
    """One version of a data set; tables are read when first needed, images only when a shot is decoded.

    root: the folder with ``samples/`` and the version folder. version: such as ``v1.0-mini``; if None
    there must be exactly one. Errors name file and record.
    """

    def __init__(self, root: Path, version: str | None = None, cameras: tuple[str, ...] = CAMERA_NAMES) -> None:
        self.root = root
        self.tables = root / version if version else _only_version(root)
        if not self.tables.is_dir():
            raise FileNotFoundError(f"{self.tables} is not a folder of nuScenes tables")
        self.cameras = cameras

    def scene_names(self, split: str | None = None) -> tuple[str, ...]:
        """Scenes in the order of the tables, all or those of a split.

        A split is one of the data set's ``splits.json``, else one of nuScenes' own, which the devkit knows; of
        these, scenes that are not there are passed over, since a root may hold a part of nuScenes.
        """
        names = tuple(scene.name for scene in self._scenes.values())
        if split is None:
            return names
        wanted = self._split(split, names)
        return tuple(name for name in names if name in wanted)

    def samples(self, scene_name: str) -> Iterator[Sample]:
        """The scene's keyframes in time order, annotations in the LIDAR_TOP frame."""
        for sample in self._scene_samples(scene_name):
            yield self._keyframe(sample)

    def sweeps(self, scene_name: str) -> Iterator[Sample]:
        """Every complete set of images in time order (12 Hz): the keyframes, and what lies between them.

        The sets between have no annotations; their reference time and pose are those of their newest image.
        """
        sets = [(sample.timestamp, sample, ()) for sample in self._scene_samples(scene_name)]
        sweeps = [(max(row.timestamp for row in rows), None, rows) for rows in self._sweep_sets(scene_name)[0]]
        for _, sample, rows in sorted([*sets, *sweeps], key=lambda entry: entry[0]):
            yield self._keyframe(sample) if sample else self._sweep(scene_name, rows)

    def images_left_out(self, scene_name: str) -> int:
        """Images that ``sweeps`` cannot use because some other camera has none at that time."""
        return self._sweep_sets(scene_name)[1]

    def _keyframe(self, sample: SampleRow) -> Sample:
        by_channel = {self._channel(row): row for row in self._data_by_sample[sample.token] if row.is_key_frame}
        missing = [name for name in (*self.cameras, LIDAR) if name not in by_channel]
        if missing:
            raise ValueError(f"sample {sample.token} has no key frame of {', '.join(missing)} in sample_data.json")
        lidar = by_channel[LIDAR]
        ego2global, lidar2ego = self._ego2global(lidar), self._sensor2ego(lidar)
        return Sample(
            token=sample.token,
            timestamp_ns=sample.timestamp * 1000,
            ego2global=ego2global,
            lidar2ego=lidar2ego,
            cameras=tuple(self._shot(by_channel[name]) for name in self.cameras),
            annotations=self._annotations(sample, ego2global @ lidar2ego),
        )

    def _sweep(self, scene_name: str, rows: tuple[SampleDataRow, ...]) -> Sample:
        newest = max(rows, key=lambda row: row.timestamp)
        return Sample(
            token=newest.token,
            timestamp_ns=newest.timestamp * 1000,
            ego2global=self._ego2global(newest),
            lidar2ego=self._lidar2ego(scene_name),
            cameras=tuple(self._shot(row) for row in rows),
            is_keyframe=False,
        )

    def _sweep_sets(self, scene_name: str) -> tuple[list[tuple[SampleDataRow, ...]], int]:
        """Sets of images between the keyframes, and how many images fit in none."""
        samples = self._scene_samples(scene_name)
        key_ns: dict[str, list[int]] = {name: [] for name in self.cameras}
        shots: dict[str, list[SampleDataRow]] = {name: [] for name in self.cameras}
        for sample in samples:
            for row in self._data_by_sample[sample.token]:
                name = self._channel(row)
                if name != LIDAR and row.is_key_frame:
                    key_ns[name].append(row.timestamp - sample.timestamp)
                elif name != LIDAR:
                    shots[name].append(row)
        offsets = {name: float(np.median(values)) if values else 0.0 for name, values in key_ns.items()}
        return group_shots(shots, offsets)

    def _shot(self, row: SampleDataRow) -> CameraShot:
        calibration = self._calibration(row)
        name, path = self._channel(row), self.root / row.filename
        if not path.is_file():
            raise FileNotFoundError(f"image of {name} named by sample_data {row.token}: no file {path}")
        intrinsics = np.asarray(calibration.camera_intrinsic, dtype=np.float64)
        if intrinsics.shape != (3, 3):
            found = f"camera_intrinsic has shape {intrinsics.shape}, expected (3, 3)"
            raise ValueError(f"calibrated_sensor {calibration.token} of {name}: {found}")
        return CameraShot(
            name=name,
            timestamp_ns=row.timestamp * 1000,
            jpeg=path,
            width=row.width,
            height=row.height,
            intrinsics=intrinsics,
            cam2ego=self._sensor2ego(row),
            ego2global=self._ego2global(row),
        )

    def _annotations(self, sample: SampleRow, lidar2global: Array) -> Annotations | None:
        """None in a data set without any (nuScenes' test set), else the sample's boxes."""
        if not self._boxes.annotations:
            return None
        return annotations_in_lidar(self._boxes, self._annotations_by_sample[sample.token], lidar2global)

    def _ego2global(self, row: SampleDataRow) -> Array:
        pose = find_row(self._ego_poses, "ego_pose", row.ego_pose_token, f"sample_data {row.token}")
        return _matrix("ego_pose", pose)

    def _sensor2ego(self, row: SampleDataRow) -> Array:
        return _matrix("calibrated_sensor", self._calibration(row))

    def _lidar2ego(self, scene_name: str) -> Array:
        first = self._keyframe_lidar(self._scene_samples(scene_name)[0])
        return self._sensor2ego(first)

    def _keyframe_lidar(self, sample: SampleRow) -> SampleDataRow:
        for row in self._data_by_sample[sample.token]:
            if row.is_key_frame and self._channel(row) == LIDAR:
                return row
        raise ValueError(f"sample {sample.token} has no key frame of {LIDAR} in sample_data.json")

    def _calibration(self, row: SampleDataRow) -> CalibrationRow:
        return find_row(
            self._calibrations, "calibrated_sensor", row.calibrated_sensor_token, f"sample_data {row.token}"
        )

    def _channel(self, row: SampleDataRow) -> str:
        return self._channels[self._calibration(row).token]

    def _scene_samples(self, scene_name: str) -> list[SampleRow]:
        for scene in self._scenes.values():
            if scene.name == scene_name:
                return self._samples_by_scene[scene.token]
        known = ", ".join(self.scene_names()[:10])
        raise ValueError(f"scene is {scene_name!r}, expected one of {self.tables / 'scene.json'}: {known} ...")

    def _split(self, split: str, present: tuple[str, ...]) -> list[str]:
        path = self.tables / "splits.json"
        own = read_splits(path)
        if split in own:
            absent = [name for name in own[split] if name not in present]
            if absent:
                raise ValueError(f"{path}: split {split!r} names scene {absent[0]!r}, which scene.json does not hold")
            return own[split]
        official = _official_splits(f"split {split!r} is not in {path}")
        if split not in official:
            raise ValueError(f"split is {split!r}, expected one of {', '.join([*own, *official])}")
        return official[split]

    @cached_property
    def _scenes(self) -> dict[str, SceneRow]:
        return read_table(self.tables / "scene.json", SceneRow)

    @cached_property
    def _samples(self) -> dict[str, SampleRow]:
        return read_table(self.tables / "sample.json", SampleRow)

    @cached_property
    def _samples_by_scene(self) -> dict[str, list[SampleRow]]:
        by_scene: defaultdict[str, list[SampleRow]] = defaultdict(list)
        for sample in sorted(self._samples.values(), key=lambda row: row.timestamp):
            by_scene[sample.scene_token].append(sample)
        empty = [scene.name for token, scene in self._scenes.items() if token not in by_scene]
        if empty:
            raise ValueError(f"{self.tables / 'sample.json'} has no sample of {', '.join(empty)}")
        for samples in by_scene.values():
            self._check_steps(samples)
        return dict(by_scene)

    def _check_steps(self, samples: list[SampleRow]) -> None:
        """A scene's keyframes, by the time between two of them: its unit shows there, whatever time they begin at."""
        steps = sorted(later.timestamp - row.timestamp for row, later in zip(samples, samples[1:], strict=False))
        step = steps[len(steps) // 2] if steps else LIKELY_STEP_US.start
        if step not in LIKELY_STEP_US:
            at = f"samples {samples[0].token} and those after it are {step} apart"
            raise unlikely_time(self.tables / "sample.json", at)

    @cached_property
    def _calibrations(self) -> dict[str, CalibrationRow]:
        return read_table(self.tables / "calibrated_sensor.json", CalibrationRow)

    @cached_property
    def _channels(self) -> dict[str, str]:
        """Sensor name by token of its calibration."""
        sensors = read_table(self.tables / "sensor.json", SensorRow)
        return {
            token: find_row(sensors, "sensor", row.sensor_token, f"calibrated_sensor {token}").channel
            for token, row in self._calibrations.items()
        }

    @cached_property
    def _data_by_sample(self) -> dict[str, list[SampleDataRow]]:
        """Images of the cameras and the lidar's key frames; all else in sample_data.json is passed over."""

        def needed(row: SampleDataRow) -> bool:
            channel = self._channel(row)
            return channel in self.cameras or (channel == LIDAR and row.is_key_frame)

        by_sample: dict[str, list[SampleDataRow]] = {token: [] for token in self._samples}
        for row in read_table(self.tables / "sample_data.json", SampleDataRow, needed).values():
            if row.sample_token not in by_sample:
                raise ValueError(f"sample_data {row.token} refers to sample {row.sample_token!r}, which is not there")
            apart = row.timestamp - self._samples[row.sample_token].timestamp
            if abs(apart) > LIKELY_STEP_US.stop:
                at = f"record {row.token} has timestamp {row.timestamp}, {apart} from its sample's"
                raise unlikely_time(self.tables / "sample_data.json", at)
            by_sample[row.sample_token].append(row)
        return by_sample

    @cached_property
    def _ego_poses(self) -> dict[str, PoseRow]:
        needed = {row.ego_pose_token for rows in self._data_by_sample.values() for row in rows}
        return read_table(self.tables / "ego_pose.json", PoseRow, lambda row: row.token in needed)

    @cached_property
    def _boxes(self) -> BoxTables:
        return BoxTables(
            annotations=read_table(self.tables / "sample_annotation.json", AnnotationRow),
            instances=read_table(self.tables / "instance.json", InstanceRow),
            categories=read_table(self.tables / "category.json", CategoryRow),
            samples=self._samples,
        )

    @cached_property
    def _annotations_by_sample(self) -> dict[str, list[AnnotationRow]]:
        by_sample: dict[str, list[AnnotationRow]] = {token: [] for token in self._samples}
        for row in self._boxes.annotations.values():
            find_row(self._samples, "sample", row.sample_token, f"sample_annotation {row.token}")
            by_sample[row.sample_token].append(row)
        return by_sample


def _only_version(root: Path) -> Path:
    found = sorted(path.parent for path in root.glob("*/scene.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{root} holds these versions: {names}; expected one, or name the one to read")
    return found[0]


def read_splits(path: Path) -> dict[str, list[str]]:
    """Scene names by split of a version's ``splits.json``, empty without the file; raises ValueError naming it."""
    if not path.is_file():
        return {}
    splits: dict[str, list[str]] = read_json(path)
    if not isinstance(splits, dict) or not all(isinstance(names, list) for names in splits.values()):
        raise ValueError(f"{path} holds something else than lists of scene names by split")
    return splits


def _official_splits(reason: str) -> dict[str, list[str]]:
    try:
        from nuscenes.utils.splits import create_splits_scenes
    except ImportError as error:
        hint = "nuScenes' own splits need the devkit: pip install nuscenes-devkit"
        raise ImportError(f"{reason}; {hint} ({error})") from error
    splits: dict[str, list[str]] = create_splits_scenes()
    return splits


def _matrix(table: str, row: PoseRow | CalibrationRow) -> Array:
    """4x4 matrix of a row's translation and quaternion (w, x, y, z)."""
    try:
        w, x, y, z = row.rotation
        return rigid(rotation_from_quaternion(x, y, z, w), row.translation)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{table} {row.token}: {error}") from error
