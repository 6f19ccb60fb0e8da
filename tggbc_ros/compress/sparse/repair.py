"""Which weights of a layer go, and what the others become: least squares against the layer's own inputs."""

from __future__ import annotations

import torch


def normalised(inputs: torch.Tensor) -> float:
    """By what second moments [in, in] are multiplied to have a mean diagonal of 1; 0 where all are 0."""
    mean = float(inputs.diagonal().double().mean())
    return 1.0 / mean if mean > 0.0 else 0.0


def resolve(
    weights: torch.Tensor, mask: torch.Tensor, inputs: torch.Tensor, target: torch.Tensor, steps: int
) -> torch.Tensor:
    """The weights [out, in], zero outside the mask, that minimise tr(W A W^T) - 2 tr(W B^T).

    inputs: A [in, in], positive definite. target: B [out, in]; W0 A where W0 x is to be answered. Every row is a
    problem of its own, solved by conjugate gradients (scaled by A's diagonal) from ``weights`` on, all rows at once.
    """
    scale = 1.0 / inputs.diagonal()
    x = weights * mask
    residual = (target - x @ inputs) * mask
    z = residual * scale
    direction = z
    energy = (residual * z).sum(dim=1, keepdim=True)
    start = energy
    tiny = torch.finfo(x.dtype).tiny
    for _ in range(steps):
        image = (direction @ inputs) * mask
        step = energy / (direction * image).sum(dim=1, keepdim=True).clamp(min=tiny)
        x = x + step * direction
        residual = residual - step * image
        z = residual * scale
        new = (residual * z).sum(dim=1, keepdim=True)
        if bool((new <= 1e-8 * start).all()):
            break
        direction = z + (new / energy.clamp(min=tiny)) * direction
        energy = new
    return x


def drop(score: torch.Tensor, mask: torch.Tensor, kept: int) -> torch.Tensor:
    """A mask within ``mask`` that leaves so many of the highest score; of equals the first."""
    flat = score.masked_fill(mask == 0, -torch.inf).flatten()
    chosen = torch.zeros_like(flat)
    chosen[torch.argsort(flat, descending=True, stable=True)[:kept]] = 1.0
    return chosen.view_as(mask) * mask
