"""Drives of bags are those of the data set that the bags were made of, and a key gate learns the same from both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tggbc_ros import backends
from tggbc_ros.compress import keygate
from tggbc_ros.compress.drives import of_bags, of_split
from tggbc_ros.compress.frames import Looked, look
from tggbc_ros.core.config import DEMO, PruningConfig
from tggbc_ros.core.detector import Network
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.passes import at_newest_images, load_split
from tggbc_ros.ros.params import Settings
from tggbc_ros.tools import bag, drive

pytestmark = pytest.mark.usefixtures("one_thread")

SCENES = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drives") / "data"
    options = f"--difficulty demo --no-sweeps --scenes {SCENES} --seconds 4 --split fit --seed 78"
    assert drive.main(["make", "--out", str(out), *options.split()]) == 0
    return out


@pytest.fixture(scope="module")
def bags(data: Path) -> list[Path]:
    found = []
    for scene in NuScenes(data, None).scene_names("fit"):
        found.append(data.parent / scene)
        assert bag.main(["make", "--data", str(data), "--scene", scene, "--out", str(found[-1])]) == 0
    return found


def test_a_bag_gives_the_frames_of_its_drive(data: Path, bags: list[Path]) -> None:
    """At the time of the newest image, as a node has it."""
    split = at_newest_images(load_split(NuScenes(data, None), "fit"))
    for samples, frames in zip(split.scenes.values(), of_bags(bags, Settings(), DEMO, 100), strict=True):
        for sample, frame in zip(samples, frames, strict=True):
            expected = sample.camera_frame()
            assert frame.timestamp_ns == expected.timestamp_ns
            assert all(map(np.array_equal, frame.images, expected.images))
            np.testing.assert_allclose(frame.rig.lidar2cam, expected.rig.lidar2cam, atol=1e-6)
            np.testing.assert_allclose(frame.rig.intrinsics, expected.rig.intrinsics)
            np.testing.assert_allclose(frame.lidar2global, expected.lidar2global, atol=1e-6)


def test_a_gate_fitted_on_bags_is_as_good_as_on_the_data_set(data: Path, bags: list[Path]) -> None:
    network = backends.load_network("torch", DEMO, None, "cpu")
    by_bags = seen(network, of_bags(bags, Settings(), DEMO, 100))
    by_split = seen(network, of_split(data, None, "fit", False, 100)[0])
    assert len(by_bags) == len(by_split) == 8 * SCENES
    assert [frame.begins for frame in by_bags] == [frame.begins for frame in by_split]
    others = slice(8 * (SCENES - 1), None)
    judged = [
        keygate.judge(keygate.fit(DEMO, 6, looked[: others.start], steps=60), by_split[others])
        for looked in (by_bags, by_split)
    ]
    assert judged[1].rank_correlation > 0.8
    assert judged[0].rank_correlation == pytest.approx(judged[1].rank_correlation, abs=0.005)
    assert judged[0].held == pytest.approx(judged[1].held, abs=0.005)


def seen(network: Network, drives: object) -> list[Looked]:
    return look(network, drives, lambda: None, PruningConfig.queries)  # type: ignore[arg-type]


def test_each_bag_gives_its_share(bags: list[Path]) -> None:
    lengths = [len(list(drive)) for drive in of_bags(bags, Settings(), DEMO, 12)]
    assert lengths == [4] * SCENES


def test_too_few_sets_are_refused_with_what_the_bags_hold(data: Path, bags: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"are 6 usable sets of images, expected at least 8; bag .*: 2 of 2 sets"):
        consume(of_bags(bags, Settings(), DEMO, 6))
    with pytest.raises(ValueError, match=r"split 'fit' of .* has 6 sets of images, expected at least 8"):
        of_split(data, None, "fit", False, 6)


def consume(drives: object) -> list[CameraFrame]:
    return [frame for drive in drives for frame in drive]  # type: ignore[attr-defined]
