"""Sparse tensors in files: dense ones to the bit on the way back, and nothing that does not count up is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import TINY

from tggbc_ros.core.checkpoint import GATE_PREFIX, CheckpointError, build_network, read_gate_state, read_state_dict
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.core.shape import resnet
from tggbc_ros.core.sparse_file import MASK, SPARSE_KEY, VALUES, packed, packed_bytes, sparse_shapes, unpacked

NAME = "neck.output.weight"
HISTORY = ({"step": "sparse", "kept": 0.25},)


def sparse_network(share: float = 0.25) -> dict[str, torch.Tensor]:
    """The tiny network in half precision, with so much left of every matrix."""
    torch.manual_seed(5)
    state = StreamPETR(TINY).state_dict()
    for value in state.values():
        if value.ndim > 1:
            value *= torch.rand(value.shape) < share
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sparse") / "sparse.safetensors"
    write_network(sparse_network(), path, history=HISTORY, sparse=True)
    return path


def test_a_network_comes_back_to_the_bit_from_a_third_of_the_bytes(written: Path, tmp_path: Path) -> None:
    state = sparse_network()
    write_network(state, dense := tmp_path / "dense.safetensors")
    found = read_state_dict(written)
    assert found.keys() == state.keys()
    assert all(torch.equal(value, state[name]) and value.dtype == state[name].dtype for name, value in found.items())
    assert written.stat().st_size <= 0.35 * dense.stat().st_size
    assert history_of(written) == HISTORY
    module, _ = build_network(TINY, written)
    assert torch.equal(module.state_dict()[NAME].half(), state[NAME])


def test_a_tensor_that_would_not_get_smaller_stays_as_it_is() -> None:
    state = {"thick": torch.ones(8, 8), "thin": torch.eye(8), "empty": torch.zeros(4, 4), "norm": torch.zeros(64)}
    found, told = packed(state)
    assert json.loads(told[SPARSE_KEY]) == {"thin": [8, 8], "empty": [4, 4]}
    assert found.keys() == {"thick", f"thin{VALUES}", f"thin{MASK}", f"empty{VALUES}", f"empty{MASK}", "norm"}
    assert found[f"thin{VALUES}"].nbytes + found[f"thin{MASK}"].nbytes == packed_bytes(64, 8, 4) == 40
    back = unpacked(found, told)
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_bits_are_counted_lowest_first() -> None:
    stored = {"w.values": torch.tensor([3.0, 5.0]), "w.mask": torch.tensor([0b10, 0b1], dtype=torch.uint8)}
    dense = unpacked(stored, {SPARSE_KEY: '{"w": [3, 3]}'})["w"]
    assert dense.flatten().tolist() == [0, 3, 0, 0, 0, 0, 0, 0, 5]


def broken(path: Path, written: Path, **change: object) -> Path:
    """A copy with tensors replaced by name, or taken away."""
    from safetensors import safe_open

    with safe_open(written, "pt") as file:
        metadata = dict(file.metadata())
    state = load_file(written)
    for key, value in change.items():
        name = f"{NAME}.{key}"
        if value is None:
            del state[name]
        else:
            state[name] = value(state[name])  # type: ignore[operator]
    save_file(state, path, metadata)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": lambda x: x[:-1].clone()}, f"values of {NAME}, but its mask counts"),
        ({"mask": lambda x: torch.full_like(x, 255)}, f"values of {NAME}, but its mask counts"),
        ({"mask": lambda x: x[:-1].clone()}, f"a mask of {NAME} of shape"),
        ({"mask": lambda x: x.int()}, f"a mask of {NAME} of shape"),
        ({"mask": None}, f"holds no {NAME}.mask"),
        ({"values": None}, f"holds no {NAME}.values"),
    ],
)
def test_parts_that_do_not_count_up_are_refused_by_name(
    written: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = broken(tmp_path / "broken.safetensors", written, **change)
    with pytest.raises(CheckpointError, match=f"{path} .*{said}"):
        build_network(TINY, path)


def test_a_key_gate_with_zeros_comes_back(tmp_path: Path) -> None:
    gate = {f"{GATE_PREFIX}row": torch.eye(32), f"{GATE_PREFIX}bias": torch.ones(3)}
    write_network(sparse_network() | gate, path := tmp_path / "gate.safetensors", sparse=True)
    found = read_gate_state(path)
    assert found.keys() == {"row", "bias"} and torch.equal(found["row"], torch.eye(32))


def test_a_sparse_network_may_be_slim_too(tmp_path: Path) -> None:
    shape = resnet("basic", (1, 1, 1, 1), width=8)
    module = StreamPETR(replace(TINY, shape=shape)).requires_grad_(False)
    module.neck.output.weight[:, ::2] = 0.0
    write_network(module.state_dict(), path := tmp_path / "slim.safetensors", shape, sparse=True)
    built, _ = build_network(TINY, path)
    assert built.model.shape == shape
    assert torch.equal(built.neck.output.weight, module.neck.output.weight)


def test_a_file_cut_short_is_refused_by_name(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(written.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=f"{path} is damaged"):
        read_state_dict(path)


@pytest.mark.parametrize("text", ["[]", "{", '{"w": 3}', '{"w": [-1]}', '{"w": [1.5]}', '{"w": []}', '{"w": [true]}'])
def test_shapes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected shapes by name"):
        sparse_shapes({SPARSE_KEY: text})


def test_bits_behind_the_last_number_are_refused() -> None:
    stored = {"w.values": torch.ones(1), "w.mask": torch.tensor([0b100], dtype=torch.uint8)}
    with pytest.raises(ValueError, match="w"):
        unpacked(stored, {SPARSE_KEY: '{"w": [1, 2]}'})
