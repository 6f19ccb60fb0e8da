"""What the detector did with one set, as a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from std_msgs.msg import Header

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import StepReport
from tggbc_ros.msg import Count, FrameReport, StageTime
from tggbc_ros.ros.drops import Totals


@dataclass(frozen=True)
class Identity:
    """What runs: model configuration, weights (file and hash, or RANDOM), backend (as `engine_name`) and device."""

    model: str
    weights: str
    backend: str
    device: str


def engine_name(backend: str, precision: str) -> str:
    """The backend, and the precision of the image encoder where its name does not tell it, as of an export in int8."""
    told = precision == "fp32" or backend.endswith(f"_{precision}")
    return backend if told else f"{backend}, encoder in {precision}"


def frame_report(
    head: Header,
    identity: Identity,
    pruning: PruningConfig,
    step: StepReport,
    stage_ms: Mapping[str, float],
    totals: Totals,
) -> FrameReport:
    """The report of one published set; latency and spread are left to the caller."""
    return FrameReport(
        header=head,
        sets_received=totals.sets_received,
        sets_published=totals.sets_published,
        model=identity.model,
        weights=identity.weights,
        backend=identity.backend,
        device=identity.device,
        keep_ratio=step.keep_ratio,
        keep_ratio_used=step.keep_ratio_used,
        keys=list(step.keys),
        total_keys=step.total_keys,
        keep_mode=pruning.keep.mode,
        prune_schedule=pruning.schedule,
        prune_layers=pruning.trims,
        prune_queries=pruning.queries,
        voters=step.voters,
        token_rate=step.token_rate,
        token_rate_used=step.token_rate_used,
        tokens=list(step.token_shares),
        latency_budget_ms=pruning.keep.budget_ms if pruning.keep.mode == "budget" else 0.0,
        budget_feasible=step.feasible,
        stages=[StageTime(stage=stage, ms=ms) for stage, ms in stage_ms.items()],
        memory_age_s=step.memory_age_s,
        reset_cause=step.reset_cause,
        last_reset_cause=totals.last_reset_cause,
        resets=counts(totals.resets),
        drops=counts(totals.drops),
    )


def counts(by_cause: Mapping[str, int]) -> list[Count]:
    """Counts by cause as messages."""
    return [Count(cause=cause, count=count) for cause, count in by_cause.items()]
