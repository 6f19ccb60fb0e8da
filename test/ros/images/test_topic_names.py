"""topic_names: remapping takes what belongs to a topic along, in every way in which names are remapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from tggbc_ros.ros.images.topic_names import image_candidates, info_candidates

TOPIC, INFO = "camera/F/image", "camera/F/camera_info"


@pytest.fixture
def remapped(context: Context) -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def make(*rules: str, namespace: str = "") -> Node:
        arguments = ["--ros-args", *(part for rule in rules for part in ("-r", rule))]
        node = Node("detector", context=context, namespace=namespace, cli_args=arguments, use_global_arguments=False)
        made.append(node)
        return node

    yield make
    for node in made:
        node.destroy_node()


def names(node: Node, topic: str = TOPIC) -> list[str]:
    """Where /compressed, the bare compressed and the raw images are looked for in the end."""
    return [node.resolve_topic_name(name) for _, name in image_candidates(node, topic, "auto")]


def test_without_rules_names_stay_as_they_are_given(remapped: Callable[..., Node]) -> None:
    found = image_candidates(remapped(), TOPIC, "auto")
    assert found == [(CompressedImage, f"{TOPIC}/compressed"), (CompressedImage, TOPIC), (Image, TOPIC)]
    assert image_candidates(remapped(), TOPIC, "raw") == found[2:]
    assert image_candidates(remapped(), TOPIC, "compressed") == found[:2]


@pytest.mark.parametrize(
    ("rules", "namespace", "topic", "expected"),
    [
        ((), "/car1", TOPIC, "/car1/camera/F/image"),
        ((), "", "~/F/image", "/detector/F/image"),
        (("camera/F/image:=/rig/f/image_raw",), "", TOPIC, "/rig/f/image_raw"),
        (("camera/F/image:=front/image",), "/car1", TOPIC, "/car1/front/image"),
        (("/car1/camera/F/image:=/x",), "/car1", TOPIC, "/x"),
        (("__ns:=/car2", "camera/F/image:=image_raw"), "", TOPIC, "/car2/image_raw"),
        (("~/F/image:=/y",), "", "~/F/image", "/y"),
        (("/abs/image:=/z",), "/car1", "/abs/image", "/z"),
        (("detector:camera/F/image:=/only_this_node",), "", TOPIC, "/only_this_node"),
        (("other:camera/F/image:=/only_that_node",), "", TOPIC, "/camera/F/image"),
    ],
)
def test_compressed_goes_where_the_image_topic_goes(
    remapped: Callable[..., Node], rules: tuple[str, ...], namespace: str, topic: str, expected: str
) -> None:
    assert names(remapped(*rules, namespace=namespace), topic) == [f"{expected}/compressed", expected, expected]


def test_a_rule_for_the_compressed_topic_itself_comes_first(remapped: Callable[..., Node]) -> None:
    node = remapped("camera/F/image:=/a", "camera/F/image/compressed:=/b")
    assert names(node) == ["/b", "/a", "/a"]
    assert names(remapped("camera/F/image/compressed:=/b")) == ["/b", "/camera/F/image", "/camera/F/image"]
    assert names(remapped("camera/F/image:=/a", "/a/compressed:=/c")) == ["/c", "/a", "/a"]


def test_two_cameras_can_change_places(remapped: Callable[..., Node]) -> None:
    rules = ["camera/F/image:=camera/B/image", "camera/B/image:=camera/F/image"]
    node = remapped(*rules, *(rule.replace("image", "image/compressed") for rule in rules))
    for found in (names(remapped(*rules)), names(node)):
        assert found == ["/camera/B/image/compressed", "/camera/B/image", "/camera/B/image"]


def test_camera_info_may_be_beside_remapped_images(remapped: Callable[..., Node]) -> None:
    topics = {name: (f"camera/{name}/image", f"camera/{name}/camera_info") for name in ("F", "B")}
    rules = [f"camera/{name}/image:=/rig/{name}/image_raw" for name in topics]
    found = info_candidates(remapped(*rules), topics)
    assert found["F"] == [(CameraInfo, INFO), (CameraInfo, "/rig/F/camera_info")]
    assert info_candidates(remapped(), topics)["F"] == [(CameraInfo, INFO)]
    assert info_candidates(remapped(*rules, f"{INFO}:=/mine"), topics)["F"] == [(CameraInfo, INFO)]
    together = [f"camera/{name}/image:=/rig/{name}" for name in topics]
    assert info_candidates(remapped(*together), topics)["F"] == [(CameraInfo, INFO)]  # whose would it be?
