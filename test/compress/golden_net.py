"""The small residual net of the recorded importances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

GROUPS = {
    "0": ["stem"],
    "1": ["b0.conv1"],
    "2": ["b0.conv2"],
    "3": ["b0.down", "b0.conv3", "b1.conv3"],
    "4": ["b1.conv1"],
    "5": ["b1.conv2"],
}
NORMS = {"stem": "sbn", "b0.down": "b0.dbn"} | {f"b{b}.conv{i}": f"b{b}.bn{i}" for b in (0, 1) for i in (1, 2, 3)}


class Block(nn.Module):
    def __init__(self, channels: int, middle: int, out: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = nn.Conv2d(middle, out, 1, bias=False), nn.BatchNorm2d(out)
        if channels != out:
            self.down, self.dbn = nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (self.dbn(self.down(x)) if hasattr(self, "down") else x))


class GoldenNet(nn.Module):
    """Images [B, 3, 6, 6] -> logits [B, 5]; float64, norms at rest."""

    def __init__(self, golden: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.stem, self.sbn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.b0, self.b1 = Block(8, 4, 16), Block(16, 8, 16)
        self.fc = nn.Linear(16, 5)
        self.double().eval()
        state = {
            key.removeprefix("state."): torch.from_numpy(golden[key]) for key in golden if key.startswith("state.")
        }
        assert all("num_batches" in key for key in self.load_state_dict(state, strict=False).missing_keys)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b1(self.b0(F.relu(self.sbn(self.stem(x)))))
        return self.fc(y.mean(dim=(2, 3)))
