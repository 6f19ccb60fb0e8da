"""Images on their way to pixels, on threads of their own: several at once, and none on the executor's thread."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.ros.convert import Decoded, decoded


class Decoding:
    """One image message, and its pixels once someone has begun to decode them. One thread after the other may ask."""

    def __init__(self, message: Image | CompressedImage, pool: ThreadPoolExecutor, needed: ModelConfig | None) -> None:
        self._message = message
        self._pool = pool
        self._needed = needed
        self._begun: Future[Decoded] | None = None

    @property
    def header(self) -> Header:
        """The message's."""
        return self._message.header

    def begin(self) -> Future[Decoded]:
        """Decode as soon as a thread is free, unless that was begun before."""
        if self._begun is None:
            self._begun = self._pool.submit(decoded, self._message, self._needed)
        return self._begun

    def result(self) -> Decoded:
        """The image, waited for; raises BadInputError as `convert.decoded`."""
        return self.begin().result()


class ImageDecoder:
    """The threads, one a core, until `close`.

    needed: the network whose image size JPEGs are decoded for, as `convert.decoded`; None: they are decoded in full.
    """

    def __init__(self, needed: ModelConfig | None) -> None:
        self._needed = needed
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def take(self, message: Image | CompressedImage) -> Decoding:
        """The image, not begun."""
        return Decoding(message, self._pool, self._needed)

    def close(self) -> None:
        """Begin nothing more, and wait for what is in work; nobody may wait for a result any more."""
        self._pool.shutdown(cancel_futures=True)
