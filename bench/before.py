"""What a key costs before the decoder, whether it is trimmed later or not; float32."""

from __future__ import annotations

import torch

from bench.decoder import Row
from bench.measure import Call, interleaved_ms, median
from bench.scene import frame_at
from bench.shapes import num_keys, shape_name
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.layers import logit
from tggbc_ros.core.position import PositionEmbedding, cell_points, cones
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import NetworkInput

PARTS = ("points", "position_embedding", "alignment", "feature_embedding", "feature_gate")


def measure_before(model: ModelConfig, device: torch.device, repeats: int) -> Row:
    """Milliseconds a frame: all of it, with the calibration's share kept, and by part."""
    torch.manual_seed(0)
    module = PositionEmbedding(model).to(device).eval().requires_grad_(False)
    inputs = preprocess(frame_at(0), model, device)
    times = interleaved_ms(calls_of(module, inputs), repeats, device)
    return {
        "shape": shape_name(model),
        "keys": num_keys(model),
        "device": device.type,
        "dtype": "float32",
        **{f"{name}_ms": median(each) for name, each in times.items()},
    }


def calls_of(module: PositionEmbedding, inputs: NetworkInput) -> dict[str, Call]:
    """``all`` computes everything anew; ``kept_rays`` finds the calibration's share ready. The rest are parts."""
    model, cameras = module.model, list(range(inputs.lidar2img.shape[1]))
    features = torch.randn(1, len(cameras), model.embed_dims, *model.feature_size, device=inputs.images.device)
    rays = module.rays(inputs)
    points = cell_points(model, inputs.lidar2img, *model.feature_size)
    flat = features.permute(0, 1, 3, 4, 2).flatten(1, 3)
    value = module.memory_embed(flat)
    return {
        "all": lambda: module(features, module.rays(inputs)),
        "kept_rays": lambda: module(features, rays),
        "points": lambda: cell_points(model, inputs.lidar2img, *model.feature_size),
        "position_embedding": lambda: module.encoder(logit(points).flatten(2)),
        "alignment": lambda: module.spatial_alignment(value, cones(points, inputs.intrinsics, cameras)),
        "feature_embedding": lambda: module.memory_embed(flat),
        "feature_gate": lambda: value + module.featurized(rays.position, value),
    }
