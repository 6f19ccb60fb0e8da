"""The registered model through mmdet3d's own pipeline says what the node's detector says, frame after frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from tiny_setup import TinySetup, model_config, node_boxes

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.mmdet3d_plugin.detector import Stream


def random_network(tiny: TinySetup) -> StreamPETR:
    torch.manual_seed(3)
    return StreamPETR(tiny.network).eval()


@pytest.mark.parametrize("keep_ratio", [1.0, 0.3])
def test_boxes_are_the_nodes_over_two_scenes(tiny: TinySetup, tmp_path: Path, keep_ratio: float) -> None:
    module = random_network(tiny)
    config = tiny.config(tmp_path)
    model = MODELS.build(model_config(pruning={"keep_ratio": keep_ratio}))
    model.load_state_dict(module.state_dict())
    model.eval()
    expected = node_boxes(tiny, module, PruningConfig(keep_ratio=keep_ratio))
    frames = list(Runner.build_dataloader(config.test_dataloader))
    assert len(frames) == len(expected) == 8
    for frame, boxes in zip(frames, expected, strict=True):
        found = model.test_step(frame)[0].pred_instances_3d
        same = found.labels_3d.numpy() == boxes.label
        assert same.mean() > 0.98  # ties in score may change places
        np.testing.assert_allclose(found.scores_3d, boxes.score, atol=2e-5)
        np.testing.assert_allclose(found.bboxes_3d.gravity_center[same], boxes.center[same], atol=2e-3)
        np.testing.assert_allclose(found.bboxes_3d.dims[same], boxes.size[same], rtol=1e-3)
        np.testing.assert_allclose(found.bboxes_3d.yaw[same], boxes.yaw[same], atol=2e-3)
        np.testing.assert_allclose(found.bboxes_3d.tensor[same, 7:], boxes.velocity[same], atol=2e-3)


def test_memory_counts_and_ends_with_the_scene(tiny: TinySetup, tmp_path: Path) -> None:
    model = MODELS.build(model_config())
    model.eval()
    frames = list(Runner.build_dataloader(tiny.config(tmp_path).test_dataloader))
    in_a_row = [model.test_step(frame)[0].pred_instances_3d.scores_3d for frame in frames]
    alone = []
    for frame in frames:
        model.streams[False] = Stream()
        alone.append(model.test_step(frame)[0].pred_instances_3d.scores_3d)
    equal = [torch.equal(a, b) for a, b in zip(in_a_row, alone, strict=True)]
    assert equal == [True, False, False, False, False, True, False, False]


def test_two_frames_at_once_are_refused_in_testing(tiny: TinySetup, tmp_path: Path) -> None:
    model = MODELS.build(model_config())
    config = tiny.config(tmp_path)
    dataset = Runner.build_dataloader(config.test_dataloader).dataset
    with pytest.raises(ValueError, match="a batch of 2 frames to test, expected 1"):
        model.test_step(pseudo_collate([dataset[0], dataset[1]]))


def test_raw_answers_leave_no_memory(tiny: TinySetup, tmp_path: Path) -> None:
    model = MODELS.build(model_config())
    model.eval()
    frame = model.data_preprocessor(next(iter(Runner.build_dataloader(tiny.config(tmp_path).test_dataloader))))
    output = model(**frame, mode="tensor")
    assert output.logits.shape == (1, 1, 24, 10) and output.codes.shape == (1, 1, 24, 10)
    assert model.streams[False].memory is None
    assert model.extract_feat(frame["inputs"]).shape == (1, 6, 32, 2, 4)


def test_samples_without_matrices_or_of_another_size_are_refused(tiny: TinySetup, tmp_path: Path) -> None:
    model = MODELS.build(model_config())
    model.eval()
    frame = next(iter(Runner.build_dataloader(tiny.config(tmp_path).test_dataloader)))
    small = {"inputs": {"img": [frame["inputs"]["img"][0][..., :32]]}, "data_samples": frame["data_samples"]}
    with pytest.raises(ValueError, match=r"images are \(32, 32\), but the head's image_size is \(32, 64\)"):
        model.test_step(small)
    frame["data_samples"][0].pop("lidar2img")
    with pytest.raises(KeyError, match="the samples lack lidar2img: FitCameraImages makes them"):
        model.test_step(frame)
