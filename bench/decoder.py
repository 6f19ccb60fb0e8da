"""Decoder time, what scoring takes of it, and memory, of every mode at one shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar
from unittest import mock

import torch

from bench.engines import ENGINES
from bench.measure import interleaved_ms, median, peak_extra_mb, synchronize
from bench.modes import DENSE, DENSE_EXPLICIT, Mode
from bench.shapes import shape_name, speedup_limit
from bench.workload import Workload, make_workload
from tggbc_ros.core import carry, pruning
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import ModelConfig

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
Row = dict[str, object]
Measured = tuple[Mode, Carried | None]


@dataclass(frozen=True)
class Setting:
    """Where and how often; engine: see `bench.engines`."""

    device: torch.device
    dtype: torch.dtype
    engine: str
    repeats: int


def measure_shape(model: ModelConfig, modes: Sequence[Mode], setting: Setting) -> list[Row]:
    """One row a mode; both dense modes must be among them, as ratios are over their times."""
    work = make_workload(model, setting.device, setting.dtype)
    measured = {mode.label: (mode, work.carried(mode)) for mode in modes}
    engine = ENGINES[setting.engine]
    calls = {label: engine(partial(work.decode, *each)) for label, each in measured.items()}
    times = interleaved_ms(calls, setting.repeats, setting.device)
    dense_ms, explicit_ms = median(times[DENSE.label]), median(times[DENSE_EXPLICIT.label])
    rows = []
    for label, each in measured.items():
        decoder_ms = median(times[label])
        rows.append(
            _identity(model, each[0], setting)
            | {
                "decoder_ms": decoder_ms,
                "ratio_to_dense_sdpa": dense_ms / decoder_ms,
                "ratio_to_dense_explicit": explicit_ms / decoder_ms,
                "decoder_ms_each": times[label],
            }
            | _keys(model, work, each)
            | _memory(work, each, setting.device)
            | _scoring(work, each, setting, dense_ms)
        )
    return rows


def _identity(model: ModelConfig, mode: Mode, setting: Setting) -> Row:
    return {
        "shape": shape_name(model),
        "label": mode.label,
        "mode": mode.name,
        "keep_ratio": mode.pruning.keep_ratio,
        "n": mode.trims,
        "carry_ratio": mode.pruning.carry.ratio,
        "device": setting.device.type,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "engine": setting.engine,
    }


def _keys(model: ModelConfig, work: Workload, each: Measured) -> Row:
    keys = work.decode(*each).num_keys
    return {"keys": keys, "multiply_add_limit": speedup_limit(model, keys)}


def _memory(work: Workload, each: Measured, device: torch.device) -> Row:
    """Of the whole decoder, and of scoring and selecting alone: the most of its trims."""
    peaks = [0.0]

    def observed(*given: object) -> object:
        peaks.append(peak_extra_mb(partial(trim, *given), device))
        return trim(*given)

    whole_mb = peak_extra_mb(partial(work.decode, *each), device)
    trim: Callable[..., object] = pruning.trim
    with mock.patch.object(pruning, "trim", observed):
        work.decode(*each)
    return {"peak_extra_mb": whole_mb, "scoring_peak_mb": None if each[0].explicit else max(peaks)}


def _scoring(work: Workload, each: Measured, setting: Setting, dense_ms: float) -> Row:
    """What pruning adds to a decoder; not told apart from the rest where the attention map is there anyway."""
    if each[0].explicit:
        return {"scoring_ms": None, "scoring_share_of_dense": None}
    scoring = median([scoring_ms(work, each, setting.device) for _ in range(setting.repeats)])
    return {"scoring_ms": scoring, "scoring_share_of_dense": scoring / dense_ms}


def scoring_ms(work: Workload, each: Measured, device: torch.device) -> float:
    """Time spent on choosing keys, inside one decoder run: class branch, importance, top-k, copying what is kept."""
    (mode, carried), spent_ms = each, [0.0]

    def clocked(call: Callable[Given, Returned]) -> Callable[Given, Returned]:
        def run(*given: Given.args, **named: Given.kwargs) -> Returned:
            synchronize(device)
            start = time.perf_counter()
            result = call(*given, **named)
            synchronize(device)
            spent_ms.append((time.perf_counter() - start) * 1e3)
            return result

        return run

    start = work.tokens if carried is None else clocked(carry.start_tokens)(work.tokens, carried, mode.pruning)
    with mock.patch.object(pruning, "trim", clocked(pruning.trim)):
        work.head.decoder(work.queries, start, mode.pruning, clocked(work.head.cls_branch))
    return sum(spent_ms)
