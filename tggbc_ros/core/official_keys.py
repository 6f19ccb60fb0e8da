"""What StreamPETR's own checkpoints call our tensors."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_BRANCH_KEY = re.compile(r"head\.(cls|reg)_branch\.(.+)")

# (our key, official key); {s}, {b}, {i} stand for a number, {rest} for the rest. The first that fits holds.
_OFFICIAL_KEYS = (
    ("backbone.stem.unit{i}.{rest}", "img_backbone.stem.stem_{i}/{rest}"),
    (
        "backbone.stage{s}.block{b}.layers.{i}.{rest}",
        "img_backbone.stage{s}.OSA{s}_{b}.layers.{i}.OSA{s}_{b}_{i}/{rest}",
    ),
    (
        "backbone.stage{s}.block{b}.concat.{rest}",
        "img_backbone.stage{s}.OSA{s}_{b}.concat.OSA{s}_{b}_concat/{rest}",
    ),
    ("backbone.stage{s}.block{b}.{rest}", "img_backbone.stage{s}.OSA{s}_{b}.{rest}"),
    ("backbone.gates.{rest}", "gates.selective_modules.{rest}"),
    ("backbone.{rest}", "img_backbone.{rest}"),
    ("neck.lateral.{i}.{rest}", "img_neck.lateral_convs.{i}.conv.{rest}"),
    ("neck.output.{rest}", "img_neck.fpn_convs.0.conv.{rest}"),
    ("head.position.encoder.{rest}", "pts_bbox_head.position_encoder.{rest}"),
    ("head.position.spatial_alignment.reduce.{rest}", "pts_bbox_head.spatial_alignment.reduce.0.{rest}"),
    ("head.position.featurized.{rest}", "pts_bbox_head.featurized_pe.conv_{rest}"),
    ("head.position.{rest}", "pts_bbox_head.{rest}"),
    ("head.queries.embedding.{rest}", "pts_bbox_head.query_embedding.{rest}"),
    ("head.queries.reference_points", "pts_bbox_head.reference_points.weight"),
    ("head.queries.pseudo_reference_points", "pts_bbox_head.pseudo_reference_points.weight"),
    ("head.queries.ego_pose_pe.reduce.{rest}", "pts_bbox_head.ego_pose_pe.reduce.0.{rest}"),
    ("head.queries.ego_pose_memory.reduce.{rest}", "pts_bbox_head.ego_pose_memory.reduce.0.{rest}"),
    ("head.queries.{rest}", "pts_bbox_head.{rest}"),
    (
        "head.decoder.layers.{i}.self_attention.{rest}",
        "pts_bbox_head.transformer.decoder.layers.{i}.attentions.0.attn.{rest}",
    ),
    (
        "head.decoder.layers.{i}.cross_attention.{rest}",
        "pts_bbox_head.transformer.decoder.layers.{i}.attentions.1.attn.{rest}",
    ),
    ("head.decoder.layers.{i}.ffn.0.{rest}", "pts_bbox_head.transformer.decoder.layers.{i}.ffns.0.layers.0.0.{rest}"),
    ("head.decoder.layers.{i}.ffn.2.{rest}", "pts_bbox_head.transformer.decoder.layers.{i}.ffns.0.layers.1.{rest}"),
    ("head.decoder.{rest}", "pts_bbox_head.transformer.decoder.{rest}"),
)


def is_official(state: Iterable[str]) -> bool:
    """Whether keys are named as in StreamPETR's own checkpoints."""
    return any(key.startswith(("img_backbone.", "img_neck.", "pts_bbox_head.")) for key in state)


def official_names(keys: Iterable[str], num_layers: int) -> dict[str, str]:
    """Official key -> our key, for our ``keys``, of a decoder of so many layers.

    The class and box branches appear once per decoder layer: six names for one module.
    """
    names: dict[str, str] = {}
    for key in keys:
        branch = _BRANCH_KEY.fullmatch(key)
        if branch is None:
            names[official_name(key)] = key
            continue
        kind, rest = branch.groups()
        names.update((f"pts_bbox_head.{kind}_branches.{i}.{rest}", key) for i in range(num_layers))
    return names


def official_name(key: str) -> str:
    """What our key is called in a checkpoint of StreamPETR's; of the gates, which it has none of, SViT's names."""
    for pattern, official in _official_patterns():
        match = pattern.fullmatch(key)
        if match is not None:
            return official.format(**match.groupdict())
    raise KeyError(f"{key} has no name in official checkpoints")


@functools.cache
def _official_patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The key table with its left side as regular expressions."""
    escaped = ((re.escape(ours).replace(r"\{rest\}", "(?P<rest>.+)"), official) for ours, official in _OFFICIAL_KEYS)
    return tuple((re.compile(re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", left)), right) for left, right in escaped)
