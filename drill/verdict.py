"""Whether a node has come through a fault: what it published and counted, against what went in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from synthetic_rig import nanoseconds

from drill.books import Books
from drill.ground import Ground, Mark, Sent
from tggbc_ros.core.config import MemoryConfig
from tggbc_ros.ros.params import CAMERAS

BACKWARD = {"time went backward", "clock jump"}
ALWAYS_ALLOWED = frozenset({"set_superseded"})
"""A machine that is busy with other things may be slower than the rig."""


@dataclass(frozen=True)
class Row:
    """One line of the drill's result. recovered_after_sets: 1 if the first good set after the fault was inferred."""

    fault: str
    books: Books
    recovered_after_sets: int | None
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """As it is written to the result file."""
        return {
            "fault": self.fault,
            "sets_in": self.books.sets_in,
            "published": self.books.published,
            "drops": dict(sorted(self.books.drops.items())),
            "resets": dict(sorted(self.books.resets.items())),
            "recovered_after_sets": self.recovered_after_sets,
            "pass": not self.problems,
            "problems": self.problems,
        }


def judge(
    name: str, ground: Ground, before: Mark, recovered: int | None, drops: Mapping[str, bool], all_images: bool
) -> Row:
    """What is wrong since ``before``.

    drops: causes that may be counted -> whether they must be. all_images: whether the node must have received every
    image that went out.
    """
    after = ground.mark()
    books = after.books - before.books
    problems = [
        *ground.problems,
        *_process_problems(ground, recovered),
        *_set_problems(books, before, after),
        *_image_problems(books, before, after, all_images),
        *_cause_problems(books, drops),
        *_published_problems(ground, before, books),
        *_awaited_problems(ground),
        *_reset_problems(ground, before, books),
    ]
    ground.problems.clear()
    ground.awaited.clear()
    return Row(name, books, recovered, problems)


def _process_problems(ground: Ground, recovered: int | None) -> Iterator[str]:
    if not ground.process.is_running():
        yield "the node has died"
    if recovered != 1:
        yield f"inferred again after {recovered} good sets, expected 1"
    if "Traceback" in ground.process.output():
        yield "a traceback in the node's log"


def _set_problems(books: Books, before: Mark, after: Mark) -> Iterator[str]:
    low, high = (now - then for now, then in zip(after.sets, before.sets, strict=True))
    if not low <= books.sets_in <= high:
        yield f"{books.sets_in} complete sets counted, {low} to {high} went out"
    if books.sets_in != books.published + books.sets_dropped:
        yield f"{books.sets_in} sets in, {books.published} published and {books.sets_dropped} dropped"


def _image_problems(books: Books, before: Mark, after: Mark, all_images: bool) -> Iterator[str]:
    """After the report of a good set no image waits: all are in sets or dropped."""
    sent, found = after.images - before.images, len(CAMERAS) * books.sets_in + books.images_dropped
    if found != sent and (all_images or found > sent):
        yield f"{sent} images sent, {found} accounted for"


def _cause_problems(books: Books, drops: Mapping[str, bool]) -> Iterator[str]:
    strange = set(books.drops) - set(drops) - ALWAYS_ALLOWED
    if strange:
        yield f"drops that are not of this fault: {', '.join(sorted(strange))}"
    missing = {cause for cause, must in drops.items() if must and not books.drops[cause]}
    if missing:
        yield f"never counted: {', '.join(sorted(missing))}"


def _published_problems(ground: Ground, before: Mark, books: Books) -> Iterator[str]:
    heard = [nanoseconds(report) for report in ground.reports[before.reports :]]
    if len(heard) != books.published:
        yield f"{len(heard)} reports heard, {books.published} counted as published"
    if [nanoseconds(boxes) for boxes in ground.rig.received["boxes"][before.reports :]] != heard:
        yield "boxes and reports have different stamps"
    bad = [stamp_ns for stamp_ns in heard if stamp_ns not in ground.sent or not ground.sent[stamp_ns].good]
    if bad:
        yield f"published for sets with a fault in them, or none at all: {bad}"


def _awaited_problems(ground: Ground) -> Iterator[str]:
    """By the record alone: how long the machine took over a set is no fault of the node's."""
    heard = {nanoseconds(report) for report in ground.reports}
    for references_ns, problem in ground.awaited:
        if heard.isdisjoint(references_ns):
            yield f"{problem}: {' or '.join(map(str, references_ns))}"


def _reset_problems(ground: Ground, before: Mark, books: Books) -> Iterator[str]:
    """Of each set that was inferred: the cause it must give, by what stamps and poses alone tell of it."""
    reports, resets = ground.reports, Counter[str]()
    for place in range(before.reports, len(reports)):
        now = nanoseconds(reports[place])
        then = nanoseconds(reports[place - 1]) if place else None
        expected = ground.forced.get(place) or _expected_causes(ground.sent, then, now)
        cause = reports[place].reset_cause
        resets[cause] += 1
        if cause not in expected:
            yield f"set {now}: memory reset {cause!r}, expected {' or '.join(map(repr, sorted(expected)))}"
    del resets[""]
    if resets != books.resets:
        yield f"resets counted {dict(books.resets)}, reported {dict(resets)}"


def _expected_causes(sent: Mapping[int, Sent], then_ns: int | None, now_ns: int) -> set[str]:
    """By the rule of MemoryConfig, from one inferred set to the next."""
    rule = MemoryConfig()
    if then_ns is None or then_ns not in sent or now_ns not in sent:
        return {""}
    elapsed_s = (now_ns - then_ns) / 1e9
    if elapsed_s <= 0:
        return BACKWARD
    if elapsed_s > rule.max_gap_s:
        return {"gap in time"}
    moved_m = float(np.linalg.norm(sent[now_ns].place_m - sent[then_ns].place_m))
    return {"pose jump"} if moved_m > rule.max_speed_mps * elapsed_s + rule.max_jump_m else {""}
