"""The node at work: one process, the bag once per keep ratio, all it says recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tggbc_ros.ros.bags.bag_recorder import BagRecorder
from tggbc_ros.ros.client import NODE, ClientError, DetectorClient, play, running_detector

TOPICS = (f"{NODE}/boxes", f"{NODE}/report", f"{NODE}/kept_keys")
PATIENCE_S = 20.0
PLAYER_OPTIONS = ("--rate", "8")
"""Faster than real time, because every set is waited for and so the machine sets the pace."""

KeptPictures = dict[int, npt.NDArray[np.uint8]]
"""Stamp of a set in nanoseconds -> its picture of kept keys, as in `ros.kept_keys`."""


def sweep(
    bag: Path, frames: int, keep_ratios: Sequence[float], parameters: Mapping[str, object], record: Path, logs: Path
) -> dict[float, KeptPictures]:
    """Play the bag of ``frames`` image sets once per ratio, set live through the parameter service.

    Boxes, reports and kept keys of all passes go to the bag ``record``, what the processes say to the folder ``logs``.
    Returns the pictures of kept keys by ratio. Raises ClientError where a set or a record of it is missing, or
    memory went from one pass into the next. rclpy must be initialised.
    """
    kept: dict[float, KeptPictures] = {}
    logs.mkdir(parents=True, exist_ok=True)
    with (
        running_detector(parameters, logs, with_kept_keys=True) as (detector, client),
        BagRecorder(client, record, TOPICS) as recorder,
    ):
        if not client.wait_for(lambda: not recorder.waiting, PATIENCE_S, [detector]):
            raise ClientError(f"nobody publishes {', '.join(recorder.waiting)}")
        for number, keep_ratio in enumerate(keep_ratios, start=1):
            client.set_parameters_of_detector({"keep_ratio": keep_ratio})
            client.forget()
            print(f"keep_ratio {keep_ratio:g}", flush=True)
            recorded = partial(_has_recorded, recorder, number * frames)
            play(bag, frames, detector, client, logs, PLAYER_OPTIONS, recorded)
            _check_memory(client)
            kept[keep_ratio] = {stamp_ns: _pixels(message) for stamp_ns, message in client.kept_keys.items()}
    return kept


def _check_memory(client: DetectorClient) -> None:
    """A pass that knew the street's future from the pass before would be no measurement."""
    first = client.reports[min(client.reports)]
    if first.memory_age_s != 0.0:
        raise ClientError(f"memory is {first.memory_age_s:g} s old at the start of a pass, expected none")


def _has_recorded(recorder: BagRecorder, count: int) -> bool:
    """Each subscription is served in its own time, so the record may lag behind what the client has heard."""
    return all(recorder.received[topic] >= count for topic in TOPICS)


def _pixels(message: object) -> npt.NDArray[np.uint8]:
    """A mono8 image message as an array [height, width]."""
    height, width, data = (getattr(message, name) for name in ("height", "width", "data"))
    return np.frombuffer(data, dtype=np.uint8).reshape(height, width)
