"""The golden tool: every recorded case passes, and nothing that is wrong does."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tggbc_ros.msg import FrameReport

from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.types import Array
from tggbc_ros.data.golden.cases import AnyArray, read_golden
from tggbc_ros.data.golden.checks import recorded_boxes
from tggbc_ros.data.golden.replay import moved_samples, outputs_by_name, run
from tggbc_ros.ros.convert import boxes_array, header
from tggbc_ros.tools.golden import check_published, main

NOWHERE = Path("nowhere")
ORIGINAL = {
    "r50": "stream_petr_r50_flash_704_bs2_seq_428q_nui_60e",
    "vov": "stream_petr_vov_flash_800_bs2_seq_24e",
}


def test_equals_the_original_network(golden_file: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    report = tmp_path / "report.json"
    needs_images = read_golden(golden_file).kind == "sample"
    sample = request.getfixturevalue("sample_dir") if needs_images else NOWHERE
    status = main([str(golden_file), "--json", str(report), "--sample", str(sample)])
    entries = json.loads(report.read_text())
    assert [entry for entry in entries if not entry["pass"]] == []
    assert status == 0 and len(entries) >= 3
    assert all(set(entry) == {"file", "output", "max_abs_error", "tolerance", "pass"} for entry in entries)


def test_far_from_the_origin_only_the_precision_of_poses_differs(golden_dir: Path, tmp_path: Path) -> None:
    """With the original's float32 poses the far case agrees as closely as any other."""
    report = tmp_path / "report.json"
    assert main([str(golden_dir / "public_A_far.npz"), "--json", str(report)]) == 0
    errors = {entry["output"]: entry["max_abs_error"] for entry in json.loads(report.read_text())}
    assert errors["all_cls_scores (float32 poses)"] < 2e-5 < errors["all_cls_scores"]


def rig() -> tuple[Array, Array]:
    """Intrinsics and lidar2img [1, 6, 4, 4] of six cameras that look around."""
    intrinsics = np.tile(np.eye(4), (1, 6, 1, 1))
    intrinsics[..., 0, 0] = intrinsics[..., 1, 1] = 120.0 + 5.0 * np.arange(6)
    intrinsics[..., :2, 2] = 88.0, 32.0
    optical = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    turns = [rotation_z(np.pi / 3 * i) for i in range(6)]
    return intrinsics, intrinsics @ np.stack([optical @ turn for turn in turns])


def rotation_z(angle_rad: float) -> Array:
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]]
    return matrix


def write_case(path: Path, arrays: dict[str, AnyArray], meta: dict[str, Any]) -> Path:
    np.savez(path, **arrays, meta=json.dumps(meta))
    return path


def record(path: Path, model: str, **meta: Any) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Two frames of our own network as a golden file, in another place, time and motion than the shipped ones."""
    intrinsics, lidar2img = rig()
    rows = {"r50": 128, "vov": 256}[model]
    meta = {"cfg": ORIGINAL[model], "H": 64, "W": 160, "frames": 2, "data_seeds": [5, 6], **meta}
    arrays: dict[str, AnyArray] = {}
    for index in range(2):
        pose = rotation_z(0.3 + 0.1 * index)
        pose[:3, 3] = 40.0 + 3.0 * index, -7.0, 0.5
        inputs = {"intrinsics": intrinsics, "lidar2img": lidar2img, "ego_pose": pose[None]}
        arrays.update((f"f{index}.in.{name}", array.astype(np.float32)) for name, array in inputs.items())
        arrays[f"f{index}.in.ego_pose_inv"] = np.linalg.inv(pose)[None].astype(np.float32)
        arrays[f"f{index}.in.prev_exists"] = np.array([float(index)], np.float32)
        arrays[f"f{index}.in.timestamp"] = np.array([1.6e9 + 0.45 * index])
        arrays[f"f{index}.out.mem_topk_query"] = np.zeros(rows, np.int32)
        arrays[f"f{index}.out.dec_topk_score"] = np.zeros(300, np.float32)
    draft = write_case(path, arrays, meta)
    for index, step in enumerate(run(read_golden(draft), NOWHERE)):
        computed = outputs_by_name(step)
        arrays.update((f"f{index}.out.{name}", array) for name, array in computed.items() if "img_feats" not in name)
    write_case(path, arrays, meta)
    return arrays, meta


@pytest.mark.parametrize(
    ("model", "meta"),
    [
        ("r50", {"weight_salt": "other|", "r": 101, "n": 4, "k": 30}),
        ("r50", {"weight_salt": "other|", "img_formula": "given"}),
        ("vov", {"r": 77, "n": 1, "k": 0}),
    ],
    ids=["salted-pruned", "from-images", "vov-all-queries"],
)
def test_other_salts_seeds_poses_and_pruning_work_unchanged(model: str, meta: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    record(path, model, **meta)
    assert main([str(path)]) == 0


def test_another_salt_seed_or_pruning_than_recorded_misses(tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    arrays, meta = record(path, "r50", r=100, n=1, k=175)
    for change in ({"weight_salt": "x"}, {"data_seeds": [5, 7]}, {"k": 10}, {"r": 102}):
        write_case(path, arrays, {**meta, **change})
        assert main([str(path)]) == 1, change


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("f1.in.timestamp", 0.2),
        ("f1.out.all_cls_scores", 1e-3),
        ("f0.out.memory_egopose", 1e-2),
        ("f1.in.ego_pose", 0.1),
    ],
)
def test_a_changed_number_misses(name: str, by: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "case.npz"
    arrays, meta = record(path, "r50")
    write_case(path, {**arrays, name: arrays[name] + by}, meta)
    assert main([str(path)]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_what_cannot_be_compared_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, fine, report = tmp_path / "text.npz", tmp_path / "fine.npz", tmp_path / "report.json"
    text.write_text("no archive")
    record(fine, "r50")
    assert main([str(text), str(fine), "--json", str(report)]) == 2
    assert f"{text} is not an .npz file" in capsys.readouterr().err
    assert {entry["file"] for entry in json.loads(report.read_text())} == {str(fine)}


def test_a_recorded_output_that_nothing_computes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "case.npz"
    arrays, meta = record(path, "r50")
    write_case(path, {**arrays, "f0.out.depth": np.zeros(3)}, meta)
    main([str(path)])
    assert "not compared: depth" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["public_R_r50_dense", "public_R_r50_keep30"])
def test_a_running_node_publishes_the_recorded_boxes(
    case: str, golden_dir: Path, sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real frames as a bag over DDS; the node starts dense and is pruned live, where the case is."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    report = tmp_path / "report.json"
    status = main([str(golden_dir / f"{case}.npz"), "--node", "--sample", str(sample_dir), "--json", str(report)])
    entries = {entry["output"]: entry for entry in json.loads(report.read_text())}
    assert status == 0
    assert {"node.frames", "node.keys", "node.scores", "node.boxes.center", "node.boxes.velocity"} <= set(entries)


def test_published_boxes_that_differ_are_a_miss(golden_dir: Path, sample_dir: Path) -> None:
    golden = read_golden(golden_dir / "public_R_r50_dense.npz")
    frame, (sample, *_) = golden.frames[0], moved_samples(golden, sample_dir)
    boxes = transform_boxes(sample.lidar2ego, recorded_boxes(frame.outputs))
    report = FrameReport(keys=[golden.keys_left] * 6)

    def misses(**changes: object) -> set[str]:
        message = boxes_array(replace(boxes, **changes), golden.model.class_names, header(1, "base_link"))
        return {check.output for check in check_published(golden, frame, sample, message, report) if not check.passed}

    assert misses() == set()
    shifted = boxes.center.copy()
    shifted[7, 0] += 0.2
    assert misses(center=shifted) == {"node.boxes.center"}
    assert misses(velocity=boxes.velocity + 0.01) == {"node.boxes.velocity"}
    assert "node.boxes.yaw" in misses(yaw=boxes.yaw + 0.02)
    assert "node.scores" in misses(score=boxes.score + 0.01)


def test_the_node_is_only_compared_on_real_frames(golden_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(golden_dir / "public_A.npz"), "--node"]) == 2
    assert "expected a case of real frames" in capsys.readouterr().err
