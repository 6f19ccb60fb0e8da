"""Golden files: what the original network was given and what it answered, frame by frame.

Arrays are called ``f<t>.in.<name>`` and ``f<t>.out.<name>``; ``meta`` is JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.config import MODELS, ModelConfig, PruningConfig

AnyArray = npt.NDArray[Any]

NUM_CAMERAS = 6
FAR_M = 500.0  # where float32 is coarser than 0.03 mm, times 32 in the motion code
MODEL_OF_ORIGINAL = {
    "stream_petr_r50_flash_704_bs2_seq_428q_nui_60e": "r50_704",
    "stream_petr_vov_flash_800_bs2_seq_24e": "vov_800",
}

_FRAME_KEY = re.compile(r"f(\d+)\.(.+)")


@dataclass(frozen=True, eq=False)
class GoldenFrame:
    """Inputs and outputs of one frame by name. margins: how far apart the recorded scores that decide lie."""

    inputs: Mapping[str, AnyArray]
    outputs: Mapping[str, AnyArray]
    margins: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class GoldenFile:
    """One recorded case. arrays: those that belong to no frame, by name."""

    path: Path
    meta: Mapping[str, Any]
    frames: tuple[GoldenFrame, ...]
    arrays: Mapping[str, AnyArray]

    @property
    def kind(self) -> str:
        """``pipeline`` (preprocessing alone), ``parts`` (inside of another case), ``sample`` or ``network``.

        Of vision transformers alone: ``vit``, ``gated_vit``, ``svit`` (SViT's own blocks), ``toc3d``.
        """
        if "out_img_hwc" in self.arrays:
            return "pipeline"
        if "first_gated_block" in self.meta:
            return "svit"
        if isinstance(self.meta.get("cfg"), dict):
            routed = "pruning_loc" in self.meta["cfg"]
            return "toc3d" if routed else "gated_vit" if "gated" in self.meta else "vit"
        if "cfg" not in self.meta:
            return "parts"
        return "sample" if "sample" in self.meta else "network"

    @property
    def model(self) -> ModelConfig:
        """The shipped configuration, with the image size of this case."""
        original = self.meta["cfg"]
        if original not in MODEL_OF_ORIGINAL:
            raise ValueError(f"cfg of {self.path} is {original!r}, expected one of {', '.join(MODEL_OF_ORIGINAL)}")
        model = MODELS[MODEL_OF_ORIGINAL[original]]
        if "H" not in self.meta:
            return model
        return dataclasses.replace(model, image_size=(self.meta["H"], self.meta["W"]))

    @property
    def pruning(self) -> PruningConfig:
        """The case's r, n, k as a keep ratio; dense where it names none."""
        removed, layers = self.meta.get("r", 0), self.meta.get("n", 0)
        if removed <= 0 or layers <= 0:
            return PruningConfig(keep_ratio=1.0)
        rows, columns = self.model.feature_size
        num_keys = NUM_CAMERAS * rows * columns
        return PruningConfig((num_keys - removed) / num_keys, layers, self.meta["k"])

    @property
    def keys_left(self) -> int:
        """Keys that the last decoder layer sees."""
        return int(self.meta["num_keys"] - sum(self.meta["r_per_layer"][:-1]))

    @property
    def salt(self) -> str:
        """What the formula weights were salted with."""
        return str(self.meta.get("weight_salt", ""))

    def is_far(self, frame: int) -> bool:
        """Whether the original's float32 poses had lost precision: after frame 0, far from the map's origin."""
        return frame > 0 and float(np.abs(self.frames[frame].inputs["ego_pose"][:, :3, 3]).max()) > FAR_M

    def images(self, frame: int) -> npt.NDArray[np.float32] | None:
        """Normalised images [1, N, 3, H, W], where the case starts from them."""
        if "img" in self.frames[frame].inputs:
            return self.frames[frame].inputs["img"]
        if "img_formula" not in self.meta:
            return None
        height, width = self.model.image_size
        generator = self._generator(frame)
        coarse = generator.standard_normal((1, NUM_CAMERAS, 3, height // 8, width // 8)).repeat(8, 3).repeat(8, 4)
        fine = generator.standard_normal((1, NUM_CAMERAS, 3, height, width))
        images: npt.NDArray[np.float32] = (1.2 * coarse + 0.4 * fine).astype(np.float32)
        return images

    def features(self, frame: int) -> npt.NDArray[np.float32]:
        """Neck output [1, N, C, rows, columns], for a case that starts from it."""
        if "img_feats" in self.frames[frame].inputs:
            return self.frames[frame].inputs["img_feats"]
        shape = (1, NUM_CAMERAS, self.model.embed_dims, *self.model.feature_size)
        features: npt.NDArray[np.float32] = self._generator(frame).standard_normal(shape).astype(np.float32)
        return features

    def _generator(self, frame: int) -> np.random.RandomState:
        return np.random.RandomState(self.meta["data_seeds"][frame])


def read_golden(path: Path) -> GoldenFile:
    """Read a whole file; raises ValueError naming it if it is none."""
    if not path.is_file():
        raise ValueError(f"golden file {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        meta = json.loads(str(arrays.pop("meta")))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a golden file: {error}") from error
    by_frame: dict[int, dict[str, AnyArray]] = {}
    for key in list(arrays):
        match = _FRAME_KEY.fullmatch(key)
        if match is not None:
            by_frame.setdefault(int(match[1]), {})[match[2]] = arrays.pop(key)
    margins = meta.get("margins", [{}] * len(by_frame))
    frames = tuple(_frame(by_frame[index], margins[index]) for index in sorted(by_frame))
    return GoldenFile(path, meta, frames, arrays)


def _frame(arrays: Mapping[str, AnyArray], margins: Mapping[str, Any]) -> GoldenFrame:
    """Sort a frame's arrays; what is neither input nor output counts as output."""
    inputs = {name.removeprefix("in."): array for name, array in arrays.items() if name.startswith("in.")}
    outputs = {name.removeprefix("out."): array for name, array in arrays.items() if not name.startswith("in.")}
    return GoldenFrame(inputs, outputs, margins)
