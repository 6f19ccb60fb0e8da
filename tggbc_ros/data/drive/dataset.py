"""Drives on disk: a nuScenes data root with images, tables and a split."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.drive.frames import frame_indices, render_frame
from tggbc_ros.data.drive.rig import CAMERAS
from tggbc_ros.data.drive.schema import LIDAR, MAP_FILE, Record, SceneRecords, Tables, common_tables, token
from tggbc_ros.data.drive.world import make_scene
from tggbc_ros.data.nuscenes.dataset import read_splits
from tggbc_ros.data.nuscenes.tables import read_json

JPEG_QUALITY = 92
VERSION = "v1.0-synthetic"
TABLES = (
    "category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose", "log", "scene",
    "sample", "sample_data", "sample_annotation", "map",
)  # fmt: skip
DEVKIT_SPLITS = ("train", "val", "test", "mini_train", "mini_val", "train_detect", "train_track")


def scene_name(seed: int, number: int) -> str:
    """Name of scene ``number`` of a seed."""
    return f"drive-{seed}-{number:04d}"


def check_target(root: Path, version: str, split: str, names: Iterable[str]) -> None:
    """Raise where writing those scenes would break what is there, or what the devkit expects of a split's name.

    Also where `write_tables` could not read what is there, so that nothing is rendered in vain.
    """
    if split in DEVKIT_SPLITS:
        raise ValueError(f"split is {split!r}, which is fixed to the original dataset's scenes: choose another name")
    read_splits(root / version / "splits.json")
    present = {record["name"] for record in _read_tables(root / version)["scene"]}
    doubled = sorted(present & set(names))
    if doubled:
        raise ValueError(f"{root / version} already has scene {doubled[0]}: choose another seed or folder")


def write_scene(root: Path, seed: int, number: int, config: DriveConfig, progress: Callable[[], None]) -> Tables:
    """Render scene ``number`` of ``seed``, write its files and return its tables; ``progress`` is called per frame."""
    scene = make_scene((seed, number), config)
    description = f"Synthetic drive, seed {seed}, scene {number}: {config}"
    records = SceneRecords(scene_name(seed, number), scene, description)
    for index in frame_indices(config):
        frame = render_frame(scene, index)
        files = records.add(frame)
        for channel, image in zip(frame.frame.rig.names, frame.frame.images, strict=True):
            _write(root / files[channel], encode_jpeg(image))
        if LIDAR in files:
            _write(root / files[LIDAR], b"")  # no points: nothing here reads them, the schema wants the file
        progress()
    return records.finish()


def encode_jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """[height, width, 3] BGR -> JPEG; raises if OpenCV refuses."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape} as JPEG")
    return data.tobytes()


def write_tables(root: Path, version: str, split: str, scenes: Iterable[Tables]) -> None:
    """Add scenes to the tables under ``root``/``version`` and to a split; what is there stays."""
    folder = root / version
    tables = _read_tables(folder)
    for name, records in common_tables(tuple(camera.name for camera in CAMERAS)).items():
        tables[name] = records
    names: list[str] = []
    for scene in scenes:
        for name, records in scene.items():
            tables[name].extend(records)
        names.append(scene["scene"][0]["name"])
    tables["map"] = [{
        "token": token("map"), "log_tokens": [record["token"] for record in tables["log"]],
        "category": "semantic_prior", "filename": MAP_FILE}]  # fmt: skip
    splits = read_splits(folder / "splits.json")
    splits[split] = [*splits.get(split, []), *names]
    _write(root / MAP_FILE, cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())
    for name, records in tables.items():
        _write(folder / f"{name}.json", _lines(records))
    _write(folder / "splits.json", json.dumps(splits, indent=1).encode())


def _lines(records: list[Record]) -> bytes:
    """A JSON list, one record a line."""
    return ("[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n").encode()


def _read_tables(folder: Path) -> Tables:
    """The tables of a folder, empty where there is no file; raises ValueError naming file and record."""
    tables = {name: _read_table(folder / f"{name}.json") for name in TABLES}
    for number, record in enumerate(tables["scene"]):
        if not isinstance(record.get("name"), str):
            raise ValueError(f"{folder / 'scene.json'}: record {number} has no name")
    return tables


def _read_table(path: Path) -> list[Record]:
    if not path.exists():
        return []
    records: list[Record] = read_json(path)
    if not isinstance(records, list):
        raise ValueError(f"{path} holds a {type(records).__name__}, expected a list of records")
    for number, record in enumerate(records):
        if not isinstance(record, dict) or "token" not in record:
            raise ValueError(f"{path}: record {number} has no token")
    return records


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: an interrupted run leaves no torn one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    os.replace(partial, path)
