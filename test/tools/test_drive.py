"""The drive tool: the same bytes for the same seed, however it is run."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from tggbc_ros.data.drive.dataset import VERSION
from tggbc_ros.tools import drive

SMALL = ["--seconds", "1.5", "--image-size", "128", "72", "--seed", "9"]


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes_whatever_the_number_of_workers_and_scenes(tmp_path: Path) -> None:
    for name, scenes, workers in (("a", 3, 2), ("b", 3, 1), ("c", 1, 1)):
        assert drive.main(["make", "--out", str(tmp_path / name), "--scenes", str(scenes), "--workers", str(workers),
                           *SMALL]) == 0  # fmt: skip
    first, second, single = (_files(tmp_path / name) for name in "abc")
    assert first == second
    assert len([name for name in first if name.endswith(".jpg")]) == 3 * 13 * 6
    pictures = {name: data for name, data in single.items() if "drive-9-0000" in name}
    assert len(pictures) == 13 * 6 + 3
    assert pictures.items() <= first.items()
    for table in ("sample", "sample_data", "sample_annotation", "instance", "ego_pose"):
        alone, among = (json.loads(files[f"{VERSION}/{table}.json"]) for files in (single, first))
        assert among[: len(alone)] == alone


def test_no_sweeps_writes_keyframes_only_and_options_reach_the_drive(tmp_path: Path) -> None:
    options = ["--no-sweeps", "--objects", "0", "--range", "30", "--split", "empty", "--difficulty", "easy"]
    assert drive.main(["make", "--out", str(tmp_path), *SMALL, *options]) == 0
    assert not (tmp_path / "sweeps").exists()
    tables = {path.stem: json.loads(path.read_text()) for path in (tmp_path / VERSION).glob("*.json")}
    assert len(tables) == 14
    assert tables["sample_annotation"] == []
    assert tables["splits"] == {"empty": ["drive-9-0000"]}
    assert "range_m=30.0, objects=0, clutter=0.1" in tables["scene"][0]["description"]
    assert cv2.imread(str(tmp_path / tables["sample_data"][0]["filename"])).shape == (72, 128, 3)


def test_the_demo_difficulty_is_the_demo_models_world(tmp_path: Path) -> None:
    assert drive.main(["make", "--out", str(tmp_path), "--seconds", "0.5", "--no-sweeps", "--difficulty", "demo"]) == 0
    tables = {path.stem: json.loads(path.read_text()) for path in (tmp_path / VERSION).glob("*.json")}
    assert "range_m=22.0, objects=50, clutter=0.1" in tables["scene"][0]["description"]
    assert cv2.imread(str(tmp_path / tables["sample_data"][0]["filename"])).shape == (198, 352, 3)


def test_preview_draws_six_images(tmp_path: Path) -> None:
    picture = tmp_path / "new" / "drive.png"
    assert drive.main(["preview", "--out", str(picture), *SMALL, "--at", "99"]) == 0
    assert cv2.imread(str(picture)).shape == (144, 384, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenes", "0"], "--scenes is 0, expected at least 1"),
        (["--workers", "0"], "--workers is 0, expected at least 1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--split", "train"], "split is 'train'"),
        (["--clutter", "3"], "clutter is 3.0"),
        (["--seconds", "nan"], "duration_s is nan"),
        (["--image-size", "100", "100"], "image_size is (100, 100), expected at most 9 rows for 16 columns"),
    ],
)
def test_bad_options_give_one_line_that_names_them(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive.main(["make", "--out", str(tmp_path), *SMALL, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("drive: ")
    assert message in error


def test_a_second_make_of_the_same_scene_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["make", "--out", str(tmp_path), *SMALL, "--no-sweeps"]
    assert drive.main(command) == 0
    before = _files(tmp_path)
    assert drive.main(command) == 2
    assert "already has scene drive-9-0000" in capsys.readouterr().err
    assert _files(tmp_path) == before


def test_a_broken_table_in_the_target_is_named_before_anything_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / VERSION).mkdir()
    (tmp_path / VERSION / "ego_pose.json").write_text("")
    assert drive.main(["make", "--out", str(tmp_path), *SMALL]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"drive: {tmp_path / VERSION / 'ego_pose.json'} is not JSON: ")
    assert [path.name for path in tmp_path.iterdir()] == [VERSION]


@pytest.mark.parametrize("command", ["make", "preview"])
def test_a_file_where_a_folder_must_be_is_named_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert drive.main([command, "--out", str(tmp_path / "file" / "drive.png"), *SMALL]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("drive: ") and str(tmp_path / "file") in lines[0]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_preview_that_is_no_picture_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drive.main(["preview", "--out", str(tmp_path / "drive"), *SMALL]) == 2
    assert "drive: cannot write" in capsys.readouterr().err
