"""Which files make up a bag, and what its metadata.yaml says of them; the files themselves have the last word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from rosbags.interfaces import Qos
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tggbc_ros.data.bags.recorded_profiles import read_profiles

METADATA = "metadata.yaml"
ENDINGS = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
REINDEX = "`ros2 bag reindex` writes it anew"


@dataclass(frozen=True)
class Metadata:
    """What is read of metadata.yaml. files: names. counts and profiles: by topic. compression: of files or messages."""

    files: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    profiles: Mapping[str, list[Qos]] = field(default_factory=dict)
    compression: str = ""


@dataclass(frozen=True)
class BagFiles:
    """losses: what the bag must have had and has no more, or what of the folder is not read; notes: what was odd."""

    files: tuple[Path, ...]
    metadata: Metadata
    losses: tuple[str, ...]
    notes: tuple[str, ...]


def find_files(path: Path) -> BagFiles:
    """Of a bag's folder, or of one file. Raises FileNotFoundError without a bag there."""
    if not path.exists():
        raise FileNotFoundError(f"File {str(path)!r} does not exist.")
    if path.is_file():
        return BagFiles((path,), Metadata(), (), ())
    losses: list[str] = []
    notes: list[str] = []
    metadata = _read_metadata(path, losses, notes)
    there = {file.name: file for file in sorted(path.iterdir()) if file.name.endswith(ENDINGS) and file.is_file()}
    listed = [name for name in metadata.files if name in there or (path / name).is_file()]
    _compare(metadata, listed, there, losses, notes)
    chosen = listed or list(there)
    chosen += [name for name in there if name not in chosen and _goes_on(name, chosen)]
    if not chosen:
        raise FileNotFoundError(f"folder {str(path)!r} holds no bag, expected {METADATA} and .mcap or .db3 files")
    return BagFiles(tuple(path / name for name in chosen), metadata, tuple(losses), tuple(notes))


def _compare(
    metadata: Metadata, listed: list[str], there: Mapping[str, Path], losses: list[str], notes: list[str]
) -> None:
    """What metadata.yaml lists and the folder lacks, and the other way round."""
    losses += [f"{METADATA} lists {name}, which is not there" for name in metadata.files if name not in listed]
    for name in there if listed else ():
        if name in listed:
            continue
        if _goes_on(name, listed):
            notes.append(f"{name} goes on from the files that {METADATA} lists, and is read too; {REINDEX}")
        else:
            losses.append(f"{name} is not read, as {METADATA} does not list it; {REINDEX}, or name the file itself")


def _goes_on(name: str, others: list[str]) -> bool:
    """Whether a name is that of a part of the same recording: rosbag2 numbers them NAME_0, NAME_1 and so on."""
    return _series(name) is not None and _series(name) in {_series(other) for other in others}


def _series(name: str) -> tuple[str, str] | None:
    """What the parts of one recording have in common: the name before the number, and the ending."""
    found = re.fullmatch(r"(.*)_\d+((?:\.\w+)+)", name)
    return (found[1], found[2]) if found else None


def _read_metadata(folder: Path, losses: list[str], notes: list[str]) -> Metadata:
    path = folder / METADATA
    if not path.exists() or path.is_file() and not path.stat().st_size:
        what = "is empty" if path.exists() else "is missing"
        notes.append(f"{METADATA} {what}, as after a crash; the files are read without it; {REINDEX}")
        return Metadata()
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return _metadata(content["rosbag2_bagfile_information"])
    except (YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
        losses.append(f"{METADATA} is damaged and what it lists unknown; {REINDEX} ({cause})")
        return Metadata()


def _metadata(content: dict[str, Any]) -> Metadata:
    """Values of other types than rosbag2 writes are passed over, but for those that tell where messages are."""
    names = content["relative_file_paths"]
    if not isinstance(names, list) or not all(isinstance(name, str) and PurePath(name).name for name in names):
        raise ValueError(f"relative_file_paths is {names!r}, expected a list of names")
    counts: dict[str, int] = {}
    profiles: dict[str, list[Qos]] = {}
    for entry in content.get("topics_with_message_count") or ():
        described, count = entry["topic_metadata"], entry.get("message_count")
        topic = described.get("name")
        if isinstance(topic, str):
            counts[topic] = counts.get(topic, 0) + (count if isinstance(count, int) else 0)
            profiles.setdefault(topic, []).extend(read_profiles(described.get("offered_qos_profiles")))
    compressed = str(content.get("compression_mode") or "none").lower() != "none"
    compression = str(content.get("compression_format") or "") if compressed else ""
    return Metadata(tuple(PurePath(name).name for name in names), counts, profiles, compression)
