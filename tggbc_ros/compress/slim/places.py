"""Where everything lies in the folder of a slim network: what all runs share, and one folder a run."""

from __future__ import annotations

from pathlib import Path

from tggbc_ros.compress.slim.settings import Settings

RUNS = "runs"


def control_name(joint: int, seed: int) -> str:
    """Of the control of that many joint steps: the encoder's own steps are none of the dense network's."""
    return f"control_{joint}_{seed}"


class Places:
    """Paths below the folder that the command is given."""

    def __init__(self, settings: Settings) -> None:
        self.out, self._name = settings.out, settings.name
        self._control = control_name(settings.joint, settings.seed)
        self._table = settings.table

    @property
    def latency(self) -> Path:
        """The table of latencies, which may lie elsewhere."""
        return self._table or self.out / "latency.json"

    @property
    def scores(self) -> Path:
        """Importance of channels."""
        return self.out / "scores.json"

    @property
    def run(self) -> Path:
        """Of this method and budget."""
        return self.out / RUNS / self._name

    @property
    def widths(self) -> Path:
        """What was chosen."""
        return self.run / "widths.json"

    @property
    def cut(self) -> Path:
        """The network as it was cut."""
        return self.run / "cut.safetensors"

    @property
    def slim(self) -> Path:
        """The network that comes out."""
        return self.run / "slim.safetensors"

    @property
    def tuning(self) -> Path:
        """The training's own folder."""
        return self.run / "tuning"

    @property
    def control_folder(self) -> Path:
        """Of the dense network that is tuned likewise."""
        return self.out / self._control

    @property
    def control(self) -> Path:
        """Its weights."""
        return self.control_folder / "control.safetensors"

    @property
    def features(self) -> Path:
        """The dense network's features of all frames, which all tunings share."""
        return self.out / "features"

    @property
    def dense_folder(self) -> Path:
        """Of what is found out about the dense network."""
        return self.out / "dense"

    @property
    def report(self) -> Path:
        """The page."""
        return self.out / "report.html"

    def prepared(self, split: str, size: tuple[int, int]) -> Path:
        """Frames of a split as arrays, as `tools.train` lays them out."""
        height, width = size
        return self.out / f"prepared_{split}_{width}x{height}"
