"""Print docs/parameters.md, the page of the node's parameters, from the code that declares them."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tggbc_ros.core.config import MODELS
from tggbc_ros.ros.params import CAMERAS, Settings

HEADINGS = {
    "model": "Network",
    "camera_names": "Cameras and sets",
    "ego_pose_source": "Poses and frames",
    "keep_ratio": "Key pruning",
    "score_threshold": "Boxes and pictures",
    "memory_max_gap_s": "Temporal memory",
    "pause_without_subscribers": "Operation",
}
"""The first parameter of a section -> its heading."""
HEAD = """# Parameters

Every parameter of `detector_node`, by `python -m tggbc_ros.tools.parameters`; a test keeps this page equal to the code.
*Live* ones change between two frames, with `ros2 param set` for one; the others while the node is unconfigured. A value
that is out of range is refused with the reason. `config/detector.yaml` and a profile hold the values that the launch
files start from."""
TABLE = "| parameter | default | may be | live | |\n|---|---|---|---|---|"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page."""
    argparse.ArgumentParser(prog="python -m tggbc_ros.tools.parameters", description=__doc__).parse_args(arguments)
    print(page())
    return 0


def page() -> str:
    """docs/parameters.md, without the last line's end."""
    return "\n".join([HEAD, *_sections()])


def row(item: dataclasses.Field[Any]) -> str:
    """One parameter's line of the table."""
    live = "live" if item.metadata["live"] else ""
    cells = f"`{item.name}`", default(item), _range(item), live, description(item)
    return "| " + " | ".join(cells) + " |"


def default(item: dataclasses.Field[Any]) -> str:
    """A default as the tables show it."""
    value = item.default
    if value == CAMERAS:
        return "the six of nuScenes"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{list(value) if isinstance(value, tuple) else value}`" if value or value in (0, 0.0) else "empty"


def description(item: dataclasses.Field[Any]) -> str:
    """What it means; Markdown would take <CAMERA> for HTML."""
    return str(item.metadata["description"]).replace("<", "\\<")


def _sections() -> Iterator[str]:
    for item in dataclasses.fields(Settings):
        if item.name in HEADINGS:
            yield f"\n## {HEADINGS[item.name]}\n\n{TABLE}"
        yield row(item)


def _range(item: dataclasses.Field[Any]) -> str:
    span, choices = item.metadata["span"], item.metadata["choices"] or (MODELS if item.name == "model" else ())
    if span:
        return " to ".join(f"{bound:,.9g}".replace(",", " ") for bound in span)
    return ", ".join(f"`{choice}`" for choice in choices)


if __name__ == "__main__":
    sys.exit(main())
