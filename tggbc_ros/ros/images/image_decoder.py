"""Images on their way to pixels, on threads of their own: several at once, and none on the executor's thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from std_msgs.msg import Header

from tggbc_ros.ros.images.pictures import Message, Picture

Make = Callable[[str, Message], Picture]


class Decoding:
    """One camera's message, and its picture once someone has begun it. One thread after the other may ask."""

    def __init__(self, camera: str, message: Message, pool: ThreadPoolExecutor, make: Make) -> None:
        self._camera = camera
        self._message = message
        self._pool = pool
        self._make = make
        self._begun: Future[Picture] | None = None

    @property
    def kind(self) -> type[Message]:
        """The message's type."""
        return type(self._message)

    @property
    def header(self) -> Header:
        """The message's."""
        return self._message.header

    def begin(self) -> Future[Picture]:
        """Decode as soon as a thread is free, unless that was begun before."""
        if self._begun is None:
            self._begun = self._pool.submit(self._make, self._camera, self._message)
        return self._begun

    def result(self) -> Picture:
        """The picture, waited for; raises what making it raised, every time it is asked for."""
        return self.begin().result()


class ImageDecoder:
    """The threads, one a core, until `close`. make: what they do with a camera's message, as `Pictures.make`."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def take(self, camera: str, message: Message) -> Decoding:
        """The image, not begun."""
        return Decoding(camera, message, self._pool, self._make)

    def close(self) -> None:
        """Begin nothing more, and wait for what is in work; nobody may wait for a result any more."""
        self._pool.shutdown(cancel_futures=True)
