"""The Python side for pip: its dependencies and extras.

colcon builds the package itself by CMakeLists.txt; beside it, in a virtual environment on top of ROS 2,
``pip install -e '.[onnx]'`` brings what rosdep does not have. Versions come from env/pins.txt, the package's own
from package.xml.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def pins(heading: str) -> list[str]:
    """The requirement lines below ``# [heading]`` of env/pins.txt."""
    text = (ROOT / "env" / "pins.txt").read_text(encoding="utf-8")
    section = text.split(f"\n# [{heading}]\n")[1].split("\n# [")[0]
    return [line for line in section.splitlines() if line]


def version() -> str:
    """The version that package.xml states."""
    found = re.search(r"<version>(.+)</version>", (ROOT / "package.xml").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("package.xml states no <version>")
    return found[1]


setup(
    name="tggbc_ros",
    version=version(),
    description="Camera-only 3D object detection for ROS 2: StreamPETR with run-time key pruning",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["tggbc_ros", "tggbc_ros.*"]),
    package_data={"tggbc_ros": ["weights/*"]},
    # NumPy stays that of the ROS 2 installation, torch the build made for the machine's GPU.
    install_requires=["numpy", "torch>=2.4", *pins("python")],
    extras_require={
        name: pins(name) for name in ("onnx", "int8", "tensorrt", "mmdet3d", "fleet", "peers", "eval", "dev")
    },
)
