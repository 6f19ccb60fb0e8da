"""Reading golden files: what a case is, and what it leaves to a formula."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tggbc_ros.core.pruning import keys_to_keep
from tggbc_ros.data.golden.cases import GoldenFile, GoldenFrame, read_golden

R50 = "stream_petr_r50_flash_704_bs2_seq_428q_nui_60e"


def case(frames: tuple[GoldenFrame, ...] = (), **meta: Any) -> GoldenFile:
    return GoldenFile(Path("case.npz"), {"cfg": R50, "H": 64, "W": 176, **meta}, frames, {})


def test_arrays_are_sorted_into_frames_inputs_and_outputs(tmp_path: Path) -> None:
    arrays = {f"f{t}.{name}": np.full(2, t) for t in range(12) for name in ("in.a", "out.b", "c")}
    meta = json.dumps({"cfg": R50, "margins": [{"gap": t} for t in range(12)]})
    np.savez(tmp_path / "x.npz", meta=meta, **{"in.img_every8": np.zeros(1)}, **arrays)
    golden = read_golden(tmp_path / "x.npz")
    assert [int(frame.inputs["a"][0]) for frame in golden.frames] == list(range(12))
    assert [frame.margins["gap"] for frame in golden.frames] == list(range(12))
    assert set(golden.frames[3].inputs) == {"a"} and set(golden.frames[3].outputs) == {"b", "c"}
    assert set(golden.arrays) == {"in.img_every8"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "does not exist"), (b"text", "is not an .npz file"), ({"a": np.zeros(1)}, "is not a golden file: 'meta")],
)
def test_what_is_no_golden_file_is_named(content: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        np.savez(path, **content)
    with pytest.raises(ValueError, match=reason) as caught:
        read_golden(path)
    assert str(path) in str(caught.value)


def test_model_is_the_shipped_one_at_the_cases_image_size() -> None:
    model = case().model
    assert (model.name, model.image_size, model.feature_size) == ("r50_704", (64, 176), (4, 11))
    with pytest.raises(ValueError, match=r"cfg of case\.npz is 'other', expected one of stream_petr_r50"):
        case(cfg="other").model  # noqa: B018


@pytest.mark.parametrize("size", [(64, 176), (256, 704), (320, 800)])
def test_any_number_of_removed_keys_survives_the_way_through_a_ratio(size: tuple[int, int]) -> None:
    num_keys = 6 * (size[0] // 16) * (size[1] // 16)
    for removed in range(1, num_keys):
        pruning = case(H=size[0], W=size[1], r=removed, n=1, k=175).pruning
        assert num_keys - keys_to_keep(num_keys, pruning.keep_ratio) == removed


def test_pruning_is_the_cases_and_dense_where_it_names_none() -> None:
    pruning = case(r=66, n=3, k=-1).pruning
    assert (pruning.keep_ratio, pruning.layers, pruning.queries) == (0.75, 3, -1)
    assert case().pruning.keep_ratio == case(r=0, n=0, k=0).pruning.keep_ratio == 1.0


def test_features_and_images_follow_from_their_seeds(golden_dir: Path) -> None:
    for name, what in (("public_A", "img_feats"), ("public_C", "img"), ("public_E", "img")):
        golden = read_golden(golden_dir / f"{name}.npz")
        for index, frame in enumerate(golden.frames):
            without = GoldenFile(golden.path, golden.meta, (GoldenFrame({}, {}, {}),) * len(golden.frames), {})
            made = without.features(index) if what == "img_feats" else without.images(index)
            assert made is not None
            np.testing.assert_array_equal(made, frame.inputs[what])


def test_a_case_is_far_after_its_first_frame_far_from_the_origin() -> None:
    pose = np.eye(4)[None]
    away = pose.copy()
    away[0, 1, 3] = -900.0
    frames = tuple(GoldenFrame({"ego_pose": matrix}, {}, {}) for matrix in (away, away, pose))
    assert [case(frames).is_far(index) for index in range(3)] == [False, True, False]
