"""The installed programs end quietly when they are interrupted, also while they import and load."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix

PROGRAMS = Path(get_package_prefix("tggbc_ros")) / "lib" / "tggbc_ros"
ARGUMENTS = {"detector_node": [], "bag_player": ["none", "--rate", "1"], "bag_recorder": ["{tmp}/bag", "/tf"]}
IMPORTS = {"detector_node": "libtorch_cpu.so", "bag_player": "librcl.so", "bag_recorder": "librcl.so"}
"""What each maps into memory early, long before it has imported all."""
TIMEOUT_S = 30.0


def start(program: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [str(PROGRAMS / program), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until_mapped(process: subprocess.Popen[str], library: str) -> None:
    maps, deadline_s = Path(f"/proc/{process.pid}/maps"), time.monotonic() + TIMEOUT_S
    while library not in maps.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline_s and process.poll() is None, f"{library} is not loaded"
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("program", IMPORTS)
def test_a_program_that_is_still_importing_ends_at_once_and_says_nothing(
    program: str, number: signal.Signals, tmp_path: Path
) -> None:
    with start(program, [argument.format(tmp=tmp_path) for argument in ARGUMENTS[program]]) as process:
        wait_until_mapped(process, IMPORTS[program])
        process.send_signal(number)
        said, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, said) == (0, "")


@pytest.mark.parametrize("after_s", [0.2, 0.4, 0.8])
def test_a_node_that_is_loading_ends_well(after_s: float, domain_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    with start("detector_node", ["--ros-args", "-p", "device:=cpu"]) as process:
        wait_until_mapped(process, "librmw_fastrtps_cpp.so")
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said
    assert "Traceback" not in said
