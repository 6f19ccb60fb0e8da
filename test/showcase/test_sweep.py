"""sweep: a set that is missing is an error, not a hole in the scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy

from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.evaluation.passes import Split
from tggbc_ros.ros.client import ClientError
from tggbc_ros.showcase.plan import Network
from tggbc_ros.showcase.sweep import sweep

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """rclpy, and the processes it starts, in a domain of this test's own."""
    monkeypatch.setenv("ROS_DOMAIN_ID", "97")
    rclpy.init()
    yield
    rclpy.shutdown()


def test_a_bag_with_fewer_sets_than_expected(split: Split, tmp_path: Path, ros: None) -> None:
    samples = list(split.samples())
    with BagWriter(tmp_path / "bag") as bag:
        for sample in samples:
            bag.write(sample)
    parameters, record = Network("dense", "demo").node_parameters(), tmp_path / "detections"
    with pytest.raises(ClientError, match="4 sets of images were answered in full, then no more; the player has ended"):
        sweep(tmp_path / "bag", len(samples) + 1, (0.5,), parameters, record, tmp_path / "logs")
    assert (record / "metadata.yaml").is_file(), "what was recorded stays"
    assert (tmp_path / "logs" / "detector.log").is_file()
