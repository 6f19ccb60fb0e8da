"""From the last layer's logits and codes to boxes."""

from __future__ import annotations

import torch

from tggbc_ros.core.config import DecodeConfig
from tggbc_ros.core.types import Boxes3D, NetworkOutput

MAX_SIZE_M = 100.0
"""No object of any class is as long: a box beyond it, up to an infinite one (sizes are exponentials), is no object."""


def decode_boxes(output: NetworkOutput, config: DecodeConfig) -> Boxes3D:
    """The best ``max_boxes`` (query, class) pairs of the first batch item, in the lidar frame, best first.

    A query may speak under several classes; there is no non-maximum suppression (DETR-like sets need
    none). Boxes below the score threshold, with a centre outside ``center_range`` or a side of more than MAX_SIZE_M
    are left out.
    """
    logits, codes = output.logits[-1, 0].float(), output.codes[-1, 0].double()
    scores, flat = logits.sigmoid().flatten().topk(min(config.max_boxes, logits.numel()))
    query, label = flat // logits.shape[-1], flat % logits.shape[-1]
    code = codes[query]
    low, high = code.new_tensor(config.center_range).split(3)
    inside = ((code[:, :3] >= low) & (code[:, :3] <= high)).all(dim=-1)
    size = code[:, 3:6].exp()
    possible = (size <= MAX_SIZE_M).all(dim=-1)
    boxes = Boxes3D(
        center=code[:, :3].cpu().numpy(),
        size=size.cpu().numpy(),
        yaw=torch.atan2(code[:, 6], code[:, 7]).cpu().numpy(),
        velocity=code[:, 8:10].cpu().numpy(),
        score=scores.double().cpu().numpy(),
        label=label.cpu().numpy(),
        query=query.cpu().numpy(),
    )
    return boxes[(inside & possible & (scores >= config.score_threshold)).cpu().numpy()]
