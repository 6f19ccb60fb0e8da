from __future__ import annotations

import time

import pytest
import torch

from bench.measure import interleaved_ms, peak_extra_mb, timed_ms

CPU = torch.device("cpu")


def test_calls_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    times = interleaved_ms({name: lambda name=name: order.append(name) for name in "ab"}, 3, CPU)
    assert "".join(order) == "abababab"
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_time_is_in_milliseconds() -> None:
    assert timed_ms(lambda: time.sleep(0.03), CPU) >= 30.0


def test_peak_is_what_was_held_at_once_and_not_the_sum() -> None:
    held = torch.zeros(1 << 18)

    def call() -> torch.Tensor:
        first = held + 1.0
        second = first + 1.0
        del first
        return second.add_(1.0) + held

    assert peak_extra_mb(call, CPU) == pytest.approx(2.0, abs=0.05)


def test_an_attention_map_shows_and_a_fused_kernel_has_none() -> None:
    query, key = torch.randn(1, 8, 256, 16), torch.randn(1, 8, 2048, 16)
    explicit = peak_extra_mb(lambda: (query @ key.transpose(-1, -2)).softmax(dim=-1) @ key, CPU)
    fused = peak_extra_mb(lambda: torch.nn.functional.scaled_dot_product_attention(query, key, key), CPU)
    assert explicit == pytest.approx(32.0, rel=0.15)  # scores and weights, 16 MiB each
    assert fused < 8.0
