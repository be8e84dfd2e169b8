"""The files of the cache: one `.npy` file per entry, there and whole, or not there.

Entries are written beside their place and moved there, so a killed process leaves no half entry. They are
read through the operating system's page cache (memory-mapped), which keeps them while there is room and never
fills memory up.
"""

import functools
import io
import math
import os
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from delineate.files import atomic_path

FORMAT = 3
"""Raise it when decoding or resizing changes, so that no old entry is used."""
_LEFTOVER_SECONDS = 3600


class Entries:
    """Arrays of uint8 by name, in a folder that threads and processes may share.

    Args:
        folder: where entries lie, in a folder of their own for each `FORMAT`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"v{FORMAT}"

    def has(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether an entry is there, whole and of this shape."""
        try:
            with self._path(name).open("rb") as file:
                return _is_whole(file, shape)
        except OSError:
            return False

    def load(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
        """Map an entry into memory, read-only; None when it is absent, cut short or of another shape."""
        try:
            with self._path(name).open("rb") as file:
                if not _is_whole(file, shape):
                    return None
                return np.memmap(file, np.uint8, mode="r", offset=len(_header(shape)), shape=shape)
        except (OSError, ValueError):
            return None

    def store(self, name: str, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Write an entry and return `pixels`, made read-only.

        Raises:
            InputError: the entry cannot be written.
        """
        with atomic_path(self._path(name)) as temporary:
            np.save(temporary, np.ascontiguousarray(pixels), allow_pickle=False)
        pixels.setflags(write=False)
        return pixels

    def sweep(self) -> None:
        """Remove temporary files that a killed process left; young ones may belong to a living one."""
        for path in self._folder.glob("*/.*.npy"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()

    def _path(self, name: str) -> Path:
        digest = sha256(f"{FORMAT} {name}".encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest}.npy"


def bytes_on_disk(shape: tuple[int, ...]) -> int:
    """Bytes that an entry of this shape takes on disk, counted in blocks of 4 KiB."""
    return -(-(len(_header(shape)) + math.prod(shape)) // 4096) * 4096


@functools.cache
def _header(shape: tuple[int, ...]) -> bytes:
    """The beginning of an entry, which `numpy.save` writes the same way every time."""
    file = io.BytesIO()
    content = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, content)
    return file.getvalue()


def _is_whole(file: BinaryIO, shape: tuple[int, ...]) -> bool:
    """Whether an open entry has the right header and length; `numpy.load` parses the header each time."""
    header = _header(shape)
    if os.fstat(file.fileno()).st_size != len(header) + math.prod(shape):
        return False
    return file.read(len(header)) == header
