"""Axial slices of NIfTI volumes, shown as radiologists do.

A volume is turned to the closest canonical orientation (RAS+: the axes run to the patient's right, front and
head). Slice k lies across the third axis, 0 nearest to the feet; the picture shows the front of the body on
top and the patient's right side on the left. A header without an orientation counts as nibabel counts it.

Cases are single slices, but a compressed file can only be read from its beginning: the last few volumes stay
decompressed in memory, at most `KEPT_BYTES` in each process.
"""

import gzip
import math
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.data.opening import check_not_empty, check_pixels, naming_faults, to_8_bits

ENDINGS = (".nii", ".nii.gz")
"""Endings of NIfTI files, in lower case."""

KEPT_BYTES = 2**30
"""Decompressed volumes that a process keeps at most; a larger single one is kept until the next is read."""

MAX_VOLUME_BYTES = 2**33
"""Largest volume that is decompressed, as a guard against headers that lie."""

_REMEDY = "copy it again or convert it again from its source"
_MOST_COMPRESSION = 1040  # deflate cannot do better than 1032 to 1
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


class Geometry(NamedTuple):
    """What the header says about the slices."""

    slices: int
    """Number of axial slices."""
    height: int
    """Pixels from the front to the back of the body."""
    width: int
    """Pixels from the patient's right to the left."""
    spacing: tuple[float, float] | None
    """Millimetres per pixel, (row, column), or None when the header has none."""


@dataclass
class _Volume:
    """A volume in memory; unscaled, so that 16 bits stay 16 bits."""

    slices: NDArray
    """(slices, height, width) file values, as shown."""
    slope: float
    intercept: float
    calibrated: tuple[float, float] | None
    """The header's own window."""

    @property
    def is_scaled(self) -> bool:
        return (self.slope, self.intercept) != (1.0, 0.0)

    @cached_property
    def shown(self) -> tuple[float, float]:
        """The grey values that become 0 and 255 without another window."""
        if self.calibrated is not None:
            return self.calibrated
        if self.slices.dtype == np.uint8 and not self.is_scaled:
            return 0.0, 255.0
        voxels = self.slices
        if voxels.dtype.kind == "f":
            voxels = voxels[np.isfinite(voxels)]
        ends = [float(end) * self.slope + self.intercept for end in (voxels.min(), voxels.max())]
        return min(ends), max(ends)


def geometry(path: Path) -> Geometry:
    """Read size and spacing of the slices from the header, without decompressing the volume.

    Raises:
        InputError: the file is missing or damaged, holds colours, complex numbers or several volumes, or its
            orientation is not given.
    """
    with naming_faults(path, _REMEDY):
        check_not_empty(path)
        return _geometry(_header_of(path), path)[0]


def read_slice(path: Path, position: int, window: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Read one slice as 8-bit grey.

    The window is the one given, else the header's `cal_min` and `cal_max` when they are set, else the
    smallest and largest value of the whole volume; unsigned 8-bit volumes without scaling stay as they are.

    Args:
        path: the .nii or .nii.gz file.
        position: of the slice, from 0.
        window: grey values (after the header's scaling) that become 0 and 255.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: as `geometry`, or there is no such slice, or it holds NaN or infinite values.
    """
    with naming_faults(path, _REMEDY):
        volume = _kept().get(path)
        values = _values(volume, path, position)
        return to_8_bits(values, volume.shown if window is None else window)


def read_mask_slice(path: Path, position: int) -> NDArray[np.uint8]:
    """Read one slice of a volume of class values.

    Returns:
        (H, W) uint8, the values after the header's scaling.

    Raises:
        InputError: as `read_slice`, or the slice holds anything but whole numbers from 0 to 255.
    """
    with naming_faults(path, _REMEDY):
        values = _values(_kept().get(path), path, position)
    if values.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 255 or (values != np.rint(values)).any():
            raise InputError(
                f"{path}, slice {position}, holds values from {low:g} to {high:g}, but a mask holds whole "
                "numbers from 0 to 255; save the mask again without interpolation."
            )
    return values.astype(np.uint8)


def _values(volume: _Volume, path: Path, position: int) -> NDArray:
    """The (H, W) grey values of a slice, scaled, contiguous."""
    if not 0 <= position < len(volume.slices):
        raise InputError(
            f"{path} has {len(volume.slices)} slices, numbered from 0, so there is no slice {position}; "
            "correct the case."
        )
    values = np.array(volume.slices[position], order="C")
    if not np.isfinite(values).all():
        raise InputError(
            f"{path}, slice {position}, holds NaN or infinite values; replace them by a grey value, "
            "such as that of air, first."
        )
    return values * np.float64(volume.slope) + volume.intercept if volume.is_scaled else values


class _Kept:
    """The volumes that were read last, shared by the threads of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._volumes: OrderedDict[tuple, _Volume] = OrderedDict()

    def get(self, path: Path) -> _Volume:
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        key = (os.fspath(path.absolute()), *stamp)
        with self._lock:  # also while reading: two threads shall not decompress one volume twice
            if key in self._volumes:
                self._volumes.move_to_end(key)
                return self._volumes[key]
            volume = _read_volume(path)
            self._volumes[key] = volume
            while (
                len(self._volumes) > 1 and sum(v.slices.nbytes for v in self._volumes.values()) > KEPT_BYTES
            ):
                self._volumes.popitem(last=False)
            return volume

    def forget(self, path: Path) -> None:
        name = os.fspath(path.absolute())
        with self._lock:
            for key in [key for key in self._volumes if key[0] == name]:
                del self._volumes[key]


_KEPT: list[_Kept] = []


def _kept() -> _Kept:
    """The store of this process; a fork gets its own, since the lock may have been held when it was made."""
    if not _KEPT or _KEPT[0].process != os.getpid():
        _KEPT[:] = [_Kept()]
    return _KEPT[0]


def forget(path: Path) -> None:
    """Let go of a volume that was read; for files that will not be read again."""
    _kept().forget(path)


def _header_of(path: Path) -> Any:
    """The header alone, of NIfTI-1 or NIfTI-2; not by `nibabel.load`, which reads other formats too."""
    nibabel = require("nibabel", "nifti")
    with gzip.open(path) if _is_packed(path) else path.open("rb") as stream:
        start = stream.read(540)
    newer = 540 in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))
    if len(start) < (540 if newer else 348):
        raise InputError(f"{path} is too short for a NIfTI file; {_REMEDY}.")
    header = nibabel.Nifti2Header(start) if newer else nibabel.Nifti1Header(start[:348])
    if not bytes(header["magic"]).startswith((b"n+1", b"n+2")):
        raise InputError(f"{path} is not a single-file NIfTI volume; convert it to .nii or .nii.gz.")
    return header


def _geometry(header: Any, path: Path) -> tuple[Geometry, NDArray]:
    """What the header says, and the orientation that turns the file's axes to canonical ones."""
    nibabel = require("nibabel", "nifti")
    shape = _shape(header, path)
    if header.get_data_dtype().kind not in "iuf":
        raise InputError(
            f"{path} holds {header.get_value_label('datatype')} voxels, but a picture is made of grey "
            "values; convert it to a whole-number or floating-point type."
        )
    affine = header.get_best_affine()
    orientation = nibabel.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(orientation).any():
        raise InputError(f"{path} has a header from which its orientation cannot be told; {_REMEDY}.")
    axes = np.argsort(orientation[:, 0])  # file axis of the canonical x, y and z
    width, height, slices = (shape[axis] for axis in axes)
    check_pixels(path, height, width)

    zooms = [*(float(zoom) for zoom in header.get_zooms()[:3]), 0.0]  # a flat picture has no third
    unit = _MILLIMETRES.get(header.get_xyzt_units()[0], math.nan)
    row, column = (_decimal(zooms[axis] * unit) for axis in (axes[1], axes[0]))
    known = all(math.isfinite(side) and side > 0 for side in (row, column))
    return Geometry(slices, height, width, (row, column) if known else None), orientation


def _decimal(side: float) -> float:
    """The number that was meant: headers hold single precision, in which 0.7 reads 0.699999988."""
    return float(f"{side:.7g}")


def _shape(header: Any, path: Path) -> tuple[int, int, int]:
    shape = tuple(int(length) for length in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"{path} has the shape {' x '.join(map(str, shape))}, but a volume has three axes; "
            "save each of its volumes as a file of its own."
        )
    return shape[0], shape[1], shape[2]


def _read_volume(path: Path) -> _Volume:
    """Read a file whole (compressed) or map it into memory, and find its window."""
    check_not_empty(path)
    header = _header_of(path)
    _, orientation = _geometry(header, path)
    shape, dtype, start = _shape(header, path), header.get_data_dtype(), int(header.get_data_offset())
    needed = start + math.prod(shape) * dtype.itemsize
    on_disk, packed = path.stat().st_size, _is_packed(path)
    if start < 0 or needed > min(MAX_VOLUME_BYTES, on_disk * _MOST_COMPRESSION if packed else on_disk):
        raise InputError(
            f"{path} holds fewer voxels than its header says ({' x '.join(map(str, shape))}), "
            f"or more than {MAX_VOLUME_BYTES >> 30} GiB; {_REMEDY}."
        )
    if packed:
        voxels = np.frombuffer(_unpacked(path, needed), dtype, math.prod(shape), start).reshape(
            shape, order="F"
        )
    else:
        voxels = np.memmap(path, dtype, "r", start, shape, order="F")

    nibabel = require("nibabel", "nifti")
    canonical = nibabel.apply_orientation(voxels, orientation)  # a view: x to the right, y to the front, z up
    slope, intercept = header.get_slope_inter()
    calibrated = float(header["cal_min"]), float(header["cal_max"])
    return _Volume(
        slices=canonical[::-1, ::-1].transpose(2, 1, 0),
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        calibrated=calibrated if calibrated[0] < calibrated[1] and np.isfinite(calibrated).all() else None,
    )


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _unpacked(path: Path, needed: int) -> bytearray:
    """All bytes of a compressed file; read to its end, because only there the check sum is compared."""
    content = bytearray(needed)
    view = memoryview(content)
    with gzip.open(path) as stream:
        done = 0
        while done < needed and (count := stream.readinto(view[done:])):
            done += count
        if done < needed:
            raise InputError(f"{path} ends before its last voxel; {_REMEDY}.")
        while stream.read(2**20):
            pass
    return content
