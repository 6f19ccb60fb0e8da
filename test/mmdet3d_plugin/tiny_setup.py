"""A tiny data set under nuScenes' own names, its infos, and a config for it on top of the shipped one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from ten_classes import write_ten_classes
from tiny_nuscenes import SCENES, VERSION

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.mmdet3d_plugin.infos import write_infos
from tggbc_ros.mmdet3d_plugin.parts import network_config

CONFIGS = Path(__file__).resolve().parents[2] / "config" / "mmdet3d"
MINI = "v1.0-mini"
MINI_VAL = {"scene-0001": "scene-0103", "scene-0002": "scene-0916"}
"""The devkit's metric knows only the original's scenes; these are the two of its smallest split."""
LENGTHS = {"scene-0001": 5, "scene-0002": 3}
CHANGES: dict[str, Any] = {
    "image_size": (32, 64),
    "num_queries": 16,
    "num_propagated": 8,
    "memory_length": 24,
    "embed_dims": 32,
    "num_heads": 4,
    "ffn_dims": 64,
    "pc_range": (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
    "position_range": (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0),
}
NETWORK: dict[str, Any] = {"base": "demo", **CHANGES}
KEYS = 6 * 2 * 4


@dataclass(frozen=True)
class TinySetup:
    """root: nuScenes folder with infos of its frames in mini.pkl."""

    root: Path

    @property
    def network(self) -> ModelConfig:
        """The network of `config`."""
        return network_config("demo", CHANGES)

    def config(self, work_dir: Path, **changes: Any) -> Config:
        """As a user would write it: the shipped data part, a small network, six iterations."""
        with mock.patch.dict(os.environ, {"NUSCENES": str(self.root)}):
            config = Config.fromfile(CONFIGS / "nuscenes.py")
        train = [config.load_images, config.load_boxes, fit(), config.pack_train]
        test = [config.load_images, fit(), config.pack_test]
        config.merge_from_dict(
            {
                "work_dir": str(work_dir),
                "model": model_config(),
                "metainfo.version": MINI,
                "train_dataloader": loader(train, test_mode=False),
                "val_dataloader": loader(test, test_mode=True),
                "test_dataloader": loader(test, test_mode=True),
                "val_evaluator.ann_file": str(self.root / "mini.pkl"),
                "test_evaluator.ann_file": str(self.root / "mini.pkl"),
                "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 1e-3}, "clip_grad": {"max_norm": 35}},
                "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 6, "val_interval": 6},
                "default_hooks.checkpoint": {"type": "CheckpointHook", "interval": 3, "by_epoch": False},
                "default_hooks.logger.interval": 1,
                "randomness": {"seed": 0},
                "experiment_name": work_dir.name,
                **changes,
            }
        )
        return config


def write_tiny_setup(folder: Path) -> TinySetup:
    """Write data and infos below ``folder``."""
    with mock.patch.dict(SCENES, LENGTHS):
        root = write_ten_classes(folder / "data")
    (root / VERSION).rename(root / MINI)
    scenes = json.loads((root / MINI / "scene.json").read_text())
    for scene in scenes:
        scene["name"] = MINI_VAL[scene["name"]]
    (root / MINI / "scene.json").write_text(json.dumps(scenes))
    (root / MINI / "splits.json").unlink()
    write_infos(root, "mini_val", root / "mini.pkl")
    return TinySetup(root)


def fit(**options: Any) -> dict[str, Any]:
    """The pipeline step for the tiny network."""
    return {"type": "FitCameraImages", **NETWORK, **options}


def model_config(**changes: Any) -> dict[str, Any]:
    """The detector's config; the backbone is the demo model's."""
    model = network_config("demo", CHANGES)
    preprocessor = {
        "type": "Det3DDataPreprocessor",
        "mean": list(model.mean),
        "std": list(model.std),
        "bgr_to_rgb": True,
        "pad_size_divisor": 32,
    }
    backbone = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 32, "out_indices": (2, 3), "norm_eval": True}
    return {
        "type": "StreamPETR",
        "data_preprocessor": preprocessor,
        "backbone": backbone,
        "neck": {"type": "CPFPN", "in_channels": [128, 256], "out_channels": 32},
        "head": {"type": "StreamPETRHead", **NETWORK},
    } | changes


def loader(pipeline: list[Any], test_mode: bool) -> dict[str, Any]:
    """Changes to a shipped data loader."""
    dataset = {"ann_file": "mini.pkl", "pipeline": pipeline, "metainfo": {"version": MINI}, "test_mode": test_mode}
    return {"num_workers": 0, "persistent_workers": False, "dataset": dataset}


def node_boxes(tiny: TinySetup, module: StreamPETR, pruning: PruningConfig) -> list[Boxes3D]:
    """What the node's detector finds in every frame of both scenes."""
    detector = Detector(TorchNetwork(module, torch.device("cpu"), "tiny"), pruning)
    data = NuScenes(tiny.root)
    return [detector.step(sample.camera_frame())[0] for name in data.scene_names() for sample in data.samples(name)]
