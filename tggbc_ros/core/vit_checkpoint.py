"""What checkpoints of vision transformers hold beside the weights of ours: tables, gates, other networks' parts."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from tggbc_ros.core.backbones.vit import ViT
from tggbc_ros.core.backbones.windows import rotary_map

State = Mapping[str, torch.Tensor]

ROUTER = re.compile(r"img_backbone\.(score_predictor\.|rope_(win|glb)_acc\.).+")
PYRAMID = re.compile(r"img_backbone\.adapter\..+")
TABLE_TOLERANCE = 1e-4

_TABLE = re.compile(r"img_backbone\.(blocks\.\d+\.attn\.rope|rope_win|rope_glb)\.freqs_(cos|sin)")
_GATE = re.compile(r"(?:gates\.selective_modules|backbone\.gates)\.(\d+)\.\w.*")

_logger = logging.getLogger(__name__)


def rotary_tables(backbone: nn.Module, image_size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """The cosines and sines [side * side, head_dims] that a StreamPETR checkpoint stores, by their keys there.

    We compute them anew. A backbone without rotary positions has none.
    """
    if not isinstance(backbone, ViT):
        return {}
    shape = backbone.shape
    global_side = shape.global_window or min(image_size) // shape.patch
    sides = {"rope_win": shape.window, "rope_glb": global_side}
    sides |= {f"blocks.{block}.attn.rope": shape.side(block) or global_side for block in range(shape.depth)}
    tables = {side: rotary_map(side, side, side, shape.head_dims) for side in set(sides.values())}
    return {
        f"img_backbone.{name}.freqs_{kind}": table.flatten(0, 1)
        for name, side in sides.items()
        for kind, table in zip(("cos", "sin"), tables[side], strict=True)
    }


def weights_alone(state: State, backbone: nn.Module, image_size: tuple[int, int], source: str) -> tuple[State, str]:
    """An official state dict without what is no weight of the backbone's, and in words what is wrong with that.

    Rotary tables must be ours where they have the size of ours; others are of a training at another image size, and
    are passed over. So is ToC3D's router, with a warning.
    """
    if not isinstance(backbone, ViT):
        return state, ""
    router = [key for key in state if ROUTER.fullmatch(key)]
    if router:
        _logger.warning(
            "%s: %d tensors of ToC3D's router (img_backbone.score_predictor.*, …) are not used. The other weights were "
            "trained with it, and how good they are without it nobody has measured",
            source,
            len(router),
        )
    stored = {key: value for key, value in state.items() if _TABLE.fullmatch(key)}
    problem = _table_problem(stored, rotary_tables(backbone, image_size), source)
    dropped = stored.keys() | set(router)
    return {key: value for key, value in state.items() if key not in dropped}, problem


def _table_problem(stored: State, tables: State, source: str) -> str:
    comparable = {key: value for key, value in stored.items() if key in tables and value.shape == tables[key].shape}
    if len(comparable) < len(stored):
        passed_over = len(stored) - len(comparable)
        _logger.info("%s: %d rotary tables of another size are passed over", source, passed_over)
    unlike = [key for key, value in comparable.items() if not _alike(value, tables[key])]
    return f"{len(unlike)} rotary tables unlike those of its shape: {unlike[0]} first" if unlike else ""


def _alike(stored: torch.Tensor, table: torch.Tensor) -> bool:
    rounding = torch.finfo(stored.dtype).eps if stored.is_floating_point() else 0.0
    return torch.allclose(stored.float().cpu(), table, rtol=0.0, atol=TABLE_TOLERANCE + rounding)


@contextlib.contextmanager
def gates_as_in(state: State, backbone: nn.Module) -> Iterator[None]:
    """Within, and from then on, the backbone has gates before the blocks for which ``state`` has them.

    It has those it had, where an exception ends it. Gates before blocks that there are not are left to be reported as
    unexpected keys.
    """
    if not isinstance(backbone, ViT):
        yield
        return
    before, known = backbone.gates, range(backbone.shape.depth)
    numbers = {int(match[1]) for match in map(_GATE.fullmatch, state) if match is not None}
    backbone.add_gates(number for number in numbers if number in known)
    try:
        yield
    except BaseException:
        backbone.gates = before
        raise


def load_backbone(backbone: ViT, state: State, image_size: tuple[int, int], source: str) -> list[str]:
    """Start from the backbone of a checkpoint that may hold more: another head, a pyramid, a router.

    Keys are ``img_backbone.…``, or bare names. Returns the keys that were not used. Raises ValueError naming ``source``
    and what is missing, mis-shaped or not finite; the backbone is then as it was.
    """
    official = any(key.startswith("img_backbone.") for key in state)
    prefixed = state if official else {f"img_backbone.{key}": value for key, value in state.items()}
    with gates_as_in({}, backbone):
        weights, problem = weights_alone(prefixed, backbone, image_size, source)
        own = backbone.state_dict()
        found = {name: weights.get(f"img_backbone.{name}") for name in own}
        wrong = [problem] if problem else []
        for name, value in found.items():
            if value is None or value.shape != own[name].shape:
                has = "nothing" if value is None else tuple(value.shape)
                wrong.append(f"img_backbone.{name} is {has}, expected {tuple(own[name].shape)}")
            elif not torch.isfinite(value).all():
                wrong.append(f"img_backbone.{name} has NaN or infinity")
        if wrong:
            raise ValueError(f"{source} does not fit the backbone: {wrong[0]}; {len(wrong)} such in all")
        backbone.load_state_dict({name: value for name, value in found.items() if value is not None})
    used = {f"img_backbone.{name}" for name in own}
    return [key for key in prefixed if key not in used and not _TABLE.fullmatch(key)]
