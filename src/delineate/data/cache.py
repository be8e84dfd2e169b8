"""On-disk cache of decoded and resized images and masks that can never be stale.

An entry's name tells everything that its pixels depend on: the SHA-256 of the source files, slice and window,
the mask's encoding, the size and the format version. A changed source is therefore another entry. Hashing the
sources at every access is saved by what `FileHashes` remembers about files at rest.

Several processes may fill one cache: while one decodes a case, it holds a lock on a file that stands for that
case, and the others pass on to the next case and look again at the end.

Images are resized with Pillow's bilinear filter, which averages over the whole footprint of a target pixel
when it makes an image smaller; masks take the nearest pixel. Large JPEG images are decoded at a reduced scale
that is still at least twice the target (see `read_case_image`). Without a cache the same two functions,
`sized_image` and `sized_mask`, give the same bits.
"""

import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.entries import Entries, bytes_on_disk
from delineate.data.hashes import FileHashes, keeps_changing
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.locks import claim
from delineate.data.volumes import is_volume

Size = tuple[int, int]
Progress = Callable[[int, int], None]
_T = TypeVar("_T")
_R = TypeVar("_R")

_SPARE_BYTES = 64 * 2**20
_SAVING_SECONDS = 30.0
_PATIENCE_SECONDS = 60.0  # a process that was stopped while it held a claim must not stop the others
_CHUNK = 64
_ATTEMPTS = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What filling a cache takes, at most: files never read before may turn out to be copies of others."""

    bytes: int
    """Bytes on disk, counted in blocks of 4 KiB."""
    entries: int
    """Number of images and masks to decode."""
    folder: Path
    """Where the cache lies."""

    def __str__(self) -> str:
        return f"{self.entries} images and masks, at most {_amount(self.bytes)}, in {self.folder}"


def resize_image(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to `size` = (height, width), averaging when it gets smaller."""
    if image.shape[:2] == size:
        return image
    height, width = size
    # Across, then down: Pillow 13 turns the order round for some shapes, and with it how values are rounded.
    across = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.array(across.resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize an (H, W) uint8 index map to `size` = (height, width) by the nearest pixel; no new values."""
    if mask.shape == size:
        return mask
    height, width = size
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def sized_image(case: Case, size: Size, *, data: bytes | None = None) -> NDArray[np.uint8]:
    """Read and resize the image of a case, (H, W, 3) uint8 RGB at `size` = (height, width).

    Args:
        case: the case.
        size: (height, width).
        data: the image file's bytes when they are already in memory.

    Raises:
        InputError: the image cannot be read (as `read_case_image`).
    """
    return resize_image(read_case_image(case, data=data, reduce_to=size), size)


def sized_mask(case: Case, size: Size) -> NDArray[np.uint8]:
    """Read and resize the mask of a case, (H, W) uint8 class indices at `size` = (height, width).

    Raises:
        InputError: the case has no mask or it cannot be read (as `read_case_mask`).
    """
    return resize_mask(read_case_mask(case), size)


def default_folder() -> Path:
    """The folder named by DELINEATE_CACHE, else the user's cache folder (XDG_CACHE_HOME, `~/.cache`)."""
    if named := os.environ.get("DELINEATE_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "delineate"


class Cache:
    """A cache folder; safe to share between threads, processes and data sets.

    Args:
        folder: where entries lie; None for `default_folder()`.

    Raises:
        InputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        self._check_writable()
        self._entries = Entries(self.folder)
        self._hashes = FileHashes(self.folder / "index.json")

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes, without reading them when the file is surely the same as before.

        Raises:
            InputError: the file is missing or cannot be read.
        """
        return self._hashes.digest(path)

    def image(self, case: Case, size: Size) -> NDArray[np.uint8]:
        """Image of a case at `size` = (height, width), (H, W, 3) uint8 RGB, read-only.

        Raises:
            InputError: the image cannot be read (as `read_case_image`) or the entry not written.
        """
        return self._image(case, size)[0]

    def mask(self, case: Case, size: Size) -> NDArray[np.uint8]:
        """Index map of a case at `size` = (height, width), (H, W) uint8, read-only.

        Raises:
            InputError: there is no mask, it cannot be read (as `read_case_mask`) or the entry not written.
        """
        return self._mask(case, size)[0]

    def plan(self, cases: Sequence[Case], size: Size, *, workers: int | None = None) -> Plan:
        """Say what `prepare` has to make, without reading files that were not read before.

        Args:
            cases: what to decode.
            size: (height, width).
            workers: number of threads; None for one per core.

        Raises:
            InputError: a file is missing.
        """
        return self._plan(self._missing(cases, size, workers))

    def prepare(
        self,
        cases: Sequence[Case],
        size: Size,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
        on_plan: Callable[[Plan], None] | None = None,
    ) -> int:
        """Make every entry that is missing, in parallel.

        Threads serve here: Pillow decodes and resizes outside Python's interpreter lock, and threads have
        none of the traps of forking a process that has loaded torch.

        Args:
            cases: what to decode.
            size: (height, width).
            workers: number of threads; None for one per core.
            progress: called with (done, total) from the calling thread after each case that is made.
            on_plan: told what is to be made, before anything is.

        Returns:
            Number of cases for which something was decoded here; other processes may have made more.

        Raises:
            InputError: too little disk space, or the first file that cannot be read; what was finished stays.
        """
        self._entries.sweep()
        missing = self._missing(cases, size, workers)
        plan = self._plan(missing)
        if not self._fits(plan):
            missing = self._missing(cases, size, workers, exact=True)  # worth the reading before a refusal
            plan = self._plan(missing)
            if not self._fits(plan):
                free = shutil.disk_usage(self.folder).free
                raise InputError(
                    f"The cache in {self.folder} needs {_amount(plan.bytes)} but only {_amount(free)} "
                    "are free; free space, set DELINEATE_CACHE to another disk, or set cache: false."
                )
        if on_plan is not None:
            on_plan(plan)
        if plan.entries:
            _log.info("Caching at %dx%d: %s", *size, plan)
        wanted = [case for case, shapes in zip(cases, missing, strict=True) if shapes]
        done = len(cases) - len(wanted)
        built = 0
        try:
            for made in self._build_all(wanted, size, workers):
                built += made
                done += 1
                if progress is not None:
                    progress(done, len(cases))
                self._hashes.save(every=_SAVING_SECONDS)  # so that a kill costs little hashing
        finally:
            self._hashes.save()
        return built

    def _build_all(self, cases: Sequence[Case], size: Size, workers: int | None) -> Iterator[bool]:
        """Whether each case was decoded here; those that somebody else is decoding come last."""
        taken: list[Case] = []
        first = _in_threads(lambda case: (case, self._build(case, size)), cases, workers)
        for case, made in first:
            if made is None:
                taken.append(case)
            else:
                yield made
        again = _in_threads(lambda case: self._build(case, size, _PATIENCE_SECONDS), taken, workers)
        yield from (bool(made) for made in again)

    def _build(self, case: Case, size: Size, patience: float | None = None) -> bool | None:
        """Make the entries of one case: whether any was missing, or None when another process is at it.

        With `patience` it waits that many seconds for the other and then decodes the case itself: doing it
        twice is a waste, never a fault.
        """
        name = f"{os.path.abspath(case.image)} {case.slice} {size}"
        lock = self.folder / "locks" / sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:3]
        with claim(lock, patience=patience or 0.0) as ours:
            if not ours and patience is None:
                return None
            made = self._image(case, size)[1]
            return self._mask(case, size)[1] or made if case.mask is not None else made

    def _image(self, case: Case, size: Size) -> tuple[NDArray[np.uint8], bool]:
        """The image and whether it had to be decoded."""
        path, shape = case.image, (*size, 3)
        if case.slice is not None or is_volume(path):  # read once for many slices, so never as bytes here
            return self._steady(
                (path,),
                lambda digests: _image_name(case, digests[0], size),
                shape,
                lambda: sized_image(case, size),
            )
        known = self._hashes.known(path)
        if known is not None:
            found = self._entries.load(_image_name(case, known, size), shape)
            if found is not None:
                return found, False
        # Hash and pixels come from one reading, so an entry cannot hold other bytes than its name says.
        data, digest = self._hashes.read(path)
        entry = _image_name(case, digest, size)
        if digest != known and (found := self._entries.load(entry, shape)) is not None:
            return found, False
        return self._entries.store(entry, sized_image(case, size, data=data)), True

    def _mask(self, case: Case, size: Size) -> tuple[NDArray[np.uint8], bool]:
        """The mask and whether it had to be decoded."""
        if not case.masks:
            raise InputError(f"Case {case.id!r} has no mask; take a case that has one.")
        return self._steady(
            case.masks, lambda digests: _mask_name(case, digests, size), size, lambda: sized_mask(case, size)
        )

    def _steady(
        self,
        paths: Sequence[Path],
        name: Callable[[Sequence[str]], str],
        shape: tuple[int, ...],
        read: Callable[[], NDArray[np.uint8]],
    ) -> tuple[NDArray[np.uint8], bool]:
        """An entry made of files that stayed the same while they were read, and whether it had to be made."""
        for _ in range(_ATTEMPTS):
            before = [self._hashes.state(path) for path in paths]
            entry = name([digest for digest, _ in before])
            if (found := self._entries.load(entry, shape)) is not None:
                return found, False
            pixels = read()
            if [self._hashes.state(path) for path in paths] == before:
                return self._entries.store(entry, pixels), True
        raise keeps_changing(paths[0])

    def _missing(
        self, cases: Sequence[Case], size: Size, workers: int | None, *, exact: bool = False
    ) -> list[list[tuple[int, ...]]]:
        """Shapes of the entries that each case lacks; without `exact` also those of files not hashed yet."""
        digest = self._hashes.digest if exact else self._hashes.known

        def lacking(case: Case) -> list[tuple[int, ...]]:
            found = digest(case.image)
            entries = [None if found is None else _image_name(case, found, size)]
            if case.masks:
                digests = [name for path in case.masks if (name := digest(path)) is not None]
                entries.append(_mask_name(case, digests, size) if len(digests) == len(case.masks) else None)
            return [
                shape
                for entry, shape in zip(entries, _shapes(case, size), strict=True)
                if entry is None or not self._entries.has(entry, shape)
            ]

        chunks = [cases[start : start + _CHUNK] for start in range(0, len(cases), _CHUNK)]
        return _flat(_in_threads(lambda chunk: [lacking(case) for case in chunk], chunks, workers))

    def _plan(self, missing: Iterable[Sequence[tuple[int, ...]]]) -> Plan:
        shapes = _flat(missing)
        return Plan(sum(map(bytes_on_disk, shapes)), len(shapes), self.folder)

    def _fits(self, plan: Plan) -> bool:
        return not plan.entries or plan.bytes + _SPARE_BYTES <= shutil.disk_usage(self.folder).free

    def _check_writable(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe-{os.getpid()}-{threading.get_ident()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"The cache folder {self.folder} cannot be written to ({error.strerror}); "
                "set DELINEATE_CACHE to another folder, or switch the cache off with cache: false."
            ) from error


def _image_name(case: Case, digest: str, size: Size) -> str:
    window = None if case.window is None else tuple(map(float, case.window))
    return f"image {digest} {case.slice} {window} {size} bilinear"


def _mask_name(case: Case, digests: Sequence[str], size: Size) -> str:
    rule = case.encoding
    meaning = (len(rule.classes), rule.values, rule.background, rule.threshold)
    return f"mask {' '.join(digests)} {case.slice} {size} nearest {meaning}"


def _shapes(case: Case, size: Size) -> list[tuple[int, ...]]:
    """Shapes of the entries of a case: the image and, when there is one, the mask."""
    return [(*size, 3)] if case.mask is None else [(*size, 3), size]


def _in_threads(function: Callable[[_T], _R], items: Iterable[_T], workers: int | None) -> Iterator[_R]:
    """Results in order; a few tasks per thread wait at any time, whatever the number of items."""
    count = max(1, os.cpu_count() or 1) if workers is None else max(1, workers)
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _flat(nested: Iterable[Iterable[_T]]) -> list[_T]:
    return list(chain.from_iterable(nested))


def _amount(bytes_: int) -> str:
    """Rounded up, so that little is not nothing."""
    return f"{-(-bytes_ // 2**20)} MiB" if bytes_ < 10 * 2**30 else f"{-(-bytes_ // 2**30)} GiB"
