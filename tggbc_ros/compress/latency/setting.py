"""What a measured time is good for: one network at one image size, run by one engine on one machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.backends.cpu import dot_products
from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.compress.values import shown
from tggbc_ros.core.config import ModelConfig

CAMERAS = 6
LIBRARIES = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt",),
}
"""Beginning of an engine's name -> the packages of which one runs it."""


@dataclass(frozen=True)
class Setting:
    """What has to be the same for a time to hold.

    engine: a backend's name. image_size: (height, width), pixels. cameras: images of one batch. device: cpu, or a GPU's
    name; machine: the CPU's name, its instructions for narrow numbers, how many cores. threads: of the engine.
    """

    engine: str
    model: str
    image_size: tuple[int, int]
    cameras: int
    device: str
    machine: str
    threads: int

    @classmethod
    def here(cls, model: ModelConfig, engine: str, cameras: int = CAMERAS, device: str = "auto") -> Setting:
        """Of this machine, as it would be measured now; threads are torch's, as every backend's are."""
        where = find_device(device) if runs_on_gpu(engine) else torch.device("cpu")
        name = torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu"
        return cls(engine, model.name, model.image_size, cameras, name, machine(), torch.get_num_threads())

    @classmethod
    def from_data(cls, data: object) -> Setting:
        """What ``dataclasses.asdict`` and JSON made of one; raises ValueError naming what does not fit."""
        names = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or sorted(data) != sorted(names):
            raise ValueError(f"setting is {shown(data)}, expected {', '.join(names)}")
        given = dict(data)
        for name, value in given.items():
            _expect_kind(name, value)
        return cls(**(given | {"image_size": tuple(given["image_size"])}))

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"image_size": list(self.image_size)}

    def differences(self, expected: Setting) -> str:
        """What differs, as "engine is torch, expected openvino; …"; empty if nothing does."""
        return "; ".join(
            f"{field.name} is {getattr(self, field.name)}, expected {getattr(expected, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(expected, field.name)
        )


def runs_on_gpu(engine: str) -> bool:
    """Whether an engine takes a GPU where there is one."""
    return not engine.startswith("openvino")


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name, what it has for narrow numbers, and how many cores this process may use."""
    able = ", ".join(sorted(dot_products(cpuinfo) or ())) or "no dot products"
    return f"{_cpu_name(cpuinfo)} ({able}), {len(os.sched_getaffinity(0))} cores"


def versions(engine: str) -> Mapping[str, str]:
    """Of the library that runs an engine, and of torch, whose threads it takes."""
    names = {"torch", *LIBRARIES.get(engine.partition("_")[0], ())}
    found = {}
    for name in sorted(names):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # one of the two packages that it comes in
    return found


def _cpu_name(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _expect_kind(name: str, value: object) -> None:
    if name == "image_size":
        fits = isinstance(value, list) and len(value) == 2 and all(type(each) is int and each > 0 for each in value)
    elif name in ("cameras", "threads"):
        fits = type(value) is int and value > 0
    else:
        fits = isinstance(value, str) and bool(value)
    if not fits:
        raise ValueError(f"{name} is {shown(value)}, which no setting has")
