"""param_start: what rcl refuses is said in one line, with the way out; by a real node, and by rcl's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rclpy.context import Context
from rclpy.node import Node

from tggbc_ros.ros.param_start import StartError, explained, in_one_line

BELOW = "expected NODE:, below it ros__parameters:, below that NAME: VALUE"


def refusal(context: Context, *arguments: str) -> str:
    with pytest.raises(StartError) as caught, in_one_line():
        Node("refused", context=context, cli_args=["--ros-args", *arguments])
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"detector:\n  keep_ratio: 0.5\n", BELOW),
        (b"- detector\n", BELOW),
        (b"detector:\n  ros__parameters:\n    lidar2base: [0.9, 0, 1.8]\n", "line_num 3; write all numbers of a list"),
        (b"detector:\n  ros__parameters:\n    camera_names: [a, 1]\n", "quote texts that look like numbers"),
        (b"detector:\n  ros__parameters:\n    checkpoint:\n", 'at line 3; write "" for an empty text'),
        (b"detector:\n  ros__parameters:\n\tkeep_ratio: 1.0\n", "is it YAML, in UTF-8, indented by spaces"),
        (b"\xff\xfe\n", "is it YAML, in UTF-8"),
        (None, "is there such a file"),
    ],
)
def test_parameter_files(context: Context, tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_bytes(content)
    line = refusal(context, "--params-file", str(path))
    assert words in line and str(path) in line
    assert "\n" not in line and ".c:" not in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "lidar2base:=[0.9, 0, 1.8]"), "with a point: [0.9, 0.0, 1.0]"),
        (("-p", "lidar2base:=["), "with every bracket closed"),
        (("-p", "lidar2base"), "expected NAME:=VALUE"),
        (("-r", "__node:=two words"), "expected NAME:=VALUE, names of letters"),
        (("--log-level", "loud"), "--log-level loud"),
        (("--nonsense",), "behind --ros-args, ROS does not know ['--nonsense']"),
    ],
)
def test_command_lines(context: Context, arguments: tuple[str, ...], words: str) -> None:
    line = refusal(context, *arguments)
    assert words in line
    assert "\n" not in line and ".c:" not in line


def test_words_that_nobody_knows_are_passed_on() -> None:
    said = "failed to initialize rcl: something\n new, at /src/a.c:12, at /src/b.c:34"
    assert explained(said) == "something new"


def test_a_node_ends_with_that_line_and_status_1(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("detector:\n  keep_ratio: 0.5\n", encoding="utf-8")
    command = [sys.executable, "-m", "tggbc_ros.ros.detector_node", "--ros-args", "--params-file", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if "[rcl]" not in line]
    assert line.startswith("detector_node: Couldn't parse params file") and line.endswith(BELOW)


@pytest.mark.parametrize("program", ["bag_player", "bag_recorder"])
def test_the_bag_programs_too_say_it_in_one_line(program: str, tmp_path: Path) -> None:
    given = {"bag_player": [str(tmp_path)], "bag_recorder": [str(tmp_path / "out"), "/chatter"]}[program]
    refused = ["--ros-args", "-p", "use_sim_time:=[1, 2.5]"]
    command = [sys.executable, "-m", f"tggbc_ros.ros.bags.{program}", *given, *refused]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in ended.stderr.splitlines() if line.startswith(program)]
    assert ended.returncode == 1 and len(said) == 1 and "write all numbers of a list alike" in said[0]
    assert "Traceback" not in ended.stdout + ended.stderr
