"""What the real bindings of TensorRT are called: writes tensorrt_names.json beside this file.

    ./run python test/backends/tensorrt_names.py

The bindings' wheels are public and small, the libraries behind them are neither; empty libraries of the same names are
enough to import the bindings and to read their docstrings. Needs a package index, gcc and no GPU; runs nothing of
TensorRT. Only the names that the stand-in (fake_tensorrt.py) has are kept: for each
version the parameters of every overload, or null for what is not called.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSIONS = ("10.0.1", "10.3.0", "10.16.1.11", "11.4.0.106")
"""The first of 10, JetPack 6.2's, the last of 10, and the last of 11, as of November 2026."""

TABLE = Path(__file__).with_suffix(".json")
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


def stand_in_names() -> dict[str, list[str]]:
    """Class -> its public members, of the stand-in."""
    import fake_tensorrt

    module = fake_tensorrt.make_module(VERSIONS[-1])
    classes = [getattr(module, name) for name in vars(module) if not name.startswith("_")]
    made = {cls.__name__: public_members(cls) + ["__init__"] * (not hasattr(cls, "__members__")) for cls in classes}
    return made | {cls.__name__: public_members(cls) for cls in fake_tensorrt.BEHIND}


def public_members(cls: type) -> list[str]:
    """Its own methods, properties and constants."""
    return list(getattr(cls, "__members__", None) or [name for name in vars(cls) if not name.startswith("_")])


def describe(wanted: dict[str, list[str]]) -> dict[str, list[list[str]] | None]:
    """Runs where the real bindings are imported: name -> parameters of each overload; None for what is not called."""
    import tensorrt_bindings

    found: dict[str, list[list[str]] | None] = {}
    for cls, members in wanted.items():
        for name in members:
            member = getattr(getattr(tensorrt_bindings, cls, None), name, None)
            if member is not None:
                found[f"{cls}.{name}"] = overloads(name, member.__doc__ or "")
    return found


def overloads(name: str, text: str) -> list[list[str]] | None:
    """Parameter names, without self, from a docstring of pybind11."""
    signatures = re.findall(rf"^(?:\d+\. )?{name}\((self: .*)\) -> ", text, re.MULTILINE)
    return [re.findall(r"(?:^|, )(\w+): ", signature)[1:] for signature in signatures] or None


def install(version: str, folder: Path) -> dict[str, str]:
    """The bindings of a version and empty libraries; what the environment must say to import them."""
    package = f"tensorrt-cu12-bindings=={version}"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    major = version.partition(".")[0]
    for library in LIBRARIES:
        file = f"lib{library}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", folder / file, source]
        subprocess.run(command, check=True)
    return os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}


def main() -> None:
    """Write the table, or, asked by itself, describe one version."""
    if sys.argv[1:2] == ["--describe"]:
        print(json.dumps(describe(json.loads(sys.argv[2]))))
        return
    wanted = stand_in_names()
    names: dict[str, dict[str, list[list[str]] | None]] = {}
    for version in VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-W", "ignore", __file__, "--describe", json.dumps(wanted)]
            environment = install(version, Path(folder))
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        for name, parameters in json.loads(done.stdout).items():
            names.setdefault(name, {})[version] = parameters
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(names[name])}" for name in sorted(names))
    TABLE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
