"""bag_images: what a node would see of a bag, spread over it, by the node's own topics and lenses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from tggbc_ros.compress.images import of_bags
from tggbc_ros.core.config import model_config
from tggbc_ros.data.bags.bag_file import BagError
from tggbc_ros.export.calibration import CalibrationError
from tggbc_ros.ros.bags.bag_images import bag_frames
from tggbc_ros.ros.images.lenses import make_lens
from tggbc_ros.ros.params import CAMERAS, Settings

sys.path.insert(0, str(Path(__file__).parents[1]))

import bag_families as families  # noqa: E402
from synthetic_rig import camera_info, pixels  # noqa: E402

MODEL = model_config("demo")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.write_bag(tmp_path_factory.mktemp("bag") / "drive", families.our_own(range(12)))


def test_every_camera_is_seen_and_sets_are_spread_over_the_bag(bag: Path) -> None:
    frames = list(bag_frames(bag, Settings(), MODEL, 6, seed=3))
    assert len(frames) == 6
    assert frames[0].rig.names == CAMERAS
    means = [np.stack(frame.images).mean() for frame in frames]
    assert len(set(means)) == len(frames)
    again = list(bag_frames(bag, Settings(), MODEL, 6, seed=3))
    for one, two in zip(frames, again, strict=True):
        assert all(map(np.array_equal, one.images, two.images))


def bend(info: CameraInfo) -> None:
    info.distortion_model, info.d = "plumb_bob", [-0.3, 0.1, 0.0, 0.0, 0.0]
    info.p = [*info.k[:3], 0.0, *info.k[3:6], 0.0, *info.k[6:], 0.0]


def test_images_are_straightened_as_the_node_does(tmp_path: Path) -> None:
    entries = []
    for stamp, topic, message in families.our_own([0, 1]):
        if topic.endswith("CAM_BACK/camera_info"):
            bend(message)
        entries.append((stamp, topic, message))
    path = families.write_bag(tmp_path / "bent", entries)
    settings = replace(Settings(), camera_names=("CAM_BACK",))
    (straight,) = list(bag_frames(path, settings, MODEL, 1, seed=0))[0].images
    (bent,) = list(bag_frames(path, replace(settings, images_rectified=True), MODEL, 1, seed=0))[0].images
    info = camera_info("CAM_BACK", 0)
    bend(info)
    np.testing.assert_array_equal(straight, make_lens(info, bent).straighten(bent))
    assert straight.shape == pixels(0).shape and not np.array_equal(straight, bent)


def test_a_bag_without_a_camera_names_the_topics_it_has(bag: Path) -> None:
    said = "no images of CAM_REAR on /camera/CAM_REAR/image; topics with images: /camera/"
    with pytest.raises(BagError, match=said):
        list(bag_frames(bag, replace(Settings(), camera_names=("CAM_REAR",)), MODEL, 2, seed=0))


def test_of_several_bags_each_gives_its_share(bag: Path) -> None:
    images, told = of_bags([bag, bag], Settings(), MODEL, 10, 0, lambda: None)
    assert told.source == "bags drive, drive" and told.frames == len(images) >= 8
    assert images[0].shape == (6, 3, *MODEL.image_size)
    with pytest.raises(CalibrationError, match="bag drive gives [34] sets of images, expected at least 8"):
        of_bags([bag], Settings(), MODEL, 4, 0, lambda: None)
