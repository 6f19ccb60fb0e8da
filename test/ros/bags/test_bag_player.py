"""bag_player: a real process plays real bags over DDS; every message arrives once, in order, under the right clock."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.stores import ros2_jazzy as ros
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String, UInt64
from tf2_msgs.msg import TFMessage

from tggbc_ros.ros.bags.bag_player import PlayError, PlayOptions, find_message_class, main, parse_options

START_NS = 1_600_000_000_000_000_000
STEP_NS = 20_000_000
COUNT = 60
PATIENCE_S = 60.0
TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
TYPESTORE.register(get_types_from_msg("uint8 x", "nowhere_msgs/msg/Thing"))


def qos(durability: QosDurability, reliability: QosReliability = QosReliability.RELIABLE, depth: int = 5) -> Qos:
    zero = QosTime(0, 0)
    liveliness = QosLiveliness.AUTOMATIC
    return Qos(QosHistory.KEEP_LAST, depth, reliability, durability, zero, zero, liveliness, zero, False)


def write_bag(path: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Numbers 0..59 every 20 ms (recorded best effort), two latched texts at the start, an unknown type, an image."""
    with Writer(path, version=9, storage_plugin=storage) as writer:

        def add(topic: str, msgtype: str, profile: Qos) -> Callable[[int, Any], None]:
            connection = writer.add_connection(topic, msgtype, typestore=TYPESTORE, offered_qos_profiles=[profile])
            return lambda time_ns, m: writer.write(connection, time_ns, TYPESTORE.serialize_cdr(m, msgtype))

        volatile, latched = qos(QosDurability.VOLATILE), qos(QosDurability.TRANSIENT_LOCAL, depth=1)
        number = add("/number", "std_msgs/msg/UInt64", qos(QosDurability.VOLATILE, QosReliability.BEST_EFFORT))
        text = add("/latched", "std_msgs/msg/String", latched)
        thing = add("/thing", "nowhere_msgs/msg/Thing", volatile)
        image = add("/image", "sensor_msgs/msg/Image", volatile)
        for name in ("first", "second"):
            text(START_NS, ros.std_msgs__msg__String(data=name))
        for index in range(COUNT):
            number(START_NS + index * STEP_NS, ros.std_msgs__msg__UInt64(data=index))
        thing(START_NS + 3, TYPESTORE.types["nowhere_msgs/msg/Thing"](x=1))
        image(START_NS + 5, recorded_image())
    return path


def recorded_image() -> Any:
    pixels = np.arange(900 * 1600 * 3, dtype=np.uint32).astype(np.uint8)
    stamp = ros.builtin_interfaces__msg__Time(sec=1_600_000_000, nanosec=5)
    header = ros.std_msgs__msg__Header(stamp=stamp, frame_id="CAM_FRONT")
    return ros.sensor_msgs__msg__Image(header, 900, 1600, "bgr8", 0, 4800, pixels)


class Listener:
    """Subscribes, and keeps what comes with the clock at that moment."""

    def __init__(self, context: Context) -> None:
        self.node = Node("listener", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.got: dict[str, list[Any]] = {}
        self.arrival_s: dict[str, list[float]] = {}

    def subscribe(self, topic: str, msgtype: type, **profile: Any) -> None:
        def keep(message: Any) -> None:
            self.got[topic].append(message)
            self.arrival_s[topic].append(time.monotonic())

        self.got[topic], self.arrival_s[topic] = [], []
        history = {"depth": 1000, "history": HistoryPolicy.KEEP_LAST}
        self.node.create_subscription(msgtype, topic, keep, QoSProfile(**(history | profile)))

    def spin_until(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        end_s = time.monotonic() + patience_s
        while not done() and time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=0.05)
        for _ in range(10):  # what has arrived but was not yet taken
            self.executor.spin_once(timeout_sec=0.05)

    def numbers(self) -> list[int]:
        return [message.data for message in self.got["/number"]]

    def clock_ns(self) -> list[int]:
        return [message.clock.sec * 10**9 + message.clock.nanosec for message in self.got["/clock"]]


@pytest.fixture
def listener(context: Context) -> Iterator[Listener]:
    listener = Listener(context)
    listener.subscribe("/number", UInt64)
    yield listener
    listener.executor.shutdown()
    listener.node.destroy_node()


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "bag")


class Player:
    """The program as a process in the module's DDS domain."""

    def __init__(self, domain_id: int, arguments: Sequence[object]) -> None:
        command = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_player", *map(str, arguments), "--grace", "0.3"]
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id)}
        self.process = subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def result(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture
def play(domain_id: int) -> Iterator[Callable[..., Player]]:
    started: list[Player] = []

    def start(*arguments: object) -> Player:
        started.append(Player(domain_id, arguments))
        return started[-1]

    yield start
    for player in started:
        if not player.ended():
            player.process.kill()
            player.process.communicate()


@pytest.mark.parametrize("storage", list(StoragePlugin), ids=lambda storage: storage.name.lower())
def test_every_message_once_in_order_under_the_right_clock(
    tmp_path: Path, listener: Listener, play: Callable[..., Player], storage: StoragePlugin
) -> None:
    listener.subscribe("/image", Image)
    listener.subscribe("/clock", Clock)
    player = play(write_bag(tmp_path / "bag", storage), "--clock", 200, "--wait-for-subscribers", 2)
    listener.spin_until(player.ended)
    status, out, err = player.result()
    assert (status, err) == (0, "")
    assert listener.numbers() == list(range(COUNT))
    (image,) = listener.got["/image"]
    assert bytes(image.data) == recorded_image().data.tobytes()
    assert (image.header.stamp.nanosec, image.header.frame_id, image.step) == (5, "CAM_FRONT", 4800)
    clock = listener.clock_ns()
    assert clock == sorted(set(clock)), "the clock never repeats or turns back"
    assert {START_NS + index * STEP_NS for index in range(COUNT)} <= set(clock), "it shows every message's time"
    assert len(clock) > 2 * COUNT, "and ticks between them"
    assert clock[-1] == START_NS + (COUNT - 1) * STEP_NS
    assert f"published {COUNT:6d} on /number" in out
    assert "skipped /thing: type nowhere_msgs/msg/Thing is not installed here" in out
    assert f"published {COUNT + 3} messages" in out


def test_rate_sets_the_pace(bag: Path, listener: Listener, play: Callable[..., Player]) -> None:
    player = play(bag, "--rate", 0.5, "--topics", "/number", "--wait-for-subscribers", 1)
    listener.spin_until(player.ended)
    assert player.result()[0] == 0
    assert listener.numbers() == list(range(COUNT))
    recorded_s = (COUNT - 1) * STEP_NS / 1e9
    arrival_s = listener.arrival_s["/number"]
    assert 1.7 * recorded_s < arrival_s[-1] - arrival_s[0] < 4.0 * recorded_s


def test_start_offset_skips_but_keeps_what_is_latched(
    bag: Path, listener: Listener, play: Callable[..., Player]
) -> None:
    listener.subscribe("/latched", String, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    player = play(bag, "--start-offset", 40 * STEP_NS / 1e9, "--wait-for-subscribers", 2)
    listener.spin_until(player.ended)
    assert player.result()[0] == 0
    assert listener.numbers() == list(range(40, COUNT))
    assert [message.data for message in listener.got["/latched"]] == ["first", "second"]


def test_late_joiner_gets_all_latched_messages(bag: Path, listener: Listener, play: Callable[..., Player]) -> None:
    player = play(bag, "--rate", 0.3, "--wait-for-subscribers", 1)
    listener.spin_until(lambda: len(listener.numbers()) > 3)
    listener.subscribe("/latched", String, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener.spin_until(lambda: len(listener.got["/latched"]) == 2 or player.ended())
    assert [message.data for message in listener.got["/latched"]] == ["first", "second"]


def test_static_transforms_reach_their_listener_without_recorded_qos(
    tmp_path: Path, listener: Listener, play: Callable[..., Player]
) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind in (("/tf_static", "tf2_msgs/msg/TFMessage"), ("/number", "std_msgs/msg/UInt64")):
            connection = writer.add_connection(topic, kind, typestore=TYPESTORE)
            for index in range(20):
                fields = {"transforms": []} if topic == "/tf_static" else {"data": index}
                data = TYPESTORE.serialize_cdr(TYPESTORE.types[kind](**fields), kind)
                writer.write(connection, START_NS + index * STEP_NS, data)
    listener.subscribe("/tf_static", TFMessage, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    player = play(tmp_path / "bag", "--start-offset", 10 * STEP_NS / 1e9, "--wait-for-subscribers", 2)
    listener.spin_until(player.ended)
    assert player.result()[0] == 0
    assert len(listener.got["/tf_static"]) == 20
    assert listener.numbers() == list(range(10, 20))


def write_image_bag(path: Path, sets: int) -> Path:
    """Two cameras, 10 ms apart, a set every 30 ms; a number follows each set.

    And what ``ros2 bag record -a`` adds: answers, a slower camera, a topic on which no image came.
    """
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        profile = [qos(QosDurability.VOLATILE)]
        kind = "sensor_msgs/msg/Image"
        cameras = [
            writer.add_connection(topic, kind, typestore=TYPESTORE, offered_qos_profiles=profile)
            for topic in ("/left", "/right", "/slow", "/empty")
        ]
        kind = "std_msgs/msg/String"
        answer = writer.add_connection("/answer", kind, typestore=TYPESTORE, offered_qos_profiles=profile)
        answered = TYPESTORE.serialize_cdr(ros.std_msgs__msg__String(data="done"), kind)
        kind = "std_msgs/msg/UInt64"
        number = writer.add_connection("/number", kind, typestore=TYPESTORE, offered_qos_profiles=profile)
        image = TYPESTORE.serialize_cdr(recorded_image(), "sensor_msgs/msg/Image")
        writer.write(cameras[2], START_NS, image)
        for index in range(sets):
            for place, camera in enumerate(cameras[:2]):
                writer.write(camera, START_NS + index * 30_000_000 + place * 10_000_000, image)
            data = TYPESTORE.serialize_cdr(ros.std_msgs__msg__UInt64(data=index), kind)
            writer.write(answer, START_NS + index * 30_000_000 + 15_000_000, answered)
            writer.write(number, START_NS + index * 30_000_000 + 20_000_000, data)
    return path


@pytest.mark.parametrize("silent_after", [99, 2], ids=["always answers", "falls silent"])
def test_lockstep_waits_for_each_answer(
    tmp_path: Path, listener: Listener, play: Callable[..., Player], silent_after: int
) -> None:
    """The number behind set k comes only after answer k; without an answer, after the time-out."""
    answers = listener.node.create_publisher(String, "/answer", 10)
    answered_s: list[float] = []

    def answer(image: Image) -> None:
        if len(answered_s) < silent_after:
            time.sleep(0.25)
            answered_s.append(time.monotonic())
            answers.publish(String(data="done"))

    listener.node.create_subscription(Image, "/right", answer, 10)
    for topic in ("/left", "/empty"):
        listener.subscribe(topic, Image)
    bag = write_image_bag(tmp_path / "images", 4)
    player = play(bag, "--lockstep", "/answer", "--lockstep-timeout", 3, "--wait-for-subscribers", 4)
    listener.spin_until(player.ended)
    status, out, err = player.result()
    assert (status, err) == (0, "")
    assert listener.numbers() == [0, 1, 2, 3]
    assert "skipped /answer: the answers are waited for here" in out
    arrival_s = listener.arrival_s["/number"]
    assert all(came > answered for came, answered in zip(arrival_s, answered_s, strict=False))
    if silent_after == 2:
        assert "2 sets of images were not answered" in out
        assert arrival_s[2] - answered_s[1] > 2.5
    else:
        assert len(answered_s) == 4 and "not answered" not in out


def test_lockstep_needs_somebody_who_answers(tmp_path: Path, play: Callable[..., Player]) -> None:
    player = play(write_image_bag(tmp_path / "images", 1), "--lockstep", "/nobody", "--lockstep-timeout", 1)
    assert player.result()[0::2] == (1, "bag_player: nobody publishes /nobody after 1 s\n")


def test_lockstep_needs_somebody_who_takes_images(
    tmp_path: Path, listener: Listener, play: Callable[..., Player]
) -> None:
    listener.node.create_publisher(String, "/answer", 10)
    listener.subscribe("/empty", Image)
    player = play(write_image_bag(tmp_path / "images", 1), "--lockstep", "/answer")
    status, out, err = player.result()
    assert (status, out) == (1, "")
    reason = "nobody subscribes to images, so /answer answers none; topics of them: /left, /right, /slow"
    assert err == f"bag_player: {reason}\n"


def test_names_that_no_topic_has_are_skipped(tmp_path: Path, listener: Listener, play: Callable[..., Player]) -> None:
    """Writers other than rosbag2 take any name."""
    names = ["/cam-front", "//image", "/{x}", "/number"]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic in names:
            kind = "std_msgs/msg/UInt64"
            connection = writer.add_connection(topic, kind, typestore=TYPESTORE)
            writer.write(connection, START_NS, TYPESTORE.serialize_cdr(TYPESTORE.types[kind](data=0), kind))
    player = play(tmp_path / "bag", "--wait-for-subscribers", 1)
    listener.spin_until(player.ended)
    status, out, err = player.result()
    assert (status, err, listener.numbers()) == (0, "", [0])
    assert out.count("is no topic's name") == 3


def test_interrupted_while_the_bag_is_opened_ends_well(tmp_path: Path, play: Callable[..., Player]) -> None:
    """Reading its metadata does not end: nobody writes them."""
    (tmp_path / "bag").mkdir()
    os.mkfifo(tmp_path / "bag" / "metadata.yaml")
    for number in (signal.SIGINT, signal.SIGTERM):
        player = play(tmp_path / "bag")
        with open(tmp_path / "bag" / "metadata.yaml", "w"):  # goes on once the player reads
            player.process.send_signal(number)
            assert player.result() == (0, "", "")


def test_loop_until_interrupted_ends_well(bag: Path, listener: Listener, play: Callable[..., Player]) -> None:
    listener.subscribe("/clock", Clock, reliability=ReliabilityPolicy.BEST_EFFORT)
    player = play(bag, "-l", "-r", 4, "--clock", "--topics", "/number", "--wait-for-subscribers", 1)
    listener.spin_until(lambda: len(listener.numbers()) > 2 * COUNT + 5)
    player.process.send_signal(signal.SIGINT)
    listener.spin_until(player.ended)
    status, out, err = player.result()
    assert (status, err) == (0, "")
    numbers = listener.numbers()
    assert numbers == [index % COUNT for index in range(len(numbers))]
    assert f"published {len(numbers):6d} on /number" in out
    turns = sum(later < earlier for earlier, later in zip(listener.clock_ns(), listener.clock_ns()[1:], strict=False))
    assert turns == (len(numbers) - 1) // COUNT, "the clock turns back once a loop"


def test_nothing_is_published_before_a_subscriber_is_there(
    bag: Path, context: Context, play: Callable[..., Player]
) -> None:
    player = play(bag, "--wait-for-subscribers", 1, "--topics", "/number")
    time.sleep(3.0)
    late = Listener(context)
    late.subscribe("/number", UInt64)
    late.spin_until(player.ended)
    late.node.destroy_node()
    assert late.numbers() == list(range(COUNT))


def test_it_waits_for_who_takes_images_however_long_and_whoever_else_listens(
    tmp_path: Path, listener: Listener, play: Callable[..., Player]
) -> None:
    player = play(write_image_bag(tmp_path / "images", 3), "--wait-for-images", "--wait-timeout", 0.1)
    listener.spin_until(lambda: listener.node.count_publishers("/number") > 0)
    deadline_s = time.monotonic() + 2.0
    listener.spin_until(lambda: time.monotonic() > deadline_s)
    assert listener.numbers() == [] and not player.ended()
    listener.subscribe("/right", Image)
    listener.spin_until(player.ended)
    status, out, err = player.result()
    assert (status, err) == (0, "")
    assert out.startswith("waiting until somebody subscribes to one of /left, /right, /slow\n")
    assert listener.numbers() == [0, 1, 2]


def test_a_bag_without_images_is_not_waited_with(bag: Path, play: Callable[..., Player]) -> None:
    status, _, err = play(bag, "--wait-for-images", "--topics", "/number").result()
    assert (status, err) == (1, f"bag_player: {bag} has no images that anybody could wait for\n")


def test_interrupted_while_it_waits_for_images_it_ends_well(
    tmp_path: Path, listener: Listener, play: Callable[..., Player]
) -> None:
    player = play(write_image_bag(tmp_path / "images", 1), "--wait-for-images")
    listener.spin_until(lambda: listener.node.count_publishers("/left") > 0)
    player.process.send_signal(signal.SIGINT)
    assert player.result()[0] == 0


@pytest.mark.parametrize("program", ["bag_player", "bag_recorder"])
def test_it_starts_without_torch(program: str) -> None:
    """Which takes seconds to import and hundreds of megabytes, of which neither has any use."""
    code = f"import sys, tggbc_ros.ros.bags.{program}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_waiting_in_vain_is_an_error(bag: Path, play: Callable[..., Player]) -> None:
    status, out, err = play(bag, "--wait-for-subscribers", 3, "--wait-timeout", 0.5).result()
    assert (status, out) == (1, "")
    assert err == "bag_player: after 0.5 s 0 topics have a subscriber, not 3\n"


def test_interrupted_while_waiting_ends_well(bag: Path, listener: Listener, play: Callable[..., Player]) -> None:
    player = play(bag, "--wait-for-subscribers", 3, "--wait-timeout", 600)
    listener.spin_until(lambda: listener.node.count_publishers("/number") > 0)
    player.process.send_signal(signal.SIGTERM)
    assert player.result()[0] == 0


def test_ros_arguments_remap_topics(bag: Path, listener: Listener, play: Callable[..., Player]) -> None:
    listener.subscribe("/other", UInt64)
    arguments = ("--topics", "/number", "--wait-for-subscribers", 1, "--rate", 4)
    environment_arguments = ("--ros-args", "-r", "/number:=/other", "--")
    player = play(bag, *arguments, *environment_arguments)
    listener.spin_until(player.ended)
    assert player.result()[0] == 0
    assert [message.data for message in listener.got["/other"]] == list(range(COUNT))
    assert listener.numbers() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none"], "File '{tmp}/none' does not exist"),
        (["{bag}", "--rate", "0"], "rate is 0.0, expected a finite positive one"),
        (["{bag}", "--start-offset", "-1"], "start offset is -1.0, expected a finite >= 0 one"),
        (["{bag}", "--start-offset", "100"], "start offset is 100 s, but {bag} lasts 1.180 s"),
        (["{bag}", "--topics", "/nothing"], "{bag} has no topic /nothing"),
        (["{bag}", "--topics", "/thing"], "{bag} holds nothing that can be played: "),
        (["{bag}", "--lockstep", "/re-port"], "--lockstep is '/re-port', expected a topic's name: "),
        (["{tmp}/cut.mcap"], "bag {tmp}/cut.mcap cannot be read: "),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path,
    bag: Path,
    domain_id: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    (tmp_path / "cut.mcap").write_bytes((bag / "bag.mcap").read_bytes()[:1000])
    assert main([argument.format(tmp=tmp_path, bag=bag) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bag_player: {message.format(tmp=tmp_path, bag=bag)}")
    assert err.count("\n") == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["bag.mcap", "metadata.yaml", "bag.db3"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_bag_is_played_or_refused_in_one_line(
    small_bags: Path,
    tmp_path: Path,
    domain_id: int,
    capsys: pytest.CaptureFixture[str],
    file: str,
    changes: list[tuple[float, int]],
) -> None:
    name = "sqlite3" if file == "bag.db3" else "mcap"
    copy = tmp_path / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(small_bags / name, copy)
    (damaged,) = copy.glob("*.db3") if name == "sqlite3" else [copy / file.replace("bag.mcap", "mcap.mcap")]
    content = bytearray(damaged.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    damaged.write_bytes(content)
    capsys.readouterr()
    arguments = ["--rate", "1e15", "--grace", "0", "--no-progress", "--clock", "1"]
    status = main([str(copy), *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if status:
        assert err.startswith("bag_player: ") and err.count("\n") == 1
        assert str(copy) in err
    else:
        assert "published" in out


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "'/num ber'"),
        ("name", "''"),
        ("name", "7"),
        ("name", "[]"),
        ("type", "''"),
        ("type", "/msg/"),
        ("type", "std_msgs/msg/__name__"),
        ("type", '"a\\0b/msg/C"'),
        ("type", "{}"),
        ("depth", "-1"),
        ("depth", "1000000000000000000000000"),
        ("depth", "x"),
        ("durability", "99"),
        ("message_count", "x"),
        ("message_count", "-3"),
        ("nanoseconds_since_epoch", "-5"),
        ("nanoseconds_since_epoch", "9223372036854775807"),
        ("nanoseconds", "x"),
        ("nanoseconds", "-9"),
    ],
)
def test_metadata_of_any_values_is_played_or_refused_in_one_line(
    small_bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: str
) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(small_bags / "mcap", copy)
    text = (copy / "metadata.yaml").read_text()
    changed = re.sub(rf"(\b{field}: ).*", lambda match: match[1] + value, text)
    assert changed != text
    (copy / "metadata.yaml").write_text(changed)
    status = main([str(copy), "--rate", "1e15", "--grace", "0", "--no-progress", "--clock", "1"])
    out, err = capsys.readouterr()
    if status:
        assert err.startswith("bag_player: ") and err.count("\n") == 1
        assert str(copy) in err
    else:
        assert "published" in out


@pytest.fixture(scope="module")
def small_bags(tmp_path_factory: pytest.TempPathFactory, domain_id: int) -> Iterator[Path]:
    """Ten numbers and a latched text, as mcap/ and sqlite3/; the player's process is this one."""
    root = tmp_path_factory.mktemp("small")
    for name, storage in (("mcap", StoragePlugin.MCAP), ("sqlite3", StoragePlugin.SQLITE3)):
        with Writer(root / name, version=9, storage_plugin=storage) as writer:
            for topic, kind, latched in (("/number", "UInt64", False), ("/latched", "String", True)):
                msgtype = f"std_msgs/msg/{kind}"
                profile = qos(QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE)
                added = writer.add_connection(topic, msgtype, typestore=TYPESTORE, offered_qos_profiles=[profile])
                for index in range(10):
                    message = TYPESTORE.types[msgtype](data="text" if latched else index)
                    writer.write(added, START_NS + index, TYPESTORE.serialize_cdr(message, msgtype))
    before = os.environ.get("ROS_DOMAIN_ID")
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    yield root
    os.environ.pop("ROS_DOMAIN_ID")
    os.environ.update({"ROS_DOMAIN_ID": before} if before else {})


def test_message_classes_are_found_by_their_ros_names() -> None:
    assert find_message_class("std_msgs/msg/String") is String
    with pytest.raises(ImportError):
        find_message_class("nowhere_msgs/msg/Thing")
    with pytest.raises(AttributeError):
        find_message_class("std_msgs/msg/Nothing")


def test_options_are_those_of_the_command_line() -> None:
    arguments = ["bag", "-r", "2", "-l", "--start-offset", "1.5", "--clock", "--topics", "/a", "/b", "--no-progress"]
    expected = PlayOptions(Path("bag"), 2.0, True, 1.5, 40.0, ("/a", "/b"), False, 3, 30.0, 1.0, skip_gaps_s=7.5)
    assert parse_options([*arguments, "--wait-for-subscribers", "3", "--skip-gaps", "7.5"]) == expected
    assert parse_options(["bag", "--wait-for-images"]) == PlayOptions(Path("bag"), wait_for_images=True)
    assert parse_options(["bag"]) == PlayOptions(Path("bag"))
    for bad in (
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"clock_hz": -1.0},
        {"grace_s": -1.0},
        {"skip_gaps_s": -1.0},
    ):
        with pytest.raises(PlayError):
            PlayOptions(Path("bag"), **bad)
