"""Makes, converts and describes rosbag2 files: ``python -m tggbc_ros.tools.bag make|convert|info``; without ROS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from rosbags.interfaces import Qos
from tqdm import tqdm

from tggbc_ros.data.bags.bag_file import Bag, BagError, damage_named, open_bag
from tggbc_ros.data.bags.bag_writer import STORAGES
from tggbc_ros.data.bags.messages import IMAGE_FORMATS
from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.foxglove.bag import convert
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.nuscenes.sample_folder import moved, read_sample_folder
from tggbc_ros.data.records import Sample

Motion = tuple[float, float, float]
DEFAULT_MOTION: Motion = (2.0, 0.02, 0.5)


def sample_sequence(folder: Path, frames: int, motions: Sequence[Motion]) -> list[Sample]:
    """The folder's keyframe, repeated with the vehicle moved: frame i > 0 by motion i, the last one for the rest.

    A motion is dx in metres, dyaw in radians, dt in seconds.
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1")
    samples = [read_sample_folder(folder)]
    while len(samples) < frames:
        samples.append(moved(samples[-1], *motions[min(len(samples), len(motions)) - 1]))
    return samples


def scene_sequence(dataset: NuScenes, scene: str, sweeps: bool) -> list[Sample]:
    """A scene's keyframes (2 Hz), or with sweeps every complete set of images (12 Hz)."""
    return list(dataset.sweeps(scene) if sweeps else dataset.samples(scene))


def write_bag(path: Path, samples: Sequence[Sample], storage: str, images: str) -> None:
    """Write the samples to a new bag, with a progress bar on a terminal."""
    with BagWriter(path, storage, images) as writer:
        for sample in tqdm(samples, desc=path.name, unit="set", disable=None):
            writer.write(sample)


def describe(path: Path) -> str:
    """What a bag holds: size, time, and per topic its type, number of messages and offered quality of service.

    What it has lost is said too; raises BagError for one of which nothing can be read.
    """
    with open_bag(path, with_losses=True) as bag, damage_named(path):
        return _description(bag)


def _description(bag: Bag) -> str:
    files = [bag.path] if bag.path.is_file() else [file for file in bag.path.iterdir() if file.is_file()]
    start = datetime.fromtimestamp(bag.start_ns / 1e9, tz=timezone.utc) if bag.message_count else None
    lines = [
        f"bag       {bag.path}",
        f"files     {', '.join(sorted(file.name for file in files))}",
        f"size      {sum(file.stat().st_size for file in files) / 1e6:.1f} MB",
        f"start     {start.isoformat() if start else 'no message'}",
        f"duration  {max(bag.end_ns - bag.start_ns - 1, 0) / 1e9:.3f} s",
        f"messages  {bag.message_count}",
    ]
    width = max([len(connection.topic) for connection in bag.connections], default=0)
    for connection in sorted(bag.connections, key=lambda entry: entry.topic):
        profiles = getattr(connection.ext, "offered_qos_profiles", [])
        quality = " | ".join(_quality(profile) for profile in profiles) or "not recorded"
        lines.append(f"{connection.topic:{width}}  {connection.msgcount:6d}  {connection.msgtype}  {quality}")
    lines += [f"note      {note}" for note in bag.notes]
    return "\n".join([*lines, *(f"lost      {loss}" for loss in bag.losses)])


def _quality(profile: Qos) -> str:
    return f"{profile.reliability.name}, {profile.durability.name}, depth {profile.depth}".lower()


def _make(given: argparse.Namespace) -> str:
    if given.sample:
        samples = sample_sequence(given.sample, given.frames, given.motion or [DEFAULT_MOTION])
        note = ""
    else:
        dataset = NuScenes(given.data, given.version)
        samples = scene_sequence(dataset, given.scene, given.sweeps)
        left_out = dataset.images_left_out(given.scene) if given.sweeps else 0
        note = f"; {left_out} images left out, because no complete set was there at their time" if left_out else ""
    ignored = sum(sample.annotations.ignored for sample in samples if sample.annotations is not None)
    note += f"; {ignored} annotations left out, because they are of no detection class" if ignored else ""
    write_bag(given.out, samples, given.storage, given.images)
    return f"wrote {given.out}: {len(samples)} sets of {len(samples[0].cameras)} images{note}"


def _convert(given: argparse.Namespace) -> str:
    found = convert(given.source, given.out, given.storage)
    lines = [f"wrote {given.out}: {sum(found.written.values())} messages on {len(found.written)} topics"]
    lines += [f"left out: {count} of {kind}" for kind, count in found.left_out.items()]
    return "\n".join(lines)


def _info(given: argparse.Namespace) -> str:
    """Of a bag that has lost something, what is there is printed all the same."""
    with open_bag(given.bag, with_losses=True) as bag, damage_named(given.bag):
        text = _description(bag)
        if bag.losses:
            print(text)
            raise BagError(f"not all of the bag is there: {'; '.join(bag.losses)}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.tools.bag", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="write a bag from a sample folder or from nuScenes-schema data")
    source = make.add_mutually_exclusive_group(required=True)
    source.add_argument("--sample", type=Path, metavar="DIR", help="folder with sample.json and its images")
    source.add_argument("--data", type=Path, metavar="DIR", help="data set in nuScenes' v1.0 schema")
    motion_help = "metres forward, radians to the left and seconds between two frames; once per step"
    make.add_argument("--frames", type=int, default=1, metavar="N", help="with --sample: repeat it, moving")
    make.add_argument("--motion", type=float, nargs=3, action="append", metavar=("DX", "DYAW", "DT"), help=motion_help)
    make.add_argument("--scene", metavar="NAME", help="with --data: which scene")
    make.add_argument("--version", metavar="NAME", help="with --data: which version, if there are several")
    make.add_argument("--sweeps", action="store_true", help="with --data: 12 Hz instead of the 2 Hz keyframes")
    make.add_argument("--out", type=Path, required=True, metavar="BAG", help="the bag's folder, must not exist")
    make.add_argument("--images", choices=IMAGE_FORMATS, default="jpeg", help="jpeg: the files as they are")
    turn = commands.add_parser("convert", help="turn an MCAP file with Foxglove's protobuf messages into a bag")
    turn.add_argument("source", type=Path, metavar="FILE", help="the .mcap file, for example of nuscenes2mcap")
    turn.add_argument("--out", type=Path, required=True, metavar="BAG", help="the bag's folder, must not exist")
    for command in (make, turn):
        command.add_argument("--storage", choices=list(STORAGES), default="mcap")
    info = commands.add_parser("info", help="say what a bag holds")
    info.add_argument("bag", type=Path, help="bag folder, or one .mcap or .db3 file")
    return parser


COMMANDS = {"make": _make, "convert": _convert, "info": _info}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 1 and one line on standard error if it fails."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command == "make" and given.data and not given.scene:
        parser.error("--data needs --scene NAME")
    try:
        print(COMMANDS[given.command](given))
    except (OSError, ValueError, ImportError) as error:
        subject = given.bag if given.command == "info" else given.out
        print(f"bag {given.command} {subject}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
