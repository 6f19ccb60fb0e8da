"""Empty modules for compiled or heavy libraries that mmdet3d imports and these tests never call.

mmcv-lite has no compiled operators (``mmcv._ext``); numba and the Lyft devkit belong to other data sets.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

HEAVY = ("mmcv._ext", "numba", "numba.cuda", "numba.core", "numba.core.errors", "pandas")
LYFT = (
    "lyft_dataset_sdk",
    "lyft_dataset_sdk.eval",
    "lyft_dataset_sdk.eval.detection",
    "lyft_dataset_sdk.eval.detection.mAP_evaluation",
    "lyft_dataset_sdk.lyftdataset",
    "lyft_dataset_sdk.utils",
    "lyft_dataset_sdk.utils.data_classes",
)


class StandIn(ModuleType):
    """Whatever is asked of it, it has: a decorator that leaves functions alone, and that raises when really called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.endswith("Warning"):
            return type(name, (Warning,), {})
        return _decorator(f"{self.__name__}.{name}")


def _decorator(name: str) -> Callable[..., Any]:
    def stand_in(*arguments: Any, **options: Any) -> Any:
        if arguments and callable(arguments[0]):
            return arguments[0]
        if options or not arguments or isinstance(arguments[0], str | tuple):
            return stand_in
        raise RuntimeError(f"{name} is a stand-in: this needs the full set-up, make test-mmdet3d MODE=full")

    return stand_in


def install() -> list[str]:
    """Put stand-ins where a library is missing; which."""
    names = [name for name in HEAVY + LYFT if not _is_there(name.split(".")[0] if name != "mmcv._ext" else name)]
    for name in names:
        sys.modules[name] = StandIn(name)
    return names


def _is_there(name: str) -> bool:
    """Looked up without importing: mmcv itself imports its operators."""
    if "." not in name:
        return importlib.util.find_spec(name) is not None
    package = importlib.util.find_spec(name.split(".")[0])
    folders = package.submodule_search_locations if package else None
    return any(_has_compiled(folder, name.split(".")[1]) for folder in folders or ())


def _has_compiled(folder: str, name: str) -> bool:
    return any(Path(folder).glob(f"{name}.*"))
