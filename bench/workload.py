"""A decoder with random weights and something to decode: built from the repository's own parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.explicit import explicit_head
from bench.modes import Mode
from bench.shapes import num_keys
from tggbc_ros.core import carry
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.head import Head
from tggbc_ros.core.queries import Queries
from tggbc_ros.core.types import NetworkOutput, Tokens

SEED = 0


@dataclass(frozen=True, eq=False)
class Workload:
    """head and explicit: the same weights, two ways to attend. Queries, memory among them, and keys of one frame."""

    head: Head
    explicit: Head
    queries: Queries
    tokens: Tokens

    def decode(self, mode: Mode, carried: Carried | None = None) -> NetworkOutput:
        """The whole decoder: six layers, class and box branches; with carry, what it does before and after."""
        head = self.explicit if mode.explicit else self.head
        start = carry.start_tokens(self.tokens, carried, mode.pruning)
        output = head.answer(self.queries, start, mode.pruning)
        carry.after_frame(carried, output, self.tokens.num_cells, mode.pruning.carry)
        return output

    def carried(self, mode: Mode) -> Carried | None:
        """What the frame before hands over; None without carry."""
        output = self.head.answer(self.queries, self.tokens, mode.pruning)
        return carry.after_frame(None, output, self.tokens.num_cells, mode.pruning.carry)


def make_workload(model: ModelConfig, device: torch.device, dtype: torch.dtype) -> Workload:
    """Of the model's numbers of queries, memory rows and keys; the numbers themselves are noise, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        head = Head(model).eval().requires_grad_(False)
        noise = _noise(model)
    head = head.to(device, dtype)
    content, position, reference, memory, memory_position, key, value = (part.to(device, dtype) for part in noise)
    queries = Queries(content, position, reference, memory, memory_position)
    index = torch.arange(num_keys(model), device=device)[None]
    return Workload(head, explicit_head(head), queries, Tokens(key, value, index))


def _noise(model: ModelConfig) -> tuple[torch.Tensor, ...]:
    asking, dims = model.total_queries, model.embed_dims
    content, position = torch.randn(2, 1, asking, dims)
    memory, memory_position = torch.randn(2, 1, model.memory_length - model.num_propagated, dims)
    value, ray = torch.randn(2, 1, num_keys(model), dims)
    return content, position, torch.rand(1, asking, 3), memory, memory_position, value + ray, value
