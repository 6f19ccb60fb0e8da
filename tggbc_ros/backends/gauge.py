"""How far a frame is from the images that an encoder in int8 was calibrated on, by what can be seen from outside it.

What its activations lose inside, no engine tells; the pixels that its first quantiser clips, and features larger than
calibration's were, cost little to count (docs/deploy.md: what they say and what they miss).
"""

from __future__ import annotations

import torch

from tggbc_ros.export.calibration import Calibration

STRIDE = 4
"""One pixel of so many, either way: enough for a share."""

EVERY = 8
"""One frame of so many: light changes more slowly, and the counts would take a hundredth of the demo model's frame."""


class Gauge:
    """Counts on one frame of `EVERY`, on the network's device; nobody waits for a count before it is asked for."""

    def __init__(self, calibration: Calibration, device: torch.device) -> None:
        self._low, self._high = calibration.image_range
        self._limits = torch.tensor(calibration.feature_limits, device=device).reshape(-1, 1, 1)
        self._shares: torch.Tensor | None = None
        self._frames = 0

    def note(self, images: torch.Tensor, features: torch.Tensor) -> None:
        """Images [N, 3, H, W] as the encoder was given them, features [N, C, rows, columns] as it answered."""
        if not self._is_counted():
            return
        pixels = images[..., ::STRIDE, ::STRIDE]
        clipped = ((pixels < self._low) | (pixels > self._high)).float().mean()
        large = (features.abs() > self._limits).float().mean()
        self._shares = torch.stack([clipped, large])

    def _is_counted(self) -> bool:
        self._frames += 1
        return self._frames % EVERY == 1

    def share(self) -> float | None:
        """Share of the last counted frame's pixels that were clipped, or features that were large, the greater one."""
        return None if self._shares is None else float(self._shares.max())
