"""Where everything lies in the folder of sparse networks: what all runs share, and one folder a run."""

from __future__ import annotations

from pathlib import Path

from tggbc_ros.compress.slim.places import control_name
from tggbc_ros.compress.sparse.settings import Settings

RUNS = "runs"


class Places:
    """Paths below the folder that the command is given."""

    def __init__(self, settings: Settings) -> None:
        self.out = settings.out
        measured = "_measured" if settings.curves == "measured" else ""
        self.curves = self.out / f"curves_{settings.way}{measured}.json"
        """What each sparsity of each layer does."""
        self.run = self.out / RUNS / settings.name
        """Of this method and target."""
        self.kept = self.run / "kept.json"
        """Weights that each layer keeps."""
        self.pruned = self.run / "pruned.safetensors"
        """The network as it was pruned and repaired."""
        self.sparse = self.run / "sparse.safetensors"
        """The network that comes out."""
        self.tuning = self.run / "tuning"
        """The training's own folder."""
        self.control_folder = self.out / control_name(settings.joint, settings.seed)
        """Of the dense network that is tuned likewise."""
        self.control = self.control_folder / "control.safetensors"
        """Its weights."""
        self.features = self.out / "features"
        """The dense network's features of all frames, which all tunings share."""
        self.dense_folder = self.out / "dense"
        """Of what is found out about the dense network."""
        self.report = self.out / "report.html"
        """The page."""

    def prepared(self, split: str, size: tuple[int, int]) -> Path:
        """Frames of a split as arrays, as `tools.train` lays them out."""
        height, width = size
        return self.out / f"prepared_{split}_{width}x{height}"
