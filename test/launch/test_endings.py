"""When a launch ends, and with which exit status: the rule at the head of detect.launch.py."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "ros")]

import bag_families as families  # noqa: E402

MISSING = [name for name in ("launch", "launch_ros") if importlib.util.find_spec(name) is None]
TIMEOUT_S = 120.0
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: only with a ROS 2 installation"),
    pytest.mark.timeout(TIMEOUT_S + 30),
]


class Launched:
    """A launch in a process group of its own, as a terminal starts one; its output in a file."""

    def __init__(self, log: Path, domain_id: int, *arguments: str) -> None:
        self._log = log
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
        environment["AMENT_PREFIX_PATH"] = f"{log.parent / 'prefix'}:{environment['AMENT_PREFIX_PATH']}"
        command = [sys.executable, str(HERE / "launched.py"), "device:=cpu", *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def pid(self, program: str) -> int:
        """Of one of its processes, once that is started."""
        pattern = rf"\[{program}-\d+\]: process started with pid \[(\d+)\]"
        self.wait_for(lambda: re.search(pattern, self.said()))
        found = re.search(pattern, self.said())
        assert found
        return int(found[1])

    def wait_for(self, holds: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not holds():
            assert time.monotonic() < deadline_s and self.process.poll() is None, self.said()
            time.sleep(0.02)

    def status(self) -> int:
        """Once it has ended."""
        return self.process.wait(TIMEOUT_S)


@pytest.fixture
def launch(tmp_path: Path, domain_id: int) -> Iterator[Callable[..., Launched]]:
    started: list[Launched] = []

    def start(*arguments: str) -> Launched:
        started.append(Launched(tmp_path / "log", domain_id, *arguments))
        return started[-1]

    yield start
    for launched in started:
        if launched.process.poll() is None:
            os.killpg(launched.process.pid, signal.SIGKILL)
            launched.process.wait()


def stand_in_for_rviz(tmp_path: Path, script: str) -> None:
    """A package rviz2 whose program is a shell script."""
    marker = tmp_path / "prefix" / "share" / "ament_index" / "resource_index" / "packages" / "rviz2"
    program = tmp_path / "prefix" / "lib" / "rviz2" / "rviz2"
    for path in (marker, program):
        path.parent.mkdir(parents=True)
    marker.touch()
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def bag(tmp_path: Path, sets: int = 2) -> str:
    return str(families.write_bag(tmp_path / "bag", families.our_own(range(sets))))


def test_a_bag_that_is_not_there_starts_nothing(launch: Callable[..., Launched], tmp_path: Path) -> None:
    launched = launch(f"bag:={tmp_path / 'none'}")
    assert launched.status() == 1
    assert "none', expected a rosbag2: a folder, or one .mcap or .db3 file" in launched.said()
    assert "process started" not in launched.said()


@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_bag_that_cannot_be_read_ends_the_launch_before_a_network_is_there(
    launch: Callable[..., Launched], tmp_path: Path, damage: str
) -> None:
    (file,) = Path(bag(tmp_path)).glob("*.mcap")
    file.write_bytes(file.read_bytes()[: 1000 if damage == "cut" else 0])
    (file.parent / "metadata.yaml").unlink()
    launched = launch(f"bag:={file.parent}")
    assert launched.status() == 1
    assert re.search(r"\[bag_player-\d+\] bag_player: ", launched.said())
    assert re.search(r"bag_player-\d+ has ended with exit status 1", launched.said())
    assert "the network ran once" not in launched.said()


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 1), ("kill -SEGV $$", 1)])
def test_rviz_ends_the_launch(launch: Callable[..., Launched], tmp_path: Path, script: str, status: int) -> None:
    """With 0 where its window was closed."""
    stand_in_for_rviz(tmp_path, f"sleep 1\n{script}")
    launched = launch("rviz:=true")
    assert launched.status() == status
    assert ("rviz2-1 has ended with exit status" in launched.said()) == bool(status)
    assert "Traceback" not in launched.said()


def test_without_rviz_nothing_else_starts(launch: Callable[..., Launched], tmp_path: Path) -> None:
    launched = launch("rviz:=true", f"bag:={bag(tmp_path)}")
    if launched.process.wait(TIMEOUT_S) == 0:
        pytest.skip("there is an RViz here")
    assert "package 'rviz2' not found" in launched.said()
    assert "process started" not in launched.said()


@pytest.mark.parametrize("program", ["bag_player", "detector_node"])
def test_a_process_that_is_killed_ends_the_launch(
    launch: Callable[..., Launched], tmp_path: Path, program: str
) -> None:
    launched = launch(f"bag:={bag(tmp_path)}", "loop:=true")
    os.kill(launched.pid(program), signal.SIGKILL)
    assert launched.status() == 1
    assert re.search(rf"{program}-\d+ has ended with exit status -9", launched.said())


def test_a_detector_that_is_asked_to_end_ends_the_launch_well(launch: Callable[..., Launched]) -> None:
    launched = launch()
    os.kill(launched.pid("detector_node"), signal.SIGINT)
    assert launched.status() == 0


def test_the_end_of_the_bag_does_not_end_the_launch(launch: Callable[..., Launched], tmp_path: Path) -> None:
    """What it showed last stays to be looked at, until ctrl-c."""
    launched = launch(f"bag:={bag(tmp_path)}")
    launched.wait_for(lambda: re.search(r"\[bag_player-\d+\]: process has finished cleanly", launched.said()))
    time.sleep(1.0)
    assert launched.process.poll() is None
    assert re.search(r"published +2 on /camera/CAM_FRONT/image/compressed", launched.said())
    os.killpg(launched.process.pid, signal.SIGINT)
    assert launched.status() == 0


@pytest.mark.parametrize("loaded", ["env", "libtorch_cpu.so"], ids=["at the start", "while torch is imported"])
def test_ctrl_c_in_the_first_seconds_is_quiet(launch: Callable[..., Launched], tmp_path: Path, loaded: str) -> None:
    launched = launch(f"bag:={bag(tmp_path)}")
    maps = Path(f"/proc/{launched.pid('detector_node')}/maps")
    launched.wait_for(lambda: loaded in maps.read_text(encoding="utf-8"))
    os.killpg(launched.process.pid, signal.SIGINT)
    assert launched.status() == 0
    assert not re.search(r"Traceback|KeyboardInterrupt|ERROR", launched.said()), launched.said()
