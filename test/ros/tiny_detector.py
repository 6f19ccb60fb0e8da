"""The detector node with a network small enough for tests: 28 ms a set on one core.

TINY_LOAD_S: how long loading takes. TINY_SLEEP_S: how long each decoding sleeps. TINY_FAIL_AT: which decodings fail,
as 3 or 3,5. They are counted from 1, the first after the warm-up; 0 is the warm-up itself, which never sleeps.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from tggbc_ros import backends
from tggbc_ros.core.config import MODELS, ModelConfig, PruningConfig
from tggbc_ros.core.types import AlignedMemory, NetworkOutput, Tokens
from tggbc_ros.ros.detector_node import main

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also where it runs as a program

import tiny_model  # noqa: E402

TINY = replace(tiny_model.TINY, backbone="resnet50", num_layers=2)


def load_network(backend: str, model: ModelConfig, checkpoint: Path | None, device: str, allow: bool) -> object:
    """The real network, with the faults asked for by environment variables."""
    time.sleep(float(os.environ.get("TINY_LOAD_S", 0)))
    network = backends.load_network(backend, model, checkpoint, device, allow)
    decode, calls = network.decode, -1
    sleep_s, failing = float(os.environ.get("TINY_SLEEP_S", 0)), os.environ.get("TINY_FAIL_AT", "-1")
    fail_at = {int(number) for number in failing.split(",")}

    def faulty(tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        nonlocal calls
        calls += 1
        time.sleep(sleep_s if calls else 0.0)
        if calls in fail_at:
            raise torch.OutOfMemoryError("injected")
        return decode(tokens, memory, pruning)

    network.decode = faulty
    return network


if __name__ == "__main__":
    MODELS[TINY.name] = TINY
    torch.set_num_threads(1)
    sys.exit(main(load_network=load_network))
