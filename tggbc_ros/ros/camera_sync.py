"""Which images belong together: one buffer per camera, the newest complete set, nothing lost uncounted.

Where fewer cameras than all are enough, a set goes without a camera only once that camera's image is known not to
come: it has already sent a later one, or nothing for a while. So a lost image delays its set by one period of that
camera, a dead camera delays one set, and a rig in order is not delayed at all.

``message_filters.ApproximateTime`` cannot do this: after a bag loop it may stop for good, and it drops
silently. Knows nothing of ROS; to be used from one thread.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from tggbc_ros.ros.drops import Account

Message = TypeVar("Message")
_stamp = attrgetter("stamp_ns")

BACKWARD_JUMP_NS = 500_000_000
"""A camera whose stamps fall back by more than this has begun again (a bag loop); by less, it is late."""


@dataclass(frozen=True, eq=False)
class Stored(Generic[Message]):
    """An image message as it came. stamp_ns: of its header. arrival_s: monotonic clock."""

    stamp_ns: int
    arrival_s: float
    message: Message


@dataclass(frozen=True, eq=False)
class ImageSet(Generic[Message]):
    """One image of every camera that is there, in the rig's order. cameras: theirs."""

    images: tuple[Stored[Message], ...]
    cameras: tuple[str, ...]

    @property
    def reference_ns(self) -> int:
        """Reference time of the set: its newest stamp."""
        return max(image.stamp_ns for image in self.images)

    @property
    def spread_ns(self) -> int:
        """Newest minus oldest stamp."""
        return self.reference_ns - min(image.stamp_ns for image in self.images)

    @property
    def arrival_s(self) -> float:
        """When its last image came, monotonic clock."""
        return max(image.arrival_s for image in self.images)

    def only(self, cameras: Container[str]) -> ImageSet[Message]:
        """The same set without the images of other cameras."""
        left = [pair for pair in zip(self.images, self.cameras, strict=True) if pair[1] in cameras]
        return ImageSet(tuple(image for image, _ in left), tuple(camera for _, camera in left))


class CameraSync(Generic[Message]):
    """Per-camera buffers, each sorted by stamp and bounded by ``capacity``.

    Every image that enters ends in a set, in a counted drop, or is still buffered. Causes:
    image_duplicate (a stamp that was there before), image_late (older than the camera's image in the
    last set, or than a set that went without the camera), image_unmatched (a newer set was completed
    without it), image_overflow (waited too long), image_time_jump (time went back while it waited).

    min_cameras: the fewest that make a set; 0: all. timeout_s: a camera that sent nothing for longer is not
    waited for then (monotonic clock; below the period of a camera, sets go without it that need not).
    """

    def __init__(
        self,
        cameras: Sequence[str],
        max_spread_ns: int,
        capacity: int,
        account: Account,
        min_cameras: int = 0,
        timeout_s: float = 1.0,
    ) -> None:
        self._min_cameras = min_cameras or len(cameras)
        self._timeout_s = timeout_s
        self._heard_s: dict[str, float] = {}
        self._reference_ns = 0
        self._max_spread_ns = max_spread_ns
        self._capacity = capacity
        self._account = account
        self._buffers: dict[str, list[Stored[Message]]] = {camera: [] for camera in cameras}
        self._taken_ns: dict[str, int] = {}

    @property
    def buffered(self) -> int:
        """How many images wait."""
        return sum(map(len, self._buffers.values()))

    def add(self, camera: str, image: Stored[Message]) -> ImageSet[Message] | None:
        """Store an image; the set it completes, if it does."""
        buffer = self._buffers[camera]
        self._hear(camera, image.arrival_s)
        if image.stamp_ns < self._taken_ns.get(camera, 0) - BACKWARD_JUMP_NS:
            self._drop(camera, len(buffer), "image_time_jump")
            self.rewind(image.stamp_ns)
        elif buffer and image.stamp_ns < buffer[-1].stamp_ns - BACKWARD_JUMP_NS:
            # A stray stamp of this camera alone: what the others and the last set say still holds.
            self._drop_later(camera, image.stamp_ns + BACKWARD_JUMP_NS)
        if self._refuse(camera, image.stamp_ns):
            return None
        insort(buffer, image, key=_stamp)
        start_ns = self._start_of_set(image.stamp_ns)
        if start_ns is None and self._min_cameras < len(self._buffers):
            start_ns = self._start_of_partial_set(image.arrival_s)
        if start_ns is not None:
            return self._take(start_ns)
        self._drop(camera, max(0, len(buffer) - self._capacity), "image_overflow")
        return None

    def rewind(self, now_ns: int) -> None:
        """Time went back to about ``now_ns``: drop what is from later, and take older stamps again."""
        self._taken_ns.clear()
        self._reference_ns = 0
        for camera in self._buffers:
            self._drop_later(camera, now_ns + BACKWARD_JUMP_NS)

    def _drop_later(self, camera: str, limit_ns: int) -> None:
        """Drop what waits of a camera from ``limit_ns`` on."""
        buffer = self._buffers[camera]
        keep = bisect_left(buffer, limit_ns, key=_stamp)
        later = len(buffer) - keep
        del buffer[keep:]
        self._account.drop("image_time_jump", later)

    def clear(self, cause: str) -> None:
        """Drop all that waits."""
        for camera, buffer in self._buffers.items():
            self._drop(camera, len(buffer), cause)

    def _refuse(self, camera: str, stamp_ns: int) -> bool:
        """Whether an image of that stamp has no place any more; counts why."""
        buffer, taken_ns = self._buffers[camera], self._taken_ns.get(camera, -1)
        place = bisect_left(buffer, stamp_ns, key=_stamp)
        if stamp_ns == taken_ns or (place < len(buffer) and buffer[place].stamp_ns == stamp_ns):
            self._account.drop("image_duplicate")
            return True
        if stamp_ns < taken_ns:
            self._account.drop("image_late")
            return True
        return False

    def _start_of_set(self, stamp_ns: int) -> int | None:
        """Oldest stamp of the newest complete set, or None.

        Only a set that holds the image just stored can have become complete, so the window starts
        within ``max_spread_ns`` before it.
        """
        earliest_ns = stamp_ns - self._max_spread_ns
        starts = {
            image.stamp_ns
            for buffer in self._buffers.values()
            for image in buffer
            if earliest_ns <= image.stamp_ns <= stamp_ns
        }
        return next((start_ns for start_ns in sorted(starts, reverse=True) if self._is_complete(start_ns)), None)

    def _start_of_partial_set(self, now_s: float) -> int | None:
        """Oldest stamp of the set with the most cameras, of those the newest, that has nobody to wait for; or None.

        It begins after the last set's end, so that time goes forward whichever cameras there are.
        """
        starts = {
            image.stamp_ns
            for buffer in self._buffers.values()
            for image in buffer
            if image.stamp_ns > self._reference_ns
        }
        found = []
        for start_ns in starts:
            lacking = [camera for camera in self._buffers if self._lacks(camera, start_ns)]
            present = len(self._buffers) - len(lacking)
            if present >= self._min_cameras and not any(self._is_awaited(c, start_ns, now_s) for c in lacking):
                found.append((present, start_ns))
        return max(found)[1] if found else None

    def _is_complete(self, start_ns: int) -> bool:
        return not any(self._lacks(camera, start_ns) for camera in self._buffers)

    def _lacks(self, camera: str, start_ns: int) -> bool:
        """Whether no image of the camera is in the set that begins at ``start_ns``."""
        buffer = self._buffers[camera]
        place = bisect_left(buffer, start_ns, key=_stamp)
        return place == len(buffer) or buffer[place].stamp_ns > start_ns + self._max_spread_ns

    def _is_awaited(self, camera: str, start_ns: int, now_s: float) -> bool:
        """Whether an image of the camera may yet come for a set that lacks it."""
        buffer = self._buffers[camera]
        has_later = bool(buffer) and buffer[-1].stamp_ns >= start_ns
        return not has_later and now_s - self._heard_s[camera] < self._timeout_s

    def _hear(self, camera: str, arrival_s: float) -> None:
        """Cameras that never spoke are given their time from the first image of any on; a pause of all is nobody's."""
        if not self._heard_s:
            self._heard_s = dict.fromkeys(self._buffers, arrival_s)
        pause_s = arrival_s - max(self._heard_s.values())
        if pause_s >= self._timeout_s:
            self._heard_s = {other: heard_s + pause_s for other, heard_s in self._heard_s.items()}
        self._heard_s[camera] = arrival_s

    def _take(self, start_ns: int) -> ImageSet[Message]:
        """Of each camera the first image from ``start_ns`` on; what waited longer has missed its set.

        So has what a camera that is missing sends for it later.
        """
        images = {}
        for camera, buffer in self._buffers.items():
            self._drop(camera, bisect_left(buffer, start_ns, key=_stamp), "image_unmatched")
            if self._lacks(camera, start_ns):
                self._taken_ns[camera] = start_ns + self._max_spread_ns
            else:
                images[camera] = buffer.pop(0)
                self._taken_ns[camera] = images[camera].stamp_ns
        image_set = ImageSet(tuple(images.values()), tuple(images))
        self._reference_ns = image_set.reference_ns
        return image_set

    def _drop(self, camera: str, oldest: int, cause: str) -> None:
        """Drop that many of a camera's oldest images."""
        del self._buffers[camera][:oldest]
        self._account.drop(cause, oldest)
