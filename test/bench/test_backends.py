from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import backends as program
from bench import encoder
from bench.backends import REFERENCE, Eager, Row, backends_table, measure_backends
from bench.encoder import measure_encoder
from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.layout import widths
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.config import MODELS, ModelConfig
from tggbc_ros.core.network_file import write_network

STAGES = ["preprocess", "align", "encode", "embed", "decode", "boxes"]


def row(backend: str, network_ms: float, frame_ms: float) -> Row:
    return Row("tiny", backend, 0.3, {"encode": 1.0, "embed": 2.0, "decode": 3.0}, network_ms, frame_ms)


def test_a_row_for_each_ratio_and_backend_after_the_reference(tiny: ModelConfig) -> None:
    rows = measure_backends(tiny, ["torch"], "cpu", repeats=1, keep_ratios=(1.0, 0.25))
    assert [(each.keep_ratio, each.backend) for each in rows] == [
        (1.0, REFERENCE), (1.0, "torch"), (0.25, REFERENCE), (0.25, "torch"),
    ]  # fmt: skip
    for each in rows:
        assert list(each.stage_ms) == STAGES
        assert each.network_ms == pytest.approx(sum(each.stage_ms[name] for name in ("encode", "embed", "decode")))
        assert each.frame_ms == pytest.approx(sum(each.stage_ms.values()))


def test_the_reference_runs_the_network_as_it_is_written(tiny: ModelConfig) -> None:
    network = Eager(tiny, None, "cpu")
    images = torch.randn(1, 2, 3, *tiny.image_size)
    assert torch.equal(network.encode(images), network._module.encode(images))


def test_times_are_those_of_the_reference_over_the_backends() -> None:
    lines = backends_table([row(REFERENCE, 100.0, 120.0), row("openvino", 40.0, 60.0)]).splitlines()
    assert lines[1].split()[-4:] == ["100.0", "1.00", "120.0", "1.00"]
    assert lines[2].split()[-4:] == ["40.0", "2.50", "60.0", "2.00"]


def test_rows_are_written_and_what_cannot_be_had_is_named(
    tiny: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, tiny.name, tiny)
    given = ["--models", tiny.name, "--repeats", "1", "--out", str(tmp_path)]
    assert program.main([*given, "--backends", "torch"]) == 0
    rows = json.loads((tmp_path / "bench_backends.json").read_text())
    assert [each["backend"] for each in rows] == [REFERENCE, "torch"] * 2
    assert program.main([*given, "--backends", "openvino", "--device", "cuda:99"]) == 2
    assert "cuda:99" in capsys.readouterr().err


def test_a_slim_networks_file_is_what_is_measured(tiny: ModelConfig, tmp_path: Path) -> None:
    whole, _ = build_network(tiny, None)
    kept = {group: range(width // 4) for group, width in widths(whole.backbone.shape).items()}
    slim = cut_network(whole, Cut(kept))
    file = tmp_path / "slim.safetensors"
    write_network(slim.state_dict(), file, slim.model.shape)
    assert Eager(tiny, file, "cpu").model == slim.model
    rows = measure_backends(tiny, ["torch"], "cpu", 1, [1.0], file)
    assert [each.backend for each in rows] == [REFERENCE, "torch"]
    assert measure_encoder(tiny, torch.device("cpu"), 1, ["fp32"], file)[1].error < 1e-5


def test_a_checkpoint_is_of_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--models", "demo", "r50_704", "--checkpoint", "slim.safetensors"]
    assert program.main([*given, "--out", str(tmp_path)]) == encoder.main(given) == 2
    said = "bench: checkpoint is slim.safetensors, and the models are demo, r50_704: expected one of --models\n"
    assert capsys.readouterr().err == said * 2
