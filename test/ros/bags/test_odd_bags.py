"""bag_player on bags as crashes, odd clocks and other recorders leave them: played as far as they go, and named."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from rclpy.qos import DurabilityPolicy
from rosbags.interfaces import QosDurability
from small_bags import COUNT, NUMBER, START_NS, STORE, change_metadata, cut, data_file, number, write_numbers

from tggbc_ros.data.bags.bag_writer import BagFileWriter
from tggbc_ros.data.bags.sample_bag import offered_qos
from tggbc_ros.ros.bags.bag_player import BagPlayer, main
from tggbc_ros.ros.bags.play_options import PlayOptions

BOTH = ("mcap", "sqlite3")


@pytest.fixture(autouse=True)
def _domain(domain_id: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    yield


def play(capsys: pytest.CaptureFixture[str], bag: Path, *options: object) -> tuple[int, Counter[str], str, str]:
    """Exit status, messages published by topic, all of standard output, standard error; a minute is too long."""
    capsys.readouterr()
    begin_s = time.monotonic()
    status = main([str(bag), "--rate", "1000", "--grace", "0", "--no-progress", *map(str, options)])
    assert time.monotonic() - begin_s < 30
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines() if line.startswith("published") and " on /" in line]
    return status, Counter({topic: int(count) for _, count, _, topic in lines}), out, err


def set_times(bag: Path, **times_ns: int) -> None:
    """Of the messages with these numbers: ``_3=0``. Given as SQLite, it has them in order of writing."""
    with sqlite3.connect(data_file(bag)) as database:
        for place, time_ns in times_ns.items():
            database.execute("UPDATE messages SET timestamp = ? WHERE id = ?", (time_ns, int(place[1:])))
    database.close()


@pytest.mark.parametrize(
    "times_ns",
    [
        {"_1": 0},
        {"_1": 0, "_2": 0, "_3": 1_000_000_000},
        {"_1": -5, "_2": 7},
        {"_40": 2**63 - 1},
        {"_1": -(2**62), "_40": 2**62},
        {"_20": START_NS + 86_400_000_000_000},
    ],
)
@pytest.mark.parametrize("options", [(), ("--clock", 100)])
def test_absurd_times_are_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times_ns: dict[str, int], options: tuple[object, ...]
) -> None:
    bag = write_numbers(tmp_path / "bag")
    set_times(bag, **times_ns)
    status, published, out, err = play(capsys, bag, *options)
    assert (status, published.total(), err) == (0, COUNT, "")
    assert "without a message, between" in out and "(--skip-gaps 3600)" in out
    unlikely = min(times_ns.values()) < 0 or max(times_ns.values()) > 2**31 * 1_000_000_000
    assert ("/clock stands still" in out) == (unlikely and bool(options))


def test_the_longest_gap_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_numbers(tmp_path / "bag")
    set_times(bag, _40=START_NS + 600_000_000_000)
    assert "without a message" not in play(capsys, bag)[2]
    _, published, out, _ = play(capsys, bag, "--skip-gaps", 5, "--rate", 1)
    assert published.total() == COUNT
    assert f"left out 600 s without a message, between {START_NS / 1e9 + 0.38:.3f} s" in out


def test_a_long_wait_is_announced(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag")
    set_times(bag, _40=START_NS + 600_000_000_000)
    command = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_player", str(bag), "--grace", "0"]
    player = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert player.stdout
    assert player.stdout.readline().startswith("bag_player: waiting 600 s for the next message; --skip-gaps S")
    player.terminate()
    assert player.wait(30) == 0
    player.communicate()


def test_metadata_that_begins_at_zero_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_numbers(tmp_path / "bag", "mcap")
    change_metadata(bag, lambda metadata: metadata.update(starting_time={"nanoseconds_since_epoch": 0}))
    status, published, out, err = play(capsys, bag)
    assert (status, published.total(), err) == (0, COUNT, "")
    assert "without a message" not in out


@pytest.mark.parametrize("storage", BOTH)
def test_a_bag_without_metadata_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str], storage: str) -> None:
    bag = write_numbers(tmp_path / "bag", storage)
    (bag / "metadata.yaml").unlink()
    status, published, out, err = play(capsys, bag)
    assert (status, published.total(), err) == (0, COUNT, "")
    assert "bag_player: metadata.yaml is missing, as after a crash" in out and "ros2 bag reindex" in out


@pytest.mark.parametrize(("storage", "repair"), [("mcap", "mcap recover"), ("sqlite3", "sqlite3 bag.db3 .recover")])
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_cut_bag_is_played_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], storage: str, repair: str, as_folder: bool
) -> None:
    bag = write_numbers(tmp_path / "bag", storage, range(4000))
    (bag / "metadata.yaml").unlink()
    cut(data_file(bag), 0.4)
    path = bag if as_folder else data_file(bag)
    status, published, out, err = play(capsys, path)
    assert status == 1
    assert 500 < published.total() < 3000
    assert err.startswith(f"bag_player: not all of bag {path} was played: bag.")
    assert repair in err and repair in out and err.count("\n") == 1


@pytest.mark.parametrize("storage", BOTH)
def test_lost_messages_make_the_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], storage: str) -> None:
    bag = write_numbers(tmp_path / "bag", storage)
    change_metadata(bag, lambda metadata: metadata["topics_with_message_count"][0].update(message_count=99))
    status, published, _, err = play(capsys, bag)
    assert (status, published.total()) == (1, COUNT)
    assert "metadata.yaml counts 99 messages on /a, the files hold 20" in err and err.count("\n") == 1


def test_damage_that_shows_while_playing_is_named_after_what_was_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index that gives the order of time is gone; the table itself is whole."""
    bag = write_numbers(tmp_path / "bag", "sqlite3", range(4000))
    with sqlite3.connect(data_file(bag)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'timestamp_idx'").fetchone()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    content = bytearray(data_file(bag).read_bytes())
    content[(root - 1) * page_bytes : root * page_bytes] = bytes(page_bytes)
    data_file(bag).write_bytes(content)
    status, _, _, err = play(capsys, bag)
    assert status == 1
    assert err.startswith("bag_player: ") and str(bag) in err and err.count("\n") == 1


def test_a_topic_of_two_types_is_played_as_one_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in bags that were merged; bytes of one type must not go out as the other."""
    with BagFileWriter(tmp_path / "bag", "mcap") as writer:
        text = writer.add_connection("/a", "std_msgs/msg/String", typestore=STORE)
        numbers = writer.add_connection("/a", NUMBER, typestore=STORE)
        message = STORE.types["std_msgs/msg/String"](data="x")
        writer.write(text, START_NS, STORE.serialize_cdr(message, "std_msgs/msg/String"))
        for value in range(3):
            writer.write(numbers, START_NS + value, number(value))
    status, published, _, err = play(capsys, tmp_path / "bag")
    assert (status, published["/a"]) == (1, 3)
    assert "1 messages on /a are of type std_msgs/msg/String and not played" in err


@pytest.mark.parametrize("durability", [QosDurability.VOLATILE, QosDurability.UNKNOWN, QosDurability.SYSTEM_DEFAULT])
@pytest.mark.parametrize("topic", ["/tf_static", "/robot/tf_static"])
def test_static_transforms_are_offered_latched_however_they_were_recorded(
    tmp_path: Path, topic: str, durability: QosDurability
) -> None:
    kind = "tf2_msgs/msg/TFMessage"
    with BagFileWriter(tmp_path / "bag", "sqlite3") as writer:
        profile = offered_qos(topic)._replace(durability=durability)
        added = writer.add_connection(topic, kind, typestore=STORE, offered_qos_profiles=[profile])
        writer.write(added, START_NS, STORE.serialize_cdr(STORE.types[kind](transforms=[]), kind))
    rclpy.init()
    node = rclpy.create_node("player")
    try:
        BagPlayer(node, PlayOptions(tmp_path / "bag"))
        (offer,) = node.get_publishers_info_by_topic(topic)
        assert offer.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
    finally:
        node.destroy_node()
        rclpy.shutdown()


@pytest.mark.parametrize("name", ["run#3", "50%20?"])
def test_paths_with_characters_that_uris_know(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    bag = write_numbers(tmp_path / "made")
    shutil.move(bag, tmp_path / name)
    status, published, _, err = play(capsys, tmp_path / name)
    assert (status, published.total(), err) == (0, COUNT, "")
