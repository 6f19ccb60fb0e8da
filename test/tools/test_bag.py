"""tools.bag: the command line makes bags of a sample folder and of a scene, describes them, and fails in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.data.bags.mcap_file import Message
from tggbc_ros.data.bags.sample_bag import read_messages
from tggbc_ros.data.nuscenes.sample_folder import moved, read_sample_folder
from tggbc_ros.tools.bag import main

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

import foxglove_messages as foxglove  # noqa: E402
from bag_samples import read_samples  # noqa: E402
from mcap_writer import write_mcap  # noqa: E402
from tiny_nuscenes import edit_table, write_tiny_nuscenes  # noqa: E402


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    return write_tiny_nuscenes(tmp_path / "tiny")


def make(*arguments: object) -> int:
    return main(["make", *map(str, arguments)])


def test_scene_at_keyframes_and_at_sweeps(tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ("--data", tiny_root, "--scene", "scene-0001")
    assert make(*source, "--out", tmp_path / "keyframes", "--storage", "sqlite3") == 0
    assert make(*source, "--sweeps", "--out", tmp_path / "sweeps", "--images", "raw") == 0
    assert [len(list(read_samples(tmp_path / name))) for name in ("keyframes", "sweeps")] == [3, 13]
    assert (tmp_path / "keyframes" / "keyframes.db3").is_file()
    assert (tmp_path / "sweeps" / "sweeps.mcap").is_file()
    first, second = capsys.readouterr().out.splitlines()
    dogs = "2 annotations left out, because they are of no detection class"
    assert first == f"wrote {tmp_path / 'keyframes'}: 3 sets of 6 images; {dogs}"
    assert second == f"wrote {tmp_path / 'sweeps'}: 13 sets of 6 images; {dogs}"


def test_images_left_out_are_reported(tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, write = edit_table(tiny_root, "sample_data")
    lost = next(row for row in rows if row["calibrated_sensor_token"] == "c-CAM_BACK" and not row["is_key_frame"])
    rows.remove(lost)
    write()
    assert make("--data", tiny_root, "--scene", "scene-0001", "--sweeps", "--out", tmp_path / "bag") == 0
    assert "12 sets of 6 images; 5 images left out, because no complete set" in capsys.readouterr().out


def test_sample_folder_with_motions(tmp_path: Path, sample_dir: Path) -> None:
    motions = ("--motion", 2.0, 0.02, 0.5, "--motion", 2.1, 0.03, 0.500012)
    assert make("--sample", sample_dir, "--frames", 4, *motions, "--out", tmp_path / "bag") == 0
    expected = [read_sample_folder(sample_dir)]
    for motion in ((2.0, 0.02, 0.5), (2.1, 0.03, 0.500012), (2.1, 0.03, 0.500012)):
        expected.append(moved(expected[-1], *motion))
    for written, read in zip(expected, read_samples(tmp_path / "bag"), strict=True):
        assert read.timestamp_ns == written.timestamp_ns
        np.testing.assert_allclose(read.ego2global, written.ego2global, atol=1e-9)


def test_info(tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("--data", tiny_root, "--scene", "scene-0001", "--out", tmp_path / "bag")
    capsys.readouterr()
    assert main(["info", str(tmp_path / "bag")]) == 0
    folder = capsys.readouterr().out.splitlines()
    assert main(["info", str(tmp_path / "bag" / "bag.mcap")]) == 0
    file = capsys.readouterr().out.splitlines()
    assert "duration  1.043 s" in folder
    assert "messages  82" in folder
    assert "start     2020-09-13T12:26:39.957000+00:00" in folder
    image = "/camera/CAM_BACK/image/compressed 3 sensor_msgs/msg/CompressedImage reliable, volatile, depth 10"
    latched = "/tf_static 1 tf2_msgs/msg/TFMessage reliable, transient_local, depth 1"
    assert {image, latched} <= {" ".join(line.split()) for line in folder}
    assert folder[6:] == file[6:], "topics do not depend on metadata.yaml"


def test_protobuf_is_converted_and_until_then_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = foxglove.frame_transform(7, "map", "base_link", [1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0])
    messages = [Message(9, "/tf", "protobuf", "foxglove.FrameTransform", data), Message(9, "/a", "json", "", b"{}")]
    file = write_mcap(tmp_path / "scene.mcap", messages)
    assert main(["info", str(file)]) == 1
    assert "python -m tggbc_ros.tools.bag convert" in capsys.readouterr().err
    bag = tmp_path / "bag"
    assert main(["convert", str(file), "--out", str(bag), "--storage", "sqlite3"]) == 0
    assert capsys.readouterr().out == f"wrote {bag}: 1 messages on 1 topics\nleft out: 1 of json\n"
    (read,) = read_messages(bag)
    assert (read.timestamp_ns, read.topic, read.message.transforms[0].child_frame_id) == (9, "/tf", "base_link")
    assert main(["convert", str(file), "--out", str(bag)]) == 1
    assert capsys.readouterr().err.startswith(f"bag convert {bag}: bag {bag} exists already")


def test_program_ends_with_one_line_and_status_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tggbc_ros.tools.bag", "info", str(tmp_path / "none")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith(f"bag info {tmp_path / 'none'}: ")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sample", "{tmp}/none"), "no sample folder: "),
        (("--sample", "{tmp}/tiny", "--frames", "0"), "frames is 0, expected at least 1"),
        (("--data", "{tmp}/none", "--scene", "s"), "holds these versions: none"),
        (("--data", "{tmp}/tiny", "--scene", "s"), "scene is 's'"),
        (("--data", "{tmp}/tiny", "--scene", "scene-0001", "--version", "v2"), "v2 is not a folder"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    assert make(*filled, "--out", tmp_path / "bag") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "bag").exists()


def test_an_existing_bag_is_kept(tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ("--data", tiny_root, "--scene", "scene-0002", "--out", tmp_path / "bag")
    assert make(*source) == 0
    before = (tmp_path / "bag" / "bag.mcap").read_bytes()
    assert make(*source) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "bag" / "bag.mcap").read_bytes() == before


def test_damaged_bags_are_named(tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("--data", tiny_root, "--scene", "scene-0002", "--out", tmp_path / "bag")
    whole = (tmp_path / "bag" / "bag.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.db3").write_text("no database")
    (tmp_path / "bag" / "metadata.yaml").write_text("x: [\n")
    for name in ("cut.mcap", "text.db3", "bag"):
        capsys.readouterr()
        assert main(["info", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert str(tmp_path / name) in error
        assert error.count("\n") == 1


def test_what_is_left_of_a_cut_bag_is_described(
    tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("--data", tiny_root, "--scene", "scene-0002", "--out", tmp_path / "bag #1")
    bag = tmp_path / "bag #1"
    (bag / "metadata.yaml").unlink()
    capsys.readouterr()
    assert main(["info", str(bag)]) == 0
    assert "note      metadata.yaml is missing, as after a crash" in capsys.readouterr().out
    file = bag / "bag #1.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert main(["info", str(bag)]) == 1
    out, err = capsys.readouterr()
    assert "lost      bag #1.mcap was cut off" in out and "/tf_static" in out
    assert err.startswith(f"bag info {bag}: not all of the bag is there: ") and err.count("\n") == 1


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_conversion_to_any_path(tmp_path: Path, storage: str) -> None:
    data = foxglove.frame_transform(7, "map", "base_link", [1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0])
    file = write_mcap(tmp_path / "50%23.mcap", [Message(9, "/tf", "protobuf", "foxglove.FrameTransform", data)])
    out = tmp_path / "run#1?"
    assert main(["convert", str(file), "--out", str(out), "--storage", storage]) == 0
    assert [read.topic for read in read_messages(out)] == ["/tf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["50%23.mcap", "run#1?"]


def test_times_in_nanoseconds_are_one_line(tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sample", "sample_data", "ego_pose"):
        rows, write = edit_table(tiny_root, name)
        for row in rows:
            row["timestamp"] *= 1000
        write()
    assert make("--data", tiny_root, "--scene", "scene-0001", "--out", tmp_path / "bag") == 1
    error = capsys.readouterr().err
    assert "sample.json: record scene-0001-0 has timestamp 1600000000000000000, expected microseconds" in error
    assert error.count("\n") == 1 and not (tmp_path / "bag").exists()


def test_a_scene_must_be_named(tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        make("--data", tiny_root, "--out", tmp_path / "bag")
    assert stopped.value.code == 2
    assert "--data needs --scene NAME" in capsys.readouterr().err
