"""Networks small enough for tests, with weights from a seed."""

from __future__ import annotations

from dataclasses import replace

import torch

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import R50_704, ModelConfig
from tggbc_ros.core.detector import Network

TINY = ModelConfig(
    name="tiny",
    backbone="resnet18_half",
    image_size=(32, 64),
    color_order="rgb",
    mean=(100.0, 100.0, 100.0),
    std=(50.0, 50.0, 50.0),
    num_queries=16,
    num_propagated=8,
    memory_length=32,
    embed_dims=64,
    num_heads=4,
    ffn_dims=64,
    num_layers=3,
)
SMALL = replace(
    R50_704,
    name="small",
    backbone="resnet18",
    image_size=(64, 96),
    num_queries=20,
    num_propagated=8,
    memory_length=16,
    embed_dims=64,
    num_heads=4,
    ffn_dims=64,
    num_layers=3,
)
"""The published networks' cells and constants, with fewer of everything."""


def tiny_network() -> Network:
    torch.manual_seed(0)
    return load_network("torch", TINY, None, "cpu", True)
