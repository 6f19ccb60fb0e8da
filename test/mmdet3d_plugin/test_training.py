"""mmengine's runner trains, validates with mmdet3d's NuScenesMetric, saves, resumes; the node takes the result."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tiny_setup import KEYS, TinySetup, node_boxes

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.mmdet3d_plugin.checkpoints import read_weights

PRUNING = {"type": "KeyPruningHook", "warmup_iters": 2, "heating_iters": 3, "r": 20, "n": 2, "k": 10}


class Record(Hook):
    """What the model was told and said in each iteration."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.losses: list[dict[str, float]] = []
        self.batches: list[list[int]] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        pruning = runner.model.pruning
        self.kept.append(KEYS - round((1 - pruning.keep_ratio) * KEYS))
        self.losses.append({name: float(value.detach()) for name, value in outputs.items()})
        self.batches.append([sample.sample_idx for sample in data_batch["data_samples"]])


@pytest.fixture(scope="module")
def trained(tiny: TinySetup, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, dict[str, float], Runner]:
    """A run of six iterations with pruning that sets in, and its last validation."""
    work_dir = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    config = tiny.config(work_dir, custom_hooks=[{"type": "ClassOrderHook"}, PRUNING])
    runner = Runner.from_cfg(config)
    record = Record()
    runner.register_hook(record)
    runner.train()
    return work_dir, record, runner.message_hub.log_scalars, runner


def test_every_loss_is_there_and_finite(trained: tuple[Path, Record, dict[str, float], Runner]) -> None:
    losses = trained[1].losses
    assert len(losses) == 6
    for found in losses:
        assert {"loss", "loss_cls", "loss_bbox", "dn_loss_cls", "dn_loss_bbox", "offset_m"} <= found.keys()
        assert np.isfinite(list(found.values())).all()
        parts = sum(found[name] for name in ("loss_cls", "loss_bbox", "dn_loss_cls", "dn_loss_bbox"))
        assert found["loss"] == pytest.approx(parts, rel=1e-5)


def test_pruning_sets_in_as_the_authors_hook_does(trained: tuple[Path, Record, dict[str, float], Runner]) -> None:
    _, record, _, runner = trained
    assert record.kept == [KEYS, KEYS, KEYS - 6, KEYS - 13, KEYS - 20, KEYS - 20]
    assert (runner.model.pruning.layers, runner.model.pruning.queries) == (2, 10)


def test_streams_play_scenes_in_time_order(trained: tuple[Path, Record, dict[str, float], Runner]) -> None:
    frames = np.array(trained[1].batches)
    assert frames.shape == (6, 2)
    for stream in frames.T:
        for before, now in zip(stream[:-1], stream[1:], strict=True):
            assert now in (0, 5) if before in (4, 7) else now == before + 1


def test_memory_is_of_the_last_frames(tiny: TinySetup, trained: tuple[Path, Record, dict[str, float], Runner]) -> None:
    infos = pickle.loads((tiny.root / "mini.pkl").read_bytes())["data_list"]
    memory = trained[3].model.streams[True].memory
    assert memory is not None and not memory.embedding.requires_grad
    newest = memory.timestamp_s[:, :8].unique(dim=1)[:, 0].tolist()
    assert newest == [infos[frame]["timestamp"] for frame in trained[1].batches[-1]]


def test_the_official_metric_comes_out(trained: tuple[Path, Record, dict[str, float], Runner]) -> None:
    scalars = trained[2]
    prefix = "val/NuScenes metric/pred_instances_3d_NuScenes"
    for name in ("mAP", "NDS", "mATE", "car_AP_dist_0.5"):
        assert np.isfinite(scalars[f"{prefix}/{name}"].current())


def test_perfect_boxes_score_one(tiny: TinySetup, tmp_path: Path) -> None:
    """Boxes out of the ground truth, through the same path as the network's: classes, frames and units are right."""
    from mmdet3d.structures import LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    runner = Runner.from_cfg(tiny.config(tmp_path))
    truth = runner.build_dataloader(runner.cfg.test_dataloader).dataset

    def cheat(inputs, samples):  # noqa: ANN001, ANN202
        info = truth.get_data_info(samples[0].sample_idx)["eval_ann_info"]
        boxes: LiDARInstance3DBoxes = info["gt_bboxes_3d"]
        labels = torch.from_numpy(info["gt_labels_3d"])
        found = InstanceData(bboxes_3d=boxes, scores_3d=torch.ones(len(labels)), labels_3d=labels)
        return runner.model.add_pred_to_datasample(samples, [found])

    runner.model.predict = cheat
    scores = runner.test()
    prefix = "NuScenes metric/pred_instances_3d_NuScenes"
    assert scores[f"{prefix}/mAP"] == pytest.approx(1.0, abs=1e-6)
    assert scores[f"{prefix}/mATE"] == pytest.approx(0.0, abs=1e-3)
    assert scores[f"{prefix}/mAOE"] == pytest.approx(0.0, abs=1e-3)


def test_a_run_resumes_where_it_was(
    tiny: TinySetup, trained: tuple[Path, Record, dict[str, float], Runner], tmp_path: Path
) -> None:
    hooks = [{"type": "ClassOrderHook"}, PRUNING]
    changes = {"custom_hooks": hooks, "resume": True, "load_from": str(trained[0] / "iter_3.pth")}
    runner = Runner.from_cfg(tiny.config(tmp_path, **changes))
    record = Record()
    runner.register_hook(record)
    runner.train()
    assert record.kept == trained[1].kept[3:]
    assert record.batches == trained[1].batches[3:]


def test_the_node_takes_what_was_trained(
    tiny: TinySetup, trained: tuple[Path, Record, dict[str, float], Runner]
) -> None:
    """mmengine's checkpoint, as its hook wrote it, gives the node the boxes of mmengine's model."""
    work_dir, _, _, runner = trained
    module = read_weights(work_dir / "iter_6.pth", tiny.network).eval()
    pruning = runner.model.pruning
    expected = node_boxes(tiny, module, PruningConfig(pruning.keep_ratio, pruning.layers, pruning.queries))
    loader = runner.build_dataloader(copy.deepcopy(runner.cfg.test_dataloader))
    runner.model.eval()
    for frame, boxes in zip(loader, expected, strict=True):
        found = runner.model.test_step(frame)[0].pred_instances_3d
        np.testing.assert_allclose(found.scores_3d, boxes.score, atol=1e-4)
        same = found.labels_3d.numpy() == boxes.label
        assert same.mean() > 0.9
        np.testing.assert_allclose(
            np.sort(found.bboxes_3d.gravity_center[:, 0]), np.sort(boxes.center[:, 0]), atol=0.05
        )
