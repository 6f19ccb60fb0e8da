"""Whole frames through `Detector`, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

from bench.decoder import Row
from bench.measure import median
from bench.scene import frame_at
from tggbc_ros.core.config import DEMO, ModelConfig, PruningConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.types import CameraFrame, StepReport

KEEP_RATIOS = (1.0, 0.3)
DEMO_CAMERA = (198, 352)


def raw_frame(model: ModelConfig, number: int) -> CameraFrame:
    """Images as the model's cameras give them: nuScenes' 900 x 1600, the demo drive's 198 x 352."""
    return frame_at(number, *DEMO_CAMERA) if model.image_size == DEMO.image_size else frame_at(number)


def measure_frames(network: Network, repeats: int, keep_ratios: Sequence[float] = KEEP_RATIOS) -> list[Row]:
    """One row a keep ratio: medians by stage and of the sum, after one frame to warm up; ratios take turns."""
    detectors = {ratio: Detector(network, PruningConfig(ratio)) for ratio in keep_ratios}
    reports: dict[float, list[StepReport]] = {ratio: [] for ratio in keep_ratios}
    for number in range(repeats + 1):
        frame = raw_frame(network.model, number)
        for ratio, detector in detectors.items():
            reports[ratio].append(detector.step(frame)[1])
    return [_row(network, ratio, each[1:]) for ratio, each in reports.items()]


def _row(network: Network, keep_ratio: float, reports: Sequence[StepReport]) -> Row:
    return {
        "model": network.model.name,
        "weights": network.weights,
        "device": network.device.type,
        "keep_ratio": keep_ratio,
        "keys": reports[-1].keys,
        "stage_ms": {stage: median([each.stage_ms[stage] for each in reports]) for stage in reports[0].stage_ms},
        "frame_ms": median([sum(each.stage_ms.values()) for each in reports]),
    }
