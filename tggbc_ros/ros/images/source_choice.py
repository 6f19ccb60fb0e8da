"""Which of a camera's topics its images are taken from: what arrives decides. Knows nothing of ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Hashable, Sequence
from typing import Generic, TypeVar

Topic = TypeVar("Topic", bound=Hashable)

SILENT_S = 2.0
"""A topic on which nothing has come for so long is silent, though it is published."""

FINE, LACKS_COLOURS, UNUSABLE = range(3)
"""What a topic's images are worth; the least is the best."""


class SourceChoice(Generic[Topic]):
    """One camera's choice among ``topics``, best first; all times are of the monotonic clock.

    The best of those that are published is taken up. While it is silent all others are listened to beside it, else
    those that are better; the first that brings two images is taken instead. Two, so that neither a pause of all
    cameras nor a slow one moves anything.
    """

    def __init__(self, topics: Sequence[Topic]) -> None:
        self._topics = topics
        self._worth: dict[Topic, int] = {}
        self._came_s: dict[Topic, deque[float]] = {}
        """When the last two images came on each topic that is listened to."""
        self._since_s = 0.0
        self.current: Topic | None = None

    def look(self, offered: Container[Topic], now_s: float) -> list[Topic]:
        """What to listen to while ``offered`` are published, the current topic first; it stays when none is."""
        there = [topic for topic in sorted(self._topics, key=self._place) if topic in offered]
        if there and (self.current not in there or not self._came_s[self.current]):
            self._take(there[0], now_s)
        if self.current is None:
            return []
        silent = self.is_silent(now_s)
        others = [topic for topic in there if topic != self.current and (silent or self._is_better(topic))]
        self._came_s = {topic: self._came_s.get(topic, deque(maxlen=2)) for topic in (self.current, *others)}
        return list(self._came_s)

    def arrived(self, topic: Topic, now_s: float) -> bool:
        """Note an image; whether it is one to take, its topic being the current one, or being that from now on."""
        came_s = self._came_s.get(topic)
        if came_s is None:
            return False
        came_s.append(now_s)
        if topic != self.current and len(came_s) == 2 and self._wins(topic, now_s):
            self.current = topic
        return topic == self.current

    def rate(self, topic: Topic, worth: int) -> None:
        """What the topic's images have turned out to be worth; any thread may say so."""
        self._worth[topic] = worth

    def worth(self, topic: Topic) -> int:
        """What the topic's images are worth as far as is known."""
        return self._worth.get(topic, FINE)

    def is_silent(self, now_s: float) -> bool:
        """Whether nothing comes on the current topic."""
        return now_s - self._last_s() >= SILENT_S

    def _last_s(self) -> float:
        """When the last image came on the current topic, or when that was taken up."""
        came_s = self._came_s.get(self.current) if self.current is not None else None
        return came_s[-1] if came_s else self._since_s

    def _take(self, topic: Topic, now_s: float) -> None:
        if topic != self.current:
            self.current, self._since_s = topic, now_s
            self._came_s[topic] = deque(maxlen=2)

    def _wins(self, topic: Topic, now_s: float) -> bool:
        first_s, second_s = self._came_s[topic]
        meanwhile = first_s > self._last_s() and self.is_silent(now_s)
        return meanwhile or (self._is_better(topic) and second_s - first_s < SILENT_S)

    def _is_better(self, topic: Topic) -> bool:
        return self.current is not None and self._place(topic) < self._place(self.current)

    def _place(self, topic: Topic) -> tuple[int, int]:
        return self.worth(topic), self._topics.index(topic)
