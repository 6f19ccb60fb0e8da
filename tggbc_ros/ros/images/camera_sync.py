"""Which images belong together: one buffer per camera, the newest complete set, nothing lost uncounted.

Where fewer cameras than all are enough, a set goes without a camera only once that camera's image is known not to
come: it has already sent a later one, or for a while nothing that was in time. So a lost image delays its set by one
period of that camera, a camera that is dead or whose stamps are far behind delays one set, and a rig in order is not
delayed at all.

Time has gone back (a bag loop) when more than half of the cameras say so; what those say who say it first is held
until then. A camera that says so alone is late.

``message_filters.ApproximateTime`` cannot do this: after a bag loop it may stop for good, and it drops
silently. Knows nothing of ROS; to be used from one thread.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from tggbc_ros.ros.drops import Account
from tggbc_ros.ros.images.stagger import Stagger, stagger
from tggbc_ros.ros.params import Settings

Message = TypeVar("Message")
_stamp = attrgetter("stamp_ns")

BACKWARD_JUMP_NS = 500_000_000
"""A camera whose stamps fall back by more than this may have begun again (a bag loop); by less, it is late."""


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

    min_cameras: the fewest that make a set; 0: all. timeout_s: a camera that sent nothing in time for longer is
    not waited for then (monotonic clock; below the period of a camera, sets go without it that need not).
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
        """When each camera last sent an image in time."""
        self._spoken_s: dict[str, float] = {}
        """When each camera last sent any image."""
        self._reference_ns = 0
        self._max_spread_ns = max_spread_ns
        self._capacity = capacity
        self._account = account
        self._buffers: dict[str, list[Stored[Message]]] = {camera: [] for camera in cameras}
        self._held: dict[str, list[Stored[Message]]] = {camera: [] for camera in cameras}
        """Images from long before the last set, in the order in which they came."""
        self._recent: dict[str, deque[tuple[int, float]]] = {camera: deque(maxlen=capacity) for camera in cameras}
        """Stamp and arrival of the last images that were stored, taken since or not."""
        self._taken_ns: dict[str, int] = {}

    @classmethod
    def as_set(cls, settings: Settings, account: Account) -> CameraSync[Message]:
        """With what the parameters say of sets."""
        return cls(
            settings.camera_names,
            round(settings.max_spread_s * 1e9),
            settings.sync_capacity,
            account,
            settings.min_cameras,
            settings.camera_timeout_s,
        )

    @property
    def buffered(self) -> int:
        """How many images wait."""
        return sum(map(len, [*self._buffers.values(), *self._held.values()]))

    def stagger(self) -> Stagger | None:
        """The images nearest to one another, in a set or not; None: not known. Any thread may ask."""
        return stagger({camera: tuple(seen) for camera, seen in self._recent.items()}, self._timeout_s)

    def add(self, camera: str, image: Stored[Message]) -> ImageSet[Message] | None:
        """Store an image; the set it completes, if it does."""
        self._hear(camera, image)
        if image.stamp_ns < self._taken_ns.get(camera, 0) - BACKWARD_JUMP_NS:
            self._hold(camera, image)
            if not self._has_time_gone_back(image):
                return None
            for each in self._buffers:
                self._drop_later(each, 0)
            self.rewind(image.stamp_ns)
        elif not self._store(camera, image):
            return None
        start_ns = self._start_of_set(image.stamp_ns)
        if start_ns is None and self._min_cameras < len(self._buffers):
            start_ns = self._start_of_partial_set(image.arrival_s)
        if start_ns is not None:
            return self._take(start_ns)
        self._drop(camera, max(0, len(self._buffers[camera]) - self._capacity), "image_overflow")
        return None

    def rewind(self, now_ns: int) -> None:
        """Time went back to about ``now_ns``: drop what is from later, and take older stamps again, also those held."""
        self._taken_ns.clear()
        self._reference_ns = 0
        for camera, held in self._held.items():
            self._recent[camera].clear()
            for image in held:
                self._keep(camera, image)
            held.clear()
            self._drop_later(camera, now_ns + BACKWARD_JUMP_NS)

    def _hold(self, camera: str, image: Stored[Message]) -> None:
        """Set aside an image from long before the last set: it is late, unless time has gone back."""
        held = self._held[camera]
        if any(other.stamp_ns == image.stamp_ns for other in held):
            self._account.drop("image_duplicate")
            return
        held.append(image)
        self._drop_held(camera, max(0, len(held) - self._capacity))

    def _drop_held(self, camera: str, oldest: int) -> None:
        del self._held[camera][:oldest]
        self._account.drop("image_late", oldest)

    def _has_time_gone_back(self, image: Stored[Message]) -> bool:
        """Whether more than half of the cameras that speak have fallen back, to about the time of ``image``.

        One image alone proves nothing, even of the only camera that speaks.
        """
        held = [images for images in self._held.values() if images]
        agreed = [images for images in held if abs(images[-1].stamp_ns - image.stamp_ns) <= BACKWARD_JUMP_NS]
        speaking = sum(image.arrival_s - spoken_s <= self._timeout_s for spoken_s in self._spoken_s.values())
        return 2 * len(agreed) > speaking and sum(map(len, agreed)) > 1

    def _store(self, camera: str, image: Stored[Message]) -> bool:
        """Keep an image for its set, if it has a place in one. A camera that speaks in order again was late before."""
        self._drop_held(camera, len(self._held[camera]))
        buffer = self._buffers[camera]
        if buffer and image.stamp_ns < buffer[-1].stamp_ns - BACKWARD_JUMP_NS:
            # A stray stamp of this camera alone: what the others and the last set say still holds.
            self._drop_later(camera, image.stamp_ns + BACKWARD_JUMP_NS)
        if self._refuse(camera, image.stamp_ns):
            return False
        self._keep(camera, image)
        return True

    def _keep(self, camera: str, image: Stored[Message]) -> None:
        insort(self._buffers[camera], image, key=_stamp)
        self._recent[camera].append((image.stamp_ns, image.arrival_s))

    def _drop_later(self, camera: str, limit_ns: int) -> None:
        """Drop what waits of a camera from ``limit_ns`` on, and forget that it came."""
        buffer, recent = self._buffers[camera], self._recent[camera]
        keep = bisect_left(buffer, limit_ns, key=_stamp)
        later = len(buffer) - keep
        del buffer[keep:]
        self._account.drop("image_time_jump", later)
        self._recent[camera] = deque((seen for seen in recent if seen[0] < limit_ns), recent.maxlen)

    def clear(self, cause: str) -> None:
        """Drop all that waits."""
        for camera, buffer in self._buffers.items():
            self._drop(camera, len(buffer), cause)
            self._account.drop(cause, len(self._held[camera]))
            self._held[camera].clear()

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
        return not has_later and self._is_heard(camera, now_s)

    def _is_heard(self, camera: str, now_s: float) -> bool:
        return now_s - self._heard_s[camera] < self._timeout_s

    def _hear(self, camera: str, image: Stored[Message]) -> None:
        """Note an image that is in time.

        Cameras that never spoke are given their time from the first image of any on; a pause of all is nobody's.
        """
        if not self._spoken_s:
            self._heard_s = dict.fromkeys(self._buffers, image.arrival_s)
        pause_s = image.arrival_s - max(self._spoken_s.values(), default=image.arrival_s)
        if pause_s >= self._timeout_s:
            self._heard_s = {other: heard_s + pause_s for other, heard_s in self._heard_s.items()}
        self._spoken_s[camera] = image.arrival_s
        if self._is_in_time(camera, image):
            self._heard_s[camera] = image.arrival_s

    def _is_in_time(self, camera: str, image: Stored[Message]) -> bool:
        """Whether it is worth waiting for images as far behind as this one.

        It is unless most of the other cameras that are heard have passed it, or too many for a set.
        """
        others = [other for other in self._buffers if other != camera and self._is_heard(other, image.arrival_s)]
        passed = sum(self._has_passed(other, image) for other in others)
        return 2 * passed <= len(others) and passed <= len(self._buffers) - self._min_cameras

    def _has_passed(self, other: str, image: Stored[Message]) -> bool:
        """Whether the other camera's image of that time would have waited too long: it has overflowed or timed out."""
        recent = self._recent[other]
        if len(recent) == recent.maxlen and recent[0][0] > image.stamp_ns + self._max_spread_ns:
            return True
        partners_s = (seen_s for stamp_ns, seen_s in recent if stamp_ns >= image.stamp_ns - self._max_spread_ns)
        return image.arrival_s - next(partners_s, image.arrival_s) >= self._timeout_s

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
