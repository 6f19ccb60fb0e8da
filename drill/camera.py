"""One camera's driver as a process that can be killed: ``python -m drill.camera TOPIC`` publishes what it reads."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time

import rclpy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from drill import REPOSITORY
from drill.node import DrillError

READY_TIMEOUT_S = 60.0
READY = "ready"
LENGTH = struct.Struct("<I")


class CameraProcess:
    """Stands in for a camera's publisher: what is handed to `publish` goes out from another process."""

    def __init__(self, topic: str, domain_id: int) -> None:
        command = [sys.executable, "-m", "drill.camera", topic]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
        self._child = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        said = select.select([self._child.stdout], [], [], READY_TIMEOUT_S)[0]
        if not said or not os.read(said[0].fileno(), len(READY)):
            self.kill()
            raise DrillError(f"the camera on {topic} found no subscriber within {READY_TIMEOUT_S:g} s")

    def publish(self, message: CompressedImage) -> None:
        """Let the other process publish it."""
        data = serialize_message(message)
        pipe = self._child.stdin
        assert pipe is not None  # Popen was asked for it
        pipe.write(LENGTH.pack(len(data)) + data)
        pipe.flush()

    def kill(self) -> None:
        """End it without any farewell."""
        self._child.kill()
        self._child.communicate()


def main(topic: str) -> int:
    """Say when a subscriber is there, then publish serialized messages from standard input, to its end."""
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(CompressedImage, topic, 10)
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not publisher.get_subscription_count():
        if time.monotonic() > deadline_s:
            return 1
        time.sleep(0.02)
    print(READY, flush=True)
    while head := sys.stdin.buffer.read(LENGTH.size):
        publisher.publish(sys.stdin.buffer.read(LENGTH.unpack(head)[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
