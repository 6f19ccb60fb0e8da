"""Processes of the drill: the node and the bag player, their output in files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drill import REPOSITORY

DETECTOR = REPOSITORY / "test" / "ros" / "tiny_detector.py"
END_TIMEOUT_S = 20.0


class DrillError(RuntimeError):
    """A process that ended, or does not do what it is waited for, with what it said."""


@dataclass(frozen=True)
class NodeOptions:
    """How a node is started: its parameters, and environment variables for faults in its network."""

    parameters: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a process ended, and how long that took from the signal on."""

    status: int
    output: str
    took_s: float


class Program:
    """A process in a DDS domain; in a ``with`` block, which kills what has not ended."""

    def __init__(self, command: Sequence[str], domain_id: int, log: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = {**os.environ, **environment, "ROS_DOMAIN_ID": str(domain_id)}
        self._log = log

    def __enter__(self) -> Program:
        """Start it."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as output:
            self._child = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, env=self._environment
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, the hard way."""
        self._child.kill()
        self._child.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def end(self, number: int = signal.SIGINT) -> Ended:
        """Send a signal and wait; raises subprocess.TimeoutExpired if the process hangs."""
        started_s = time.monotonic()
        self._child.send_signal(number)
        self._child.wait(END_TIMEOUT_S)
        return Ended(self._child.returncode, self.output(), time.monotonic() - started_s)


def detector(options: NodeOptions, domain_id: int, log: Path) -> Program:
    """The node with these options."""
    command = [sys.executable, str(DETECTOR), "--ros-args"]
    for name, value in options.parameters.items():
        command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    return Program(command, domain_id, log, options.environment)


def player(bag: Path, arguments: Sequence[str], domain_id: int, log: Path) -> Program:
    """The bag player."""
    command = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_player", str(bag), "--no-progress", *arguments]
    return Program(command, domain_id, log, {})
