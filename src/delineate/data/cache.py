"""On-disk cache of decoded and resized images and masks that can never be stale.

An entry's name is the SHA-256 of the source's bytes, the size, the way of decoding and resizing and the
format version, so a changed source is another entry. Hashing a source at every access would cost as much as
decoding a small one; its SHA-256 is therefore remembered together with size, mtime, ctime, inode and device,
and believed only while all of them are unchanged and the file was at rest when it was hashed (as git does
for its index, see "racy git"): a file changed less than two seconds before may change again without a
visible sign.

Entries are raw `.npy` files, written beside their place and moved there, so two processes may fill one cache
and a killed one leaves no half entry. They are read through the operating system's page cache
(memory-mapped), which keeps them in memory while there is room and never fills it up.

Images are resized with Pillow's bilinear filter, which averages over the whole footprint of a target pixel
when it makes an image smaller; masks take the nearest pixel. JPEG is always decoded in full: Pillow's draft
mode would be faster, but it changes grey levels, and it is paid for only once.
"""

import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import read_image, read_mask
from delineate.files import atomic_path, sha256_of, write_json

Size = tuple[int, int]
Progress = Callable[[int, int], None]

FORMAT = 1
"""Raise it when decoding or resizing changes, so that no old entry is used."""
RACY_NS = 2_000_000_000
"""How long a file must be at rest before its stamp is believed: the coarsest file time in use (FAT)."""
_SPARE_BYTES = 64 * 2**20
_LEFTOVER_SECONDS = 3600
_log = logging.getLogger(__name__)


class _Stamp(NamedTuple):
    """What a file's status says, and the SHA-256 it had at that time."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    hashed_ns: int
    sha256: str


def resize_image(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to `size` = (height, width), averaging when it gets smaller."""
    if image.shape[:2] == size:
        return image
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize an (H, W) uint8 index map to `size` = (height, width) by the nearest pixel; no new values."""
    if mask.shape == size:
        return mask
    height, width = size
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def default_folder() -> Path:
    """The folder named by DELINEATE_CACHE, else the user's cache folder (XDG_CACHE_HOME, `~/.cache`)."""
    if named := os.environ.get("DELINEATE_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "delineate"


def estimate(cases: Sequence[Case], size: Size) -> int:
    """Bytes on disk that a full cache of these cases takes, counted in blocks of 4 KiB."""
    height, width = size
    masks = sum(case.mask is not None for case in cases)
    return len(cases) * _on_disk(height * width * 3) + masks * _on_disk(height * width)


class Cache:
    """A cache folder; safe to share between threads, processes and data sets.

    Args:
        folder: where entries lie; None for `default_folder()`.

    Raises:
        InputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        self._index_path = self.folder / "index.json"
        self._stamps: dict[str, _Stamp] = {}
        self._lock = threading.Lock()
        self._check_writable()
        self._stamps = self._read_index()

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}  # for worker processes

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes, without reading them when the file is surely the same as before.

        Raises:
            InputError: the file is missing or cannot be read.
        """
        key = os.path.abspath(path)
        try:
            for _ in range(5):
                before = _status(path)
                known = self._stamps.get(key)
                if known is not None and known[:5] == before and known.ctime_ns + RACY_NS <= known.hashed_ns:
                    return known.sha256
                hashed_ns = time.time_ns()
                digest = sha256_of(Path(path))
                if _status(path) == before:  # else it was written to meanwhile
                    with self._lock:
                        self._stamps[key] = _Stamp(*before, hashed_ns, digest)
                    return digest
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
        raise InputError(f"{path} keeps changing while it is read; wait until it is written.")

    def image(self, path: Path, size: Size) -> NDArray[np.uint8]:
        """Image at `size` = (height, width), (H, W, 3) uint8 RGB, read-only.

        Raises:
            InputError: the image cannot be read (as `read_image`) or the entry not written.
        """
        found = _load(self._image_entry(self.digest(path), size), (*size, 3))
        if found is not None:
            return found
        # Hash and pixels come from one reading, so an entry cannot hold other bytes than its name says.
        data = _bytes_of(path)
        array = resize_image(read_image(path, data=data), size)
        return _store(self._image_entry(sha256(data).hexdigest(), size), array)

    def mask(self, path: Path, encoding: MaskEncoding, size: Size) -> NDArray[np.uint8]:
        """Index map at `size` = (height, width), (H, W) uint8, read-only.

        Raises:
            InputError: the mask cannot be read (as `read_mask`) or the entry not written.
        """
        found = _load(self._mask_entry(self.digest(path), encoding, size), size)
        if found is not None:
            return found
        data = _bytes_of(path)
        array = resize_mask(read_mask(path, encoding, data=data), size)
        return _store(self._mask_entry(sha256(data).hexdigest(), encoding, size), array)

    def prepare(
        self,
        cases: Sequence[Case],
        size: Size,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Make every entry that is missing, in parallel.

        Threads serve here: Pillow decodes and resizes outside Python's interpreter lock, and threads have
        none of the traps of forking a process that has loaded torch.

        Args:
            cases: what to decode.
            size: (height, width).
            workers: number of threads; None for one per core.
            progress: called with (done, total) from the calling thread after each case.

        Returns:
            Number of cases for which something was decoded.

        Raises:
            InputError: too little disk space, or the first file that cannot be read; what was finished stays.
        """
        free = shutil.disk_usage(self.folder).free
        self._sweep()
        needed = sum(_on_disk(missing) for missing in self._missing_bytes(cases, size, workers))
        if needed + _SPARE_BYTES > free:
            raise InputError(
                f"The cache in {self.folder} needs {_megabytes(needed)} but only {_megabytes(free)} "
                "are free; free space, set DELINEATE_CACHE to another disk, or set cache: false."
            )
        if needed:
            _log.info(
                "Caching %d cases at %dx%d: %s in %s", len(cases), *size, _megabytes(needed), self.folder
            )
        built = 0
        with _pool(workers) as pool:
            try:
                for done, made in enumerate(pool.map(lambda case: self._build(case, size), cases), start=1):
                    built += made
                    if progress is not None:
                        progress(done, len(cases))
            finally:
                pool.shutdown(cancel_futures=True)
                self.save_index()
        return built

    def save_index(self) -> None:
        """Write what is known about the sources, together with what another process wrote meanwhile."""
        with self._lock:
            merged = self._read_index() | self._stamps
            files = {path: list(stamp) for path, stamp in merged.items()}
            write_json(self._index_path, {"format": FORMAT, "files": files})

    def _build(self, case: Case, size: Size) -> bool:
        missing = self._missing_of(case, size)
        if any(missing):
            self.image(case.image, size)
            if case.mask is not None:
                self.mask(case.mask, case.encoding, size)
        return any(missing)

    def _missing_bytes(self, cases: Sequence[Case], size: Size, workers: int | None) -> list[int]:
        with _pool(workers) as pool:
            missing = pool.map(lambda case: self._missing_of(case, size), cases)
            return [bytes_ for entry in missing for bytes_ in entry]

    def _missing_of(self, case: Case, size: Size) -> list[int]:
        """Bytes of pixels of the entries that a case lacks."""
        height, width = size
        missing = []
        if _load(self._image_entry(self.digest(case.image), size), (*size, 3)) is None:
            missing.append(height * width * 3)
        if case.mask is not None:
            entry = self._mask_entry(self.digest(case.mask), case.encoding, size)
            if _load(entry, size) is None:
                missing.append(height * width)
        return missing

    def _image_entry(self, digest: str, size: Size) -> Path:
        return self._entry(f"image {digest} {size} bilinear")

    def _mask_entry(self, digest: str, encoding: MaskEncoding, size: Size) -> Path:
        rule = (encoding.values, encoding.background, encoding.threshold)
        return self._entry(f"mask {digest} {size} nearest {rule}")

    def _entry(self, content: str) -> Path:
        name = sha256(f"{FORMAT} {content}".encode()).hexdigest()
        return self.folder / f"v{FORMAT}" / name[:2] / f"{name}.npy"

    def _read_index(self) -> dict[str, _Stamp]:
        """What the index knows; a damaged one is worth as much as none, it only costs hashing again."""
        try:
            content = json.loads(self._index_path.read_text(encoding="utf-8"))
            files = content["files"] if content["format"] == FORMAT else {}
            return {path: stamp for path, raw in files.items() if (stamp := _stamp(raw)) is not None}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

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

    def _sweep(self) -> None:
        """Remove temporary files that a killed process left; young ones may belong to a living one."""
        for path in self.folder.glob(f"v{FORMAT}/*/.*.npy"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()


def _load(entry: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Map an entry into memory; None when it is absent, cut short or of another shape."""
    try:
        array = np.load(entry, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.dtype == np.uint8 and array.shape == shape else None


def _store(entry: Path, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with atomic_path(entry) as temporary:
        np.save(temporary, array, allow_pickle=False)
    array.setflags(write=False)
    return array


def _bytes_of(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def _status(path: Path) -> tuple[int, int, int, int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _stamp(raw: object) -> _Stamp | None:
    if not isinstance(raw, list) or len(raw) != 7 or not all(type(number) is int for number in raw[:6]):
        return None
    return _Stamp(*raw) if isinstance(raw[6], str) and re.fullmatch("[0-9a-f]{64}", raw[6]) else None


def _pool(workers: int | None) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, os.cpu_count() or 1) if workers is None else max(1, workers))


def _on_disk(bytes_: int) -> int:
    return -(-(bytes_ + 128) // 4096) * 4096  # 128 bytes of .npy header


def _megabytes(bytes_: int) -> str:
    return f"{bytes_ / 2**20:.0f} MiB"
