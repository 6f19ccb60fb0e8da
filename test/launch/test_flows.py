"""The flows of this folder with launch_testing where that is installed; what they ask of the node, everywhere."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rclpy.context import Context

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "ros")]

import bag_families as families  # noqa: E402
from flow_client import FlowClient  # noqa: E402
from synthetic_rig import detector_process, end  # noqa: E402

FLOWS = sorted(HERE.glob("*_flow.py"))
LIMIT_S = 600
MISSING = [name for name in ("launch", "launch_ros", "launch_testing") if importlib.util.find_spec(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: only with a ROS 2 installation")
@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda path: path.stem)
def test_flow(flow: Path, domain_id: int) -> None:
    """In a process of its own, as launch must own the main thread."""
    command = [sys.executable, "-m", "launch_testing.launch_test", str(flow)]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]


@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: only with a ROS 2 installation")
@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("model:=r50_704", "cannot configure: no checkpoint for model r50_704"),
        ("model:=r51_704", "detector_node: model is 'r51_704', expected "),
        ("calibration_file:=/none.yaml", "cannot configure: "),
    ],
)
def test_a_detector_that_cannot_start_says_why_and_fails_the_launch(domain_id: int, argument: str, reason: str) -> None:
    """Without launch_testing, for which a launch that ends by itself is a failure."""
    command = [sys.executable, str(HERE / "launched.py"), argument, "device:=cpu"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    said = done.stdout + done.stderr
    assert reason in said
    assert "has ended with exit status 1" in said
    assert "Traceback" not in said
    assert done.returncode == 1


@pytest.mark.timeout(300)
def test_what_the_bag_flow_asks_of_the_node(context: Context, domain_id: int, tmp_path: Path) -> None:
    bag = families.write_bag(tmp_path / "bag", families.our_own(range(8)))
    play = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_player", str(bag), "--loop", "--rate", "0.5", "--no-progress"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    client = FlowClient(context)
    with detector_process(domain_id) as detector, subprocess.Popen(play, env=environment) as player:
        try:
            client.wait_until_active()
            assert client.wait_for_new(client.boxes).header.frame_id == "base_link"
            assert list(client.wait_for_new(client.reports).missing_cameras) == []
            pruned, dense = client.keep(0.5), client.keep(1.0)
            refusal = client.set_parameter("keep_ratio", 1.5)
            status, said, _ = end(detector, signal.SIGINT)
        finally:
            player.kill()
            client.close()
    assert pruned.keep_ratio_used == pytest.approx(0.5, abs=0.01)
    assert dense.keys[-1] == dense.total_keys > pruned.keys[-1]
    assert "keep_ratio" in refusal
    assert status == 0
    assert "Traceback" not in said
