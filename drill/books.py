"""The node's own books on sets and images, as its reports and its log state them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from tggbc_ros.msg import FrameReport

CLOSED = "books since activation: "


@dataclass(frozen=True)
class Books:
    """Complete sets, those published, drops and memory resets by cause."""

    sets_in: int = 0
    published: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    resets: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Books) -> Books:
        return Books(
            self.sets_in + other.sets_in,
            self.published + other.published,
            self.drops + other.drops,
            self.resets + other.resets,
        )

    def __sub__(self, other: Books) -> Books:
        """What came on top of ``other``; counters of zero vanish."""
        drops, resets = Counter(self.drops), Counter(self.resets)
        drops.subtract(other.drops)
        resets.subtract(other.resets)
        return Books(self.sets_in - other.sets_in, self.published - other.published, _counted(drops), _counted(resets))

    @property
    def sets_dropped(self) -> int:
        """Complete sets that were not inferred."""
        return sum(count for cause, count in self.drops.items() if cause.startswith("set_"))

    @property
    def images_dropped(self) -> int:
        """Images that ended in no set."""
        return sum(count for cause, count in self.drops.items() if cause.startswith("image_"))


def _counted(counts: Counter[str]) -> Counter[str]:
    return Counter({cause: count for cause, count in counts.items() if count})


def reported(report: FrameReport) -> Books:
    """Since activation, up to that report."""
    drops, resets = ({entry.cause: entry.count for entry in counts} for counts in (report.drops, report.resets))
    return Books(report.sets_received, report.sets_published, Counter(drops), Counter(resets))


def closed(log: str) -> Books:
    """Of all activations that have ended, by the node's log."""
    total = Books()
    for line in log.splitlines():
        _, found, text = line.partition(CLOSED)
        if found:
            entry = json.loads(text)
            counters = Counter(entry["drops"]), Counter(entry["resets"])
            total += Books(entry["sets_received"], entry["sets_published"], *counters)
    return total
