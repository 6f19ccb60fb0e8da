"""page: the numbers are those of the rows, pictures are inside, links name what is beside, text is escaped."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

from tggbc_ros.drawing.page_parts import Figure, number
from tggbc_ros.evaluation.results import Row
from tggbc_ros.showcase.page import Report, write_page


class Page(HTMLParser):
    """Links, picture sources, table cells, and whether every tag was closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.cells: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "img":
            self.pictures.append(given["src"] or "")
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "td":
            self.cells.append(data)


def row(keep_ratio: float, **changes: float | None) -> Row:
    errors = {name: 0.5 for name in ("mATE", "mASE", "mAOE", "mAVE", "mAAE")}
    times = {"decoder_ms": 12.34, "frame_ms": 80.0, "latency_ms": 95.5}
    classes = {"AP_car": 0.4321, "AP_bus": 0.0, "objects_car": 17, "objects_bus": 0}
    return {
        "network": "dense",
        "keep_ratio": keep_ratio,
        "keys_kept": 100,
        "mAP": 0.25,
        "NDS": 0.35,
        **errors,
        **times,
        **classes,
        **changes,
    }


def written(folder: Path, **changes: object) -> Path:
    picture = folder / "keys.png"
    cv2.imwrite(str(picture), np.full((4, 4, 3), 90, np.uint8))
    given: dict[str, object] = {
        "title": "Title",
        "lead": "lead",
        "warning": "",
        "shown": 1,
        "rows": [row(1.0), row(0.3, keys_kept=30, mAP=0.2468, AP_car=0.321)],
        "figures": [Figure(picture, "Keys", "caption")],
        "facts": {"model": "demo"},
        "commands": {"again": "make demo"},
        "files": {"results.json": "scores"},
    }
    write_page(Report(**(given | changes)), folder / "index.html")
    return folder / "index.html"


def test_tables_hold_the_rows(tmp_path: Path) -> None:
    page = Page(written(tmp_path))
    assert page.cells[:5] == ["dense", "1", "100", "0.250", "0.350"]
    assert page.cells[13:18] == ["dense", "0.3", "30", "0.247", "0.350"]
    assert page.cells[26:31] == ["car", "17", "0.432", "0.321", "demo"], "the class without objects has no line"
    assert "100 → 30" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_numbers() -> None:
    assert [number(v) for v in (None, 3, 0.12345, 12.345, 123.45)] == ["–", "3", "0.123", "12.3", "123.5"]


def test_pictures_are_inside_and_links_beside(tmp_path: Path) -> None:
    page = Page(written(tmp_path))
    (source,) = page.pictures
    kind, _, data = source.partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(data) == (tmp_path / "keys.png").read_bytes()
    assert page.links == ["keys.png", "results.json"]


def test_what_is_given_stays_text(tmp_path: Path) -> None:
    path = written(tmp_path, title="<b>a & b</b>", facts={"weights": '<i>"x"</i>'}, warning="5 < 6")
    Page(path)
    text = path.read_text(encoding="utf-8")
    assert "<b>a" not in text and "<i>" not in text
    assert "5 &lt; 6" in text and 'class="warning"' in text
    assert 'class="warning"' not in written(tmp_path).read_text(encoding="utf-8")
