"""How far a frame is from the images that an encoder in int8 was calibrated on, by what can be seen from outside it.

What its activations lose inside, no engine tells; the pixels that its first quantiser clips, and features larger than
calibration's were, cost a few hundredths of a millisecond to count (docs/deploy.md: what they say and what they miss).
"""

from __future__ import annotations

import torch

from tggbc_ros.export.calibration import Calibration

STRIDE = 4
"""One pixel of so many, either way: enough for a share."""


class Gauge:
    """Counts, on the network's device; nobody waits for a count before it is asked for."""

    def __init__(self, calibration: Calibration, device: torch.device) -> None:
        self._low, self._high = calibration.image_range
        self._limits = torch.tensor(calibration.feature_limits, device=device).reshape(-1, 1, 1)
        self._shares: torch.Tensor | None = None

    def note(self, images: torch.Tensor, features: torch.Tensor) -> None:
        """Images [N, 3, H, W] as the encoder was given them, features [N, C, rows, columns] as it answered."""
        pixels = images[..., ::STRIDE, ::STRIDE]
        clipped = ((pixels < self._low) | (pixels > self._high)).float().mean()
        large = (features.abs() > self._limits).float().mean()
        self._shares = torch.stack([clipped, large])

    def share(self) -> float | None:
        """Share of the last frame's pixels that were clipped, or of its features that were large, whichever is more."""
        return None if self._shares is None else float(self._shares.max())
