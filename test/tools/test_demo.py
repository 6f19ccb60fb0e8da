"""The demo from end to end, small: a drive, its bag, a node of its own process, its record, scores, pictures, page."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from rosbags.highlevel import AnyReader

from tggbc_ros.tools.demo import main

pytestmark = pytest.mark.timeout(280)

FRAMES, RATIOS = 4, (1.0, 0.3)
NETWORKS = {"demo": "demo", "demo_slim on openvino_int8": "demo_slim"}
"""Name of each -> its model."""
PASSES = len(RATIOS) * len(NETWORKS)
KEYS = {1.0: 1056, 0.3: 317}
TOPICS = ("/detector/boxes", "/detector/kept_keys", "/detector/report")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it ran, over what a run before, which failed midway, had left."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "mine.txt").write_text("not the demo's")
    assert main(["--out", str(folder), "--seconds", "1", "--checkpoint", "nowhere.pth"]) == 1
    (folder / "detections").mkdir()
    (folder / "detections" / "old.txt").write_text("of an earlier run")
    assert (folder / "bag" / "metadata.yaml").exists()
    ratios = [f"{ratio:g}" for ratio in reversed(RATIOS)]
    assert main(["--out", str(folder), "--seconds", "2", "--keep-ratio", *ratios]) == 0
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "results.json").read_text())
    return found


def recorded(out: Path) -> dict[str, list[Any]]:
    """Messages of the bags of detections by topic, in the order they were recorded."""
    found: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
    for name in NETWORKS:
        with AnyReader([out / "detections" / name.replace(" ", "_")]) as reader:
            for connection, _, data in reader.messages():
                found[connection.topic].append(reader.deserialize(data, connection.msgtype))
    return found


def test_every_pass_is_scored_whole(out: Path, rows: list[dict[str, Any]]) -> None:
    assert [(row["network"], row["keep_ratio"]) for row in rows] == [(name, r) for name in NETWORKS for r in RATIOS]
    for row in rows:
        assert (row["model"], row["samples"], row["notes"]) == (NETWORKS[row["network"]], FRAMES, "")
        assert (row["keys_total"], row["keys_kept"]) == (1056, KEYS[row["keep_ratio"]])
        assert 0.0 <= row["mAP"] <= 1.0 and row["decoder_ms"] > 0.0
        folder = out / "scores" / row["network"].replace(" ", "_") / f"keep_{row['keep_ratio']:g}"
        summary = json.loads((folder / "metrics_summary.json").read_text())
        assert summary["nd_score"] == pytest.approx(row["NDS"])


def test_the_record_holds_every_pass_and_memory_begins_anew(out: Path) -> None:
    messages = recorded(out)
    assert {topic: len(found) for topic, found in messages.items()} == dict.fromkeys(TOPICS, FRAMES * PASSES)
    reports = messages["/detector/report"]
    assert [round(report.keep_ratio, 6) for report in reports] == [
        r for _ in NETWORKS for r in RATIOS for _ in range(FRAMES)
    ]
    assert [report.memory_age_s for report in reports] == pytest.approx([0.0, 0.5, 0.5, 0.5] * PASSES, abs=0.05)
    pictures = [np.asarray(picture.data) for picture in messages["/detector/kept_keys"]]
    assert [int((cells == 255).sum()) for cells in pictures] == [
        KEYS[r] for _ in NETWORKS for r in RATIOS for _ in range(FRAMES)
    ]


def test_the_film_has_every_frame(out: Path) -> None:
    with Image.open(out / "drive.webp") as film:
        assert film.n_frames == FRAMES
        shown = []
        for index in range(FRAMES):
            film.seek(index)
            shown.append(np.asarray(film.convert("RGB"), dtype=np.int16))
    changes = [np.abs(after - before).mean() for before, after in zip(shown, shown[1:], strict=False)]
    assert min(changes) > 1.0, "the vehicle moves"


def test_pictures_are_there(out: Path) -> None:
    assert cv2.imread(str(out / "keys.png")).shape == (720, 1920, 3)
    assert np.ptp(cv2.imread(str(out / "accuracy.png"))) > 200


def test_the_page_agrees_with_the_results_and_its_links_resolve(out: Path, rows: list[dict[str, Any]]) -> None:
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Links()
    page.feed(text)
    assert len(page.links) > 6
    assert [link for link in page.links if not (out / link).exists()] == []
    inside = [base64.b64decode(source.partition(";base64,")[2]) for source in page.sources]
    assert inside == [(out / name).read_bytes() for name in ("drive.webp", "keys.png", "accuracy.png")]
    table = re.findall(r"<tr><td>demo[^<]*</td><td>([\d.]+)</td><td>(\d+)</td><td>([\d.]+)</td><td>([\d.]+)</td>", text)
    expected = [(row["keep_ratio"], row["keys_kept"], row["mAP"], row["NDS"]) for row in rows]
    assert [tuple(f"{value:.3f}" for value in map(float, line)) for line in table] == [
        tuple(f"{value:.3f}" for value in line) for line in expected
    ]
    assert all(row["weights"] in text for row in rows)
    assert ("the boxes mean nothing" in text) == (rows[0]["weights"] == "RANDOM")


def test_only_what_is_the_demos_was_replaced(out: Path) -> None:
    assert (out / "mine.txt").read_text() == "not the demo's"
    assert not (out / "detections" / "old.txt").exists()


@pytest.mark.parametrize("name", ["drive", "bag", "detections", "scores"])
def test_a_folder_that_no_demo_made_stays(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("not the demo's")
    for _ in range(2):  # refusing is no demo either
        assert main(["--out", str(tmp_path), "--seconds", "1"]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"demo: {tmp_path / name} exists, and no .tggbc_demo beside it says that a demo made")
        assert error.count("\n") == 1
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [name, f"{name}/mine.txt"]


class Links(HTMLParser):
    """Targets of links and sources of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            if name == "src":
                self.sources.append(value or "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--keep-ratio", "0.5", "0"], "keep_ratio is 0.0"),
        (["--seconds", "0.5"], "seconds is 0.5"),
    ],
)
def test_what_cannot_be_done_is_one_error(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "demo"), "--seconds", "1", *arguments]) == 1
    error = capsys.readouterr().err
    assert "demo: " in error and message in error
