"""Embedding and decoder together: dense, trimmed after the first layer, and with keys that are chosen beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from bench.decoder import Row
from bench.measure import interleaved_ms, median
from bench.scene import frame_at
from bench.shapes import CAMERAS, shape_name
from bench.workload import Workload, make_workload
from tggbc_ros.core import start
from tggbc_ros.core.config import ModelConfig, PruningConfig, StartConfig
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.position import PositionEmbedding, Rays, cell_features
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import NetworkInput, Tokens

HIDDEN = 32
USUAL = 0.4, 0.2
RATIOS = {"900x24000": (0.3, 0.125), "900x16896": (0.3, 0.125), "428x4224": (0.5, 0.3)}
"""Start ratio and keep ratio that are measured, by shape where they are not the usual ones."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a frame brings: features, calibration, rays that are kept from the frame before, and a gate."""

    position: PositionEmbedding
    features: torch.Tensor
    inputs: NetworkInput
    rays: Rays
    gate: KeyGate


def measure_with_embedding(model: ModelConfig, device: torch.device, repeats: int) -> list[Row]:
    """One row for each way and for rays kept and anew, over the dense one of the same rays; all take turns."""
    work, given = make_workload(model, device, torch.float32), _given(model, device)
    first, last = RATIOS.get(shape_name(model), USUAL)
    ways = {
        "dense": PruningConfig(),
        f"pruned {last:g}": PruningConfig(last),
        f"start {first:g} keep {last:g}": PruningConfig(last, start=StartConfig(first)),
    }
    wanted = {(label, rays): (way, rays == "anew") for rays in ("kept", "anew") for label, way in ways.items()}
    calls = {key: partial(_embed, given, *each) for key, each in wanted.items()}
    embeds = interleaved_ms({" ".join(key): call for key, call in calls.items()}, repeats, device)
    wholes = interleaved_ms(
        {" ".join(key): partial(_decode, work, call, wanted[key][0]) for key, call in calls.items()}, repeats, device
    )
    rows = []
    for (label, rays), (way, _) in wanted.items():
        dense_ms, whole_ms = (median(wholes[f"{name} {rays}"]) for name in ("dense", label))
        rows.append(
            {
                "shape": shape_name(model),
                "label": f"{label}, rays {rays}",
                "device": device.type,
                "dtype": "float32",
                "engine": "eager",
                "start_ratio": way.start.ratio,
                "keep_ratio": way.keep_ratio,
                "rays": rays,
                "embed_ms": median(embeds[f"{label} {rays}"]),
                "embed_and_decoder_ms": whole_ms,
                "ratio_with_embed": dense_ms / whole_ms,
            }
        )
    return rows


def _given(model: ModelConfig, device: torch.device) -> Given:
    torch.manual_seed(0)
    position = PositionEmbedding(model).to(device).eval().requires_grad_(False)
    gate = KeyGate(model, CAMERAS, HIDDEN).to(device).eval().requires_grad_(False)
    inputs = preprocess(frame_at(0), model, device)
    rows, columns = model.feature_size
    # Channels last, as the encoder leaves them.
    features = torch.randn(1, CAMERAS, rows, columns, model.embed_dims, device=device).permute(0, 1, 4, 2, 3)
    return Given(position, features, inputs, position.rays(inputs), gate)


def _embed(given: Given, way: PruningConfig, anew: bool) -> Tokens:
    """As `TorchNetwork.embed`, and the choice before it."""
    position, inputs = given.position, given.inputs
    if not way.start.active:
        return position(given.features, position.rays(inputs) if anew else given.rays)
    cells = start.chosen_cells(given.gate, given.features, inputs, None, None, way, 0)
    assert cells is not None  # there is a gate
    rays = position.rays(inputs, cells=cells) if anew else given.rays.of_cells(cells)
    by_cell = cell_features(given.features)
    key, value = position.embed(by_cell.index_select(1, cells), rays)
    return Tokens(key, value, cells[None], by_cell.shape[1])


def _decode(work: Workload, embed: Callable[[], Tokens], way: PruningConfig) -> object:
    return work.head.answer(work.queries, embed(), way)
