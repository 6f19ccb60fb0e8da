"""param_file: the node's settings from a parameter file, for tools that have no node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tggbc_ros.ros.param_file import from_file
from tggbc_ros.ros.params import Settings

CONFIG = Path(__file__).resolve().parents[2] / "config"


def test_a_shipped_profile() -> None:
    found = from_file(CONFIG / "profiles" / "nuscenes_to_ros2bag.yaml")
    assert found.image_topic != Settings().image_topic and "{camera}" in found.image_topic
    assert isinstance(found.camera_names, tuple)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("detector:\n  keep_ratio: 0.5\n", "below ros__parameters"),
        ("[1, 2]", "below ros__parameters"),
        ("detector: {ros__parameters: {keep_ratio: 7.0}}", "keep_ratio"),
        ("detector: {ros__parameters: {keep_ratio: [}", "rig.yaml"),
        ("a: {ros__parameters: {}}\nb: {ros__parameters: {}}", "of one node"),
    ],
)
def test_what_is_none_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rig.yaml").write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        from_file(tmp_path / "rig.yaml")
    assert "\n" not in str(caught.value) and "rig.yaml" in str(caught.value)
