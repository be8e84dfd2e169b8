"""Read the images of a job ahead of the network, in order, in a few threads and in bounded memory."""

import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, Full, Queue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.images import case_image_size, read_case_image
from delineate.data.volumes import is_volume, slice_ids, volume_spacing
from delineate.inference.job.archives import Extractor
from delineate.inference.job.sources import Unit, count_images
from delineate.inference.predictor import Picture, Predictor

READERS = 3
AHEAD_IMAGES, AHEAD_BYTES = 32, 2**29
"""What may wait for the network at most, in decoded images; one image always may."""
_POLL_SECONDS = 0.1


class Image(NamedTuple):
    """An image that was read."""

    case: Case
    pixels: NDArray[np.uint8]
    """RGB (H, W, 3), at the size of the file."""
    picture: Picture
    """What the network gets."""


@dataclass
class Source:
    """A file that is being predicted."""

    unit: Unit
    scratch: Path | None = None
    """Folder that holds its copy while it is needed; None for a file that lies open."""
    fault: str | None = None
    """Why it was given up."""
    path: Path = field(default_factory=Path)

    def sentence(self, error: Exception) -> str:
        """What went wrong, with the name that the user knows in place of the copy's."""
        return str(error).replace(str(self.path), self.unit.file)

    def forget(self) -> None:
        """Remove the copy."""
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)


class EndOfFile(NamedTuple):
    """All images of a file were handed out."""

    source: Source


class EndOfGroup(NamedTuple):
    """All files of a group were handed out."""

    sources: list[Source]


class Waiting(NamedTuple):
    """An image that is being read."""

    source: Source
    image: "Future[Image]"
    bytes: int


Event = Waiting | EndOfFile | EndOfGroup


class Reader:
    """Reads the files of groups; iterate over what happens, in order.

    Args:
        predictor: knows how images are to be read.
        groups: the files.
        scratch: folder for copies of files that lie in archives.
        spacing: millimetres per pixel of all images, or None.
    """

    def __init__(
        self,
        predictor: Predictor,
        groups: Iterable[list[Unit]],
        scratch: Path,
        spacing: tuple[float, float] | None,
    ) -> None:
        self._predictor, self._groups, self._scratch, self._spacing = predictor, groups, scratch, spacing
        self._events: Queue[Event | BaseException | None] = Queue(AHEAD_IMAGES)
        self._stop = threading.Event()
        self._ahead = 0
        self._room = threading.Condition()
        self._pool = ThreadPoolExecutor(READERS, "reader")
        self._thread = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Event]:
        while (event := self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    def take(self, waiting: Waiting) -> Image:
        """Wait for an image; it no longer counts as read ahead.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return waiting.image.result()
        finally:
            with self._room:
                self._ahead -= waiting.bytes
                self._room.notify()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        while self._thread.is_alive():
            with suppress(Empty):  # the feeder may wait for room
                self._events.get(timeout=_POLL_SECONDS)
        self._pool.shutdown(cancel_futures=True)

    def _feed(self) -> None:
        extractor = Extractor()
        try:
            for number, group in enumerate(self._groups):
                sources = []
                for position, unit in enumerate(group):
                    source = Source(unit, path=Path(unit.file))
                    sources.append(source)
                    try:
                        if unit.member is not None:
                            source.scratch = self._scratch / f"{number}-{position}"
                            source.scratch.mkdir(parents=True)
                            source.path = source.scratch / unit.name
                            extractor.extract(unit.member, source.path)
                        cases = list(_cases(unit, source.path, self._spacing))
                    except InputError as error:
                        source.fault = source.sentence(error)
                        cases = []
                    for case in cases:
                        self._read_ahead(source, case)
                    self._put(EndOfFile(source))
                self._put(EndOfGroup(sources))
            self._put(None)
        except _StoppedError:
            pass
        except BaseException as error:  # raised again where the events are read
            self._put_last(error)
        finally:
            extractor.close()

    def _read_ahead(self, source: Source, case: Case) -> None:
        try:
            height, width = case_image_size(case)
        except InputError:
            height = width = 0  # reading it says the same
        needed = 3 * height * width
        with self._room:
            while self._ahead and self._ahead + needed > AHEAD_BYTES:
                self._room.wait(_POLL_SECONDS)
                if self._stop.is_set():
                    raise _StoppedError
            self._ahead += needed
        self._put(Waiting(source, self._pool.submit(self._read, case), needed))

    def _read(self, case: Case) -> Image:
        picture = self._predictor.open(case)
        shown = picture.source if isinstance(picture.source, Case) else case  # with the window of training
        whole = picture.pixels.shape[:2] == tuple(picture.size)
        return Image(case, picture.pixels if whole else read_case_image(shown), picture)

    def _put(self, event: Event | None) -> None:
        while not self._stop.is_set():
            try:
                self._events.put(event, timeout=_POLL_SECONDS)
                return
            except Full:
                continue
        raise _StoppedError

    def _put_last(self, error: BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._events.put(error, timeout=_POLL_SECONDS)
                return
            except Full:
                continue


class _StoppedError(Exception):
    """Nobody waits for images any more."""


def _cases(unit: Unit, path: Path, spacing: tuple[float, float] | None) -> Iterator[Case]:
    """The pictures in a file.

    Raises:
        InputError: its header is damaged.
    """
    case = Case(unit.id, path, spacing=spacing)
    if spacing is None and is_volume(path):
        case = replace(case, spacing=volume_spacing(path))
    for case_id, position in slice_ids(unit.id, count_images(path)):
        yield replace(case, id=case_id, slice=position)
