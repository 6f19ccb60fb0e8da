"""keygate_study and keygate_hints: rows that can be told apart, an alignment that is one, one line for what lacks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import TINY, tiny_network

from bench import keygate_hints, keygate_study
from bench.keygate_frames import Watched, objects_for_importance, watch
from bench.keygate_rig import seen_otherwise
from tggbc_ros.compress.frames import Looked
from tggbc_ros.core import geometry
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.key_gate import HINTS, KeyGate
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.passes import load_split
from tggbc_ros.evaluation.score import Score
from tggbc_ros.tools import drive

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS, COLUMNS = TINY.feature_size
CELLS = 6 * ROWS * COLUMNS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drives") / "data"
    options = "--image-size 128 72 --scenes 2 --seconds 1.5 --split s --seed 21"
    assert drive.main(["make", "--out", str(out), *options.split()]) == 0
    return out


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, TINY.name, TINY)
    network = tiny_network()
    network.gate = KeyGate(TINY, 6, 4).requires_grad_(False)
    monkeypatch.setattr(keygate_study.backends, "load_network", lambda *_: network)


@pytest.mark.usefixtures("tiny")
def test_every_way_has_its_rows_in_one_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = keygate_study.keygate.fit
    monkeypatch.setattr(keygate_study.keygate, "fit", lambda *given, **more: fit(*given, steps=3, **more))
    nothing_found = Score(0.0, 0.0, {}, {}, {})  # the evaluator takes a second a row
    monkeypatch.setattr(keygate_study, "score", lambda *_: nothing_found)
    place = f"--data {data} --split s --fit-data {data} --fit-split s --model tiny --seeds 2 --start 0.5".split()
    written = tmp_path / "rows.json"
    assert keygate_study.main([*place, "--json", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:16].strip() for line in lines[1:3]] == ["(all start)", "(all start)"]
    assert {line[:16].strip() for line in lines[3:]} == set(keygate_study.BY)
    by_name = {line[:16].strip(): line for line in lines[3:]}
    assert all(by_name[name].count(", ") == 2 for name in ("gate", "objectness", "chance"))
    rows = json.loads(written.read_text())
    assert [row["first_layer_keys"] for row in rows[:2]] == [CELLS, CELLS]
    assert all(row["first_layer_keys"] < 0.8 * CELLS for row in rows[2:])


@pytest.mark.usefixtures("tiny")
def test_what_is_fitted_needs_drives_to_fit_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert keygate_study.main(["--data", "none", "--split", "s", "--by", "gate", "map", "chance"]) == 1
    assert capsys.readouterr().err == "keygate_study: gate, map need --fit-data DIR --fit-split NAME\n"
    assert keygate_study.main(["--data", "none", "--split", "s", "--by", "chance"]) == 1
    assert "none" in capsys.readouterr().err


def test_objects_stand_for_importance_in_keyframes_alone(data: Path) -> None:
    watched = watch(tiny_network(), data, "s", True, 100)
    keyframes = [objects for objects in watched.objects if objects is not None]
    assert 0 < len(keyframes) < len(watched.looked) == len(watched.lidar2img)
    found = objects_for_importance(watched)
    assert len(found) == len(keyframes)
    for frame, objects in zip(found, keyframes, strict=True):
        assert float(frame.importance.sum()) == pytest.approx(1.0)
        if objects.any() and not objects.all():
            assert float(frame.importance[objects].min()) > 50 * float(frame.importance[~objects].max())


def test_another_rig_sees_less_and_not_from_everywhere(data: Path) -> None:
    split = load_split(NuScenes(data, None), "s")
    other = seen_otherwise(split, TINY, 1.5, ("CAM_BACK",))
    sample, changed = next(split.samples()), next(other.samples())
    assert (changed.token, changed.annotations) == (sample.token, sample.annotations)
    before, after = sample.camera_frame(), changed.camera_frame()
    back = before.rig.names.index("CAM_BACK")
    assert after.cells is not None
    assert [bool(cells.any()) for cells in after.cells] == [place != back for place in range(6)]
    assert not after.images[back].any()
    np.testing.assert_allclose(after.rig.intrinsics[:, 0, 0], 1.5 * before.rig.intrinsics[:, 0, 0])
    height, width = before.images[0].shape[:2]
    assert after.images[0].shape == before.images[0].shape
    far = np.array([0.4, -0.1, 20.0])  # a point on another cell of the larger image, of the same colour
    place, there = (matrix @ far / 20.0 for matrix in (before.rig.intrinsics[0], after.rig.intrinsics[0]))
    middle = np.array([width / 2, height / 2])
    np.testing.assert_allclose(there[:2] - middle, 1.5 * (place[:2] - middle), atol=1e-9)
    with pytest.raises(ValueError, match="--without is CAM_ROOF, expected some of CAM_BACK"):
        seen_otherwise(split, TINY, 1.0, ("CAM_ROOF",))


def turned(degrees: float) -> Watched:
    """Two frames of a vehicle that stands and turns left by so much."""
    optical = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    cameras = [geometry.rigid(optical @ geometry.yaw_rotation(-i * np.pi / 3), [0, 0, 0]) for i in range(6)]
    height, width = TINY.image_size
    intrinsics = np.array([[width * 0.8, 0, width / 2, 0], [0, width * 0.8, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    lidar2img = torch.from_numpy(np.stack([intrinsics @ camera for camera in cameras]))
    poses = [geometry.rigid(geometry.yaw_rotation(np.deg2rad(angle)), [5.0, 3.0, 0.0]) for angle in (0.0, degrees)]
    return Watched(lidar2img=[lidar2img] * 2, lidar2global=[torch.from_numpy(pose) for pose in poses])


def test_importance_stays_where_nothing_moves_and_goes_round_in_a_turn() -> None:
    importance = torch.rand(1, CELLS, generator=torch.Generator().manual_seed(0))
    for distance_m in keygate_hints.DISTANCES_M:
        still = keygate_hints.aligned(Carried(importance, 3), 1, turned(0.0), TINY, distance_m)
        assert torch.equal(still.importance, importance)
    assert still.frame == 3
    alone = torch.zeros(1, 6, ROWS, COLUMNS)
    alone[0, 2, 1, 1] = 1.0
    round_once = keygate_hints.aligned(Carried(alone.flatten(1), 1), 1, turned(60.0), TINY, 20.0)
    (found,) = round_once.importance.view(6, ROWS, COLUMNS).nonzero().tolist()
    assert found in ([1, 1, 1], [3, 1, 1])  # the next camera looks now to where the last one looked


def test_nothing_told_is_nothing() -> None:
    ones = torch.ones(CELLS)
    looked = Looked(torch.zeros(CELLS, 64), torch.ones(CELLS, HINTS), torch.arange(CELLS), ones, True)
    assert not torch.stack(keygate_hints.nothing(KeyGate(TINY, 6, 2), [looked])).any()


@pytest.mark.usefixtures("tiny")
def test_a_line_for_every_way_to_tell(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = keygate_hints.keygate.fit
    monkeypatch.setattr(keygate_hints.keygate, "fit", lambda *given, **more: fit(*given, steps=2, **more))
    given = argparse.Namespace(
        model="tiny", checkpoint=None, device="cpu", data=data, split="s", judge_data=data, judge_split="s",
        sweeps=False, frames=100, seeds=2,
    )  # fmt: skip
    lines = list(keygate_hints.compare(given))
    assert len(lines) == 1 + 2 + len(keygate_hints.DISTANCES_M)
    assert all(line.count(", ") == 2 for line in lines[1:])
