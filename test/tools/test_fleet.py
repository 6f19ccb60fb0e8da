"""tools.fleet on real Ray: the scores of the single process to the bit, every bag done once, bad ones reported."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DEMO_IMAGE_SIZE, DriveConfig, with_difficulty
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.tools import evaluate, fleet

pytest.importorskip("ray", reason="ray is optional: ./run env/add.sh fleet")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is optional: ./run env/add.sh fleet")
pytestmark = [pytest.mark.timeout(280), pytest.mark.usefixtures("one_thread")]

MODEL = ["--model", "demo", "--keep-ratio", "1.0", "0.3"]
TIMES = {"encode_ms", "decoder_ms", "frame_ms"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    drive = with_difficulty(DriveConfig(duration_s=1.5, image_size=DEMO_IMAGE_SIZE), "demo")
    scenes = [dataset.write_scene(root, 5, number, drive, lambda: None) for number in range(3)]
    dataset.write_tables(root, dataset.VERSION, "some", scenes)
    return root


@pytest.fixture(scope="module")
def bags(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, drive = tmp_path_factory.mktemp("bags"), NuScenes(data)
    for scene in drive.scene_names("some"):
        with BagWriter(folder / scene) as bag:
            for sample in drive.samples(scene):
                bag.write(sample)
    (folder / "bad").mkdir()
    (folder / "bad" / "metadata.yaml").write_text("no bag")
    return folder


def rows(out: Path) -> list[dict[str, Any]]:
    found = json.loads((out / "results.json").read_text())
    return [{name: value for name, value in row.items() if name not in TIMES} for row in found]


def test_evaluate_equals_the_single_process_to_the_bit_and_goes_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(data), "--split", "some", *MODEL]
    assert evaluate.main([*given, "--out", str(tmp_path / "one")]) == 0
    call = ["evaluate", *given, "--workers", "2", "--out", str(tmp_path / "many")]
    assert fleet.main(call) == 0
    assert rows(tmp_path / "many") == rows(tmp_path / "one")
    for name in ("keep_1", "keep_0.3"):
        one, many = ((tmp_path / each / name / "submission.json").read_bytes() for each in ("one", "many"))
        assert one == many
    scenes = sorted((tmp_path / "many" / "scenes").iterdir())
    times = [each.stat().st_mtime_ns for each in scenes]
    scenes[1].unlink()
    capsys.readouterr()
    assert fleet.main(call) == 0
    assert "2 of 3 scenes were done before" in capsys.readouterr().out
    again = [each.stat().st_mtime_ns for each in scenes]
    assert [one == other for one, other in zip(times, again, strict=True)] == [True, False, True]
    assert rows(tmp_path / "many") == rows(tmp_path / "one")


def test_detect_does_every_bag_once_and_reports_the_bad_one(
    bags: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(each.name for each in bags.iterdir())
    good = [name for name in names if name != "bad"]
    call = ["detect", "--bags", *(str(bags / name) for name in names), *MODEL, "--workers", "2", "--out", str(tmp_path)]
    assert fleet.main(call) == 1
    said = capsys.readouterr()
    assert said.err.count("fleet: ") == 1 and "fleet: bad: " in said.err
    assert f"{len(good)} of {len(names)} bags" in said.out
    table = parquet.read_table(tmp_path / "boxes.parquet").to_pylist()
    assert list(dict.fromkeys(row["bag"] for row in table)) == good
    assert {row["keep_ratio"] for row in table} == {1.0, 0.3}

    scored = [str(tmp_path / name / keep) for name in good for keep in ("keep_1", "keep_0.3")]
    given = ["--data", str(data), "--split", "some"]
    assert evaluate.main([*given, "--bag", *scored, "--out", str(tmp_path / "recorded")]) == 0
    assert evaluate.main([*given, *MODEL, "--node-reference", "--out", str(tmp_path / "library")]) == 0
    for one, other in zip(rows(tmp_path / "recorded"), rows(tmp_path / "library"), strict=True):
        assert one["notes"] == ""
        assert (one["mAP"], one["NDS"]) == pytest.approx((other["mAP"], other["NDS"]), abs=2e-4)

    times = {name: (tmp_path / name / "done.json").stat().st_mtime_ns for name in good}
    os.utime(bags / good[0] / "metadata.yaml")  # as if it had been recorded anew
    shutil.rmtree(tmp_path / good[1])
    call.remove(str(bags / "bad"))
    assert fleet.main(call) == 0
    again = {name: (tmp_path / name / "done.json").stat().st_mtime_ns for name in good}
    assert [times[name] == again[name] for name in good] == [False, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--workers", "0"], "workers is 0"),
        (["--keep-ratio", "0"], "keep_ratio is 0.0"),
        (["--split", "nowhere"], "nowhere"),
        (["--checkpoint", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--address", "127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    changes: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", "--data", str(data), "--split", "some", *MODEL, "--out", str(tmp_path / "out"), *changes]
    assert fleet.main(given) == 1
    error = capsys.readouterr().err
    assert error.startswith("fleet: ") and message in error and error.count("\n") == 1
