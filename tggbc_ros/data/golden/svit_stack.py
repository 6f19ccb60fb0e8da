"""SViT's own stack of gated blocks (arXiv 2306.07050), computed anew: plain pre-norm blocks, all tokens of an image.

It shows that `core.gates` decides, learns and is paid for as the published code is; windows come in with EVA-02.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tggbc_ros.core.attention import Attention
from tggbc_ros.core.gates import Gate, blend, kept, rate_loss, sampled
from tggbc_ros.data.golden.cases import GoldenFile
from tggbc_ros.data.golden.checks import Check, largest_difference
from tggbc_ros.data.golden.vit_weights import vit_weights

TOKENS, LOSSES, GRADIENTS = 1e-4, 1e-6, 1e-4
EPSILON = 1e-5


class PlainBlock(nn.Module):
    """Attention and a perceptron, each normalised before; names are those of torch's TransformerEncoderLayer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)

    def forward(self, x: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """[B, N, C] -> [B, N, C]; keep [B, N] is false for tokens that are no keys."""
        normalised, blocked = self.norm1(x), None if keep is None else ~keep[:, None, None]
        x = x + self.self_attn(normalised, normalised, normalised, blocked)
        output: torch.Tensor = x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
        return output


class Stack(nn.Module):
    """The file's blocks and gates with formula weights; a gate before every block from ``first`` on."""

    def __init__(self, golden: GoldenFile) -> None:
        super().__init__()
        meta, self.first = golden.meta, golden.meta["first_gated_block"]
        depth, width = meta["depth"], meta["width"]
        self.blocks = nn.ModuleList(PlainBlock(width, meta["heads"]) for _ in range(depth))
        self.selective_modules = nn.ModuleList(Gate(width) for _ in range(depth - self.first))
        own = self.state_dict()
        names = {key: _official(key) for key in own}
        weights = {**vit_weights({names[key]: tuple(own[key].shape) for key in own}, meta["salt"])}
        weights |= {name: golden.arrays[f"weights.{name}"] for name in weights if f"weights.{name}" in golden.arrays}
        self.load_state_dict({key: torch.from_numpy(weights[names[key]]) for key in own})


def _official(key: str) -> str:
    """blocks.3.linear1.weight -> blocks.3.TransformerEncoderLayer.linear1.weight; gates are called as here."""
    kind, number, rest = key.split(".", 2)
    return f"blocks.{number}.TransformerEncoderLayer.{rest}" if kind == "blocks" else key


def check_stack(golden: GoldenFile) -> Iterator[Check]:
    """Inference by the gates' own decision, evaluation as published, the dense stack, and one step of training."""
    stack = Stack(golden).eval()
    with torch.no_grad():
        yield from _checks(golden, _infer(stack, golden), TOKENS)
        yield from _checks(golden, _evaluate_as_published(stack, golden), TOKENS)
    outputs, losses, gradients = _train(stack, golden)
    yield from _checks(golden, outputs, TOKENS)
    yield from _checks(golden, losses, LOSSES)
    for name, gradient in gradients.items():
        recorded = golden.arrays[name]
        error = largest_difference(gradient.numpy(), recorded) / np.abs(recorded).max()
        yield Check(f"{name} (relative)", error, GRADIENTS)


def _infer(stack: Stack, golden: GoldenFile) -> dict[str, torch.Tensor]:
    """Image by image; skipped tokens are gone while a block runs."""
    tokens = _tokens(golden)
    computed: dict[str, torch.Tensor] = {}
    for index, block in enumerate(stack.blocks):
        if index < stack.first:
            tokens = block(tokens)
        else:
            probability = stack.selective_modules[index - stack.first](tokens)
            keep = kept(probability)
            tokens = _run_kept(block, tokens, keep)
            computed |= {f"infer.gate_logp.{index}": probability, f"infer.keep.{index}": keep}
        computed[f"infer.out.{index}"] = tokens
    rows, columns = golden.meta["H"], golden.meta["W"]
    return computed | {"infer.map": tokens.transpose(1, 2).unflatten(2, (rows, columns))}


def _evaluate_as_published(stack: Stack, golden: GoldenFile) -> dict[str, torch.Tensor]:
    """Gates that draw in evaluation too, by the recorded noise; and the stack without gates."""
    tokens, dense, computed = _tokens(golden), _tokens(golden), {}
    for index, block in enumerate(stack.blocks):
        dense = block(dense)
        if index < stack.first:
            tokens = block(tokens)
            continue
        probability = stack.selective_modules[index - stack.first](tokens)
        keep = sampled(probability, _noise(golden, f"sampled.gumbel.{index}")) > 0.5
        tokens, computed[f"sampled.keep.{index}"] = _run_kept(block, tokens, keep), keep
    return computed | {"sampled.out": tokens, "dense.out": dense}


def _train(
    stack: Stack, golden: GoldenFile
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Outputs, losses and gradients of one step; all tokens are computed, skipped ones are no keys."""
    meta, given = golden.meta, _tokens(golden).requires_grad_()
    tokens, decisions, computed = given, [], {}
    for index, block in enumerate(stack.blocks):
        if index < stack.first:
            tokens = block(tokens)
        else:
            probability = stack.selective_modules[index - stack.first](tokens)
            decision = sampled(probability, _noise(golden, f"train.gumbel.{index}"), meta["tau"])
            decisions.append(decision)
            keep = decision.detach() > 0.5
            tokens = blend(decision, block(tokens, keep), tokens)
            computed[f"train.keep.{index}"] = keep
        computed[f"train.out.{index}"] = tokens.detach()
    targets = meta["keep_ratio"]
    loss = rate_loss(decisions, targets)
    total = (tokens * _noise(golden, "train.proj")).mean() + meta["ratio_loss_weight"] * loss
    total.backward()
    losses = {
        "train.ratio_loss": loss,
        "train.total": total,
        "train.ratio_loss_per_gate": torch.stack(
            [rate_loss([decision], [target]) for decision, target in zip(decisions, targets, strict=True)]
        ),
        "train.ratio_loss_per_image": rate_loss(decisions, targets, per_image=True),
    }
    return computed, {name: value.detach() for name, value in losses.items()}, _gradients(stack, given, golden)


def _gradients(stack: Stack, given: torch.Tensor, golden: GoldenFile) -> dict[str, torch.Tensor]:
    """Those that were recorded, by their names there: of weights, also without the word weight."""
    gradients = {"tokens": given.grad}
    for key, parameter in stack.named_parameters():
        gradients |= {key: parameter.grad, key.removesuffix(".weight"): parameter.grad}
    named = {f"train.grad.{key}": gradient for key, gradient in gradients.items() if gradient is not None}
    return {name: gradient for name, gradient in named.items() if name in golden.arrays}


def _run_kept(block: nn.Module, tokens: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    tokens = tokens.clone()
    for image, mask in zip(tokens, keep, strict=True):
        image[mask] = block(image[mask][None])[0]
    return tokens


def _tokens(golden: GoldenFile) -> torch.Tensor:
    return torch.from_numpy(golden.arrays["in.tokens"])


def _noise(golden: GoldenFile, name: str) -> torch.Tensor:
    return torch.from_numpy(golden.arrays[name])


def _checks(golden: GoldenFile, computed: Mapping[str, torch.Tensor], tolerance: float) -> Iterator[Check]:
    """What was recorded of what was computed; masks must be equal."""
    for name, value in computed.items():
        if name in golden.arrays:
            recorded = np.atleast_1d(golden.arrays[name])
            allowed = 0.0 if recorded.dtype == np.bool_ else tolerance
            yield Check(name, largest_difference(np.atleast_1d(value.numpy()), recorded), allowed)
