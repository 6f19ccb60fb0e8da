"""tools.compress: what it writes is a checkpoint like any other, with a gate in it; what is no use is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import TINY

from tggbc_ros import backends
from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.config import model_config
from tggbc_ros.core.key_gate import GateError, KeyGate
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.tools.compress import main, write_with_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file({name: each.clone() for name, each in build_network(TINY, None)[0].state_dict().items()}, path)
    return path


def gate(value: float) -> KeyGate:
    made = KeyGate(TINY, 6, 4)
    with torch.no_grad():
        made.out.bias.fill_(value)
    return made.requires_grad_(False)


def test_the_gate_travels_with_the_weights_and_replaces_the_one_before(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "with_gate.safetensors"
    assert backends.load_network("torch", TINY, weights, "cpu").gate is None
    write_with_weights(gate(1.0), weights, out)
    write_with_weights(gate(2.0), out, tmp_path / "again.safetensors")
    network = backends.load_network("torch", TINY, tmp_path / "again.safetensors", "cpu")
    assert network.gate is not None
    assert network.gate.cameras == 6
    assert float(network.gate.out.bias) == 2.0
    before, after = load_file(weights), load_file(tmp_path / "again.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_slim_network_stays_as_slim_as_its_file_says(tmp_path: Path) -> None:
    whole, _ = build_network(TINY, None)
    kept = {group: range(width // 2) for group, width in layout.widths(whole.backbone.shape).items()}
    slim = cut_network(whole, Cut(kept, frozenset({"layer2.1"})))
    write_network(slim.state_dict(), tmp_path / "slim.safetensors", slim.model.shape, [{"step": "cut"}])
    write_with_weights(gate(1.0), tmp_path / "slim.safetensors", tmp_path / "with_gate.safetensors")
    network = backends.load_network("torch", TINY, tmp_path / "with_gate.safetensors", "cpu")
    assert network.model == slim.model and network.gate is not None
    assert history_of(tmp_path / "with_gate.safetensors") == ({"step": "cut"},)


def test_a_gate_of_another_width_is_refused_where_it_is_loaded(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights) | {"key_gate.features.weight": torch.zeros(4, 7)}
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(GateError, match=r"the key gate in checkpoint .*odd.safetensors does not fit model tiny: it .*"):
        backends.load_network("torch", TINY, tmp_path / "odd.safetensors", "cpu")


@pytest.mark.parametrize("name", backends.SHIPPED_WEIGHTS)
def test_a_shipped_model_has_one(name: str) -> None:
    network = backends.load_network("torch", model_config(name), None, "cpu")
    assert network.gate is not None
    assert network.gate.cameras == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "gate.pth"], "out is gate.pth, expected a name that ends in .safetensors"),
        (["--checkpoint", "none.pth", "--out", "gate.safetensors"], "checkpoint none.pth does not exist"),
        (["--out", "gate.safetensors"], "nowhere"),
    ],
)
def test_what_is_no_use_is_named_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["keygate", "--model", "demo", "--data", "nowhere", "--split", "none", *arguments]
    assert main(given) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (["--bag", "nowhere.mcap"], "nowhere.mcap"),
        (["--bag", "nowhere.mcap", "--params", "no.yaml"], "no.yaml"),
        (["--data", "nowhere"], "there is nothing to fit on, expected --data DIR --split NAME, or --bag BAG"),
    ],
)
def test_what_is_no_source_is_named_in_one_line(
    source: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keygate", "--model", "demo", *source, "--out", str(tmp_path / "gate.safetensors")]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "gate.safetensors").exists()
