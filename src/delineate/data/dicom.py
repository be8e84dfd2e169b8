"""Frames of DICOM images, shown as the file says: modality and VOI tables, window, colour space.

Grey values pass the modality transformation (rescale slope and intercept, or its table), then a window: the
one that the caller names, else the file's first VOI table or window, else, with up to 8 unsigned bits, the
values as they are, else the smallest to the largest value of the file without its padding. MONOCHROME1 is
inverted last, so that a picture is always as it would be on a screen. Colour is always RGB.

pydicom decodes; of the compressed syntaxes it manages with Pillow alone: JPEG with 8 bits, JPEG 2000, RLE.
"""

import io
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.data.opening import check_not_empty, check_pixels, naming_faults, to_8_bits

ENDINGS = (".dcm", ".dicom")
"""Endings of DICOM files, in lower case."""

_REMEDY = "copy it again or export it again from its source"
_CENTIMETRES = 3  # code of the unit in ultrasound regions, PS3.3 C.8.5.5.1.15
_FRAME_GROUPS = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")


class Geometry(NamedTuple):
    """What the header says about the frames."""

    frames: int
    """Number of frames."""
    height: int
    """Rows of a frame."""
    width: int
    """Columns of a frame."""
    spacing: tuple[float, float] | None
    """Millimetres per pixel, (row, column), or None when the header has none."""


def geometry(path: Path, *, data: bytes | None = None) -> Geometry:
    """Read size and spacing of the frames from the header.

    The spacing is that of the patient (PixelSpacing), else of the detector (ImagerPixelSpacing), else that of
    the two-dimensional ultrasound regions when they all have the same.

    Args:
        path: the file.
        data: its bytes when they are already in memory.

    Raises:
        InputError: the file is missing or damaged or holds no picture.
    """
    with naming_faults(path, _REMEDY):
        header = _header(path, data)
        frames, height, width = _size(header, path)
        _take_frame_groups(header, 0)
        return Geometry(frames, height, width, _spacing(header))


def read_frame(
    path: Path, position: int, window: tuple[float, float] | None = None, *, data: bytes | None = None
) -> NDArray[np.uint8]:
    """Read one frame as 8-bit grey or RGB.

    Args:
        path: the file.
        position: of the frame, from 0.
        window: grey values (after the modality transformation) that become 0 and 255.
        data: the file's bytes when they are already in memory.

    Returns:
        (H, W) or (H, W, 3) uint8.

    Raises:
        InputError: as `geometry`, or there is no such frame, or its compression has no decoder here.
    """
    with naming_faults(path, _REMEDY):
        header, values = _decoded(path, data, position)
        _take_frame_groups(header, position)
        if header.PhotometricInterpretation == "PALETTE COLOR":
            values = require("pydicom.pixels", "dicom").apply_color_lut(values, header)
            # 16-bit entries hold the 8-bit level in their high byte, PS3.3 C.7.6.3.1.6.
            values = values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
            return values if window is None else to_8_bits(values, window)
        if values.ndim == 3:
            return to_8_bits(values, window or (0, 2 ** int(header.BitsStored) - 1))
        grey = _grey(header, values, window, path, data)
        return 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def read_mask_frame(path: Path, position: int, *, data: bytes | None = None) -> NDArray[np.uint8]:
    """Read one frame of class values: the stored values, without modality transformation or window.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: as `read_frame`, or the frame has colours, or values that are not whole numbers 0 to 255.
    """
    with naming_faults(path, _REMEDY):
        _, values = _decoded(path, data, position)
    if values.ndim != 2:
        raise InputError(
            f"{path} is a colour image, but a mask holds one value per pixel; save it as a grey PNG."
        )
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 255:
        raise InputError(
            f"{path}, frame {position}, holds values from {values.min():g} to {values.max():g}, but a mask "
            "holds whole numbers from 0 to 255; save it again as a mask."
        )
    return values.astype(np.uint8)


def _header(path: Path, data: bytes | None) -> Any:
    check_not_empty(path, data)
    pydicom = require("pydicom", "dicom")
    try:
        source = path if data is None else io.BytesIO(data)
        return pydicom.dcmread(source, stop_before_pixels=True)
    except pydicom.errors.InvalidDicomError as error:
        raise InputError(f"{path} is damaged or not a DICOM file; {_REMEDY}.") from error


def _size(header: Any, path: Path) -> tuple[int, int, int]:
    """(frames, height, width)."""
    if "Rows" not in header or "Columns" not in header:
        raise InputError(f"{path} holds no picture (a DICOM file without rows and columns); remove it.")
    frames = int(header.get("NumberOfFrames") or 1)
    height, width = int(header.Rows), int(header.Columns)
    if min(frames, height, width) < 1:
        raise InputError(f"{path} says that it holds {frames} frames of {height} x {width}; {_REMEDY}.")
    check_pixels(path, height, width)
    return frames, height, width


def _decoded(path: Path, data: bytes | None, position: int) -> tuple[Any, NDArray]:
    """The header, and the (H, W) stored values or (H, W, 3) RGB of one frame."""
    header = _header(path, data)
    frames, height, width = _size(header, path)
    if not 0 <= position < frames:
        raise InputError(
            f"{path} has {frames} frames, numbered from 0, so there is no frame {position}; correct the case."
        )
    pixels = require("pydicom.pixels", "dicom")
    syntax = header.file_meta.TransferSyntaxUID
    try:
        can_decode = not syntax.is_encapsulated or pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        can_decode = False
    if not can_decode:
        raise InputError(
            f"{path} is compressed as {syntax.name}, for which no decoder is installed; "
            "decompress it first, for example with gdcmconv --raw."
        )
    # From the file itself where possible: of a long sequence only the one frame is then read.
    values = pixels.pixel_array(path if data is None else io.BytesIO(data), index=position)
    if values.shape not in ((height, width), (height, width, 3)):
        raise InputError(f"{path} holds a frame of the shape {values.shape}; {_REMEDY}.")
    return header, values


def _take_frame_groups(header: Any, position: int) -> None:
    """Copy what enhanced images state for one frame to where plain images state it."""
    for holder, index in (
        ("SharedFunctionalGroupsSequence", 0),
        ("PerFrameFunctionalGroupsSequence", position),
    ):
        groups = header.get(holder) or []
        for name in _FRAME_GROUPS:
            items = groups[index].get(name) if index < len(groups) else None
            if items:
                header.update(items[0])


def _spacing(header: Any) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        pair = header.get(name)
        if pair is not None and len(pair) == 2:
            return _positive(float(pair[0]), float(pair[1]))
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or []:
        units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
        if units == (_CENTIMETRES, _CENTIMETRES):
            # In centimetres; rounded, because 0.0078125 x 10 shall be the same from every region.
            sides = (abs(float(region.PhysicalDeltaY)), abs(float(region.PhysicalDeltaX)))
            found.add((round(10 * sides[0], 9), round(10 * sides[1], 9)))
    return _positive(*found.pop()) if len(found) == 1 else None


def _positive(row: float, column: float) -> tuple[float, float] | None:
    return (row, column) if all(math.isfinite(side) and side > 0 for side in (row, column)) else None


def _grey(
    header: Any, stored: NDArray, window: tuple[float, float] | None, path: Path, data: bytes | None
) -> NDArray[np.uint8]:
    """Grey values as they are shown, before MONOCHROME1 is inverted."""
    pixels = require("pydicom.pixels", "dicom")
    values = pixels.apply_modality_lut(stored, header)
    if window is not None:
        return to_8_bits(values, window)
    if header.get("VOILUTSequence"):
        shown = pixels.apply_voi(values.astype(np.int64) if values.dtype.kind == "f" else values, header)
        return to_8_bits(shown, (0, 2 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1))
    if header.get("WindowCenter") not in (None, "") and header.get("WindowWidth") not in (None, ""):
        return _windowed(header, values)
    bits = int(header.get("BitsStored", 16))
    if values is stored and stored.dtype.kind == "u" and bits <= 8:
        return to_8_bits(values, (0, 2**bits - 1))

    if int(header.get("NumberOfFrames") or 1) == 1:
        ends = _ends(header, [stored])
    else:
        status = path.stat()
        ends = _ends_of_file(path, status.st_size, status.st_mtime_ns)
    low, high = np.sort(pixels.apply_modality_lut(np.array(ends, dtype=stored.dtype), header)).tolist()
    return to_8_bits(values, (low, high))


def _windowed(header: Any, values: NDArray) -> NDArray[np.uint8]:
    """The first window of the file, PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = (float(_first(header[name].value)) for name in ("WindowCenter", "WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        levels = 255 / (1 + np.exp(-4 * (values.astype(np.float64) - center) / max(width, 1e-9)))
        return np.rint(levels).astype(np.uint8)
    if function == "LINEAR_EXACT":
        return to_8_bits(values, (center - width / 2, center + width / 2))
    return to_8_bits(values, (center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2))


def _first(value: Any) -> Any:
    """The first of several values, or the only one."""
    return value if isinstance(value, str | int | float) else value[0]


def _ends(header: Any, frames: Any) -> tuple[float, float]:
    """Smallest and largest stored value of some frames without the padding."""
    padding = header.get("PixelPaddingValue")
    low, high = math.inf, -math.inf
    for frame in frames:
        kept = frame if padding is None else frame[frame != padding]
        if kept.size:
            low, high = min(low, kept.min()), max(high, kept.max())
    return (low, high) if low <= high else (0, 0)


@lru_cache(maxsize=64)
def _ends_of_file(path: Path, size: int, changed: int) -> tuple[float, float]:
    """As `_ends` for all frames of a file, remembered for as long as its size and time stay the same."""
    return _ends(_header(path, None), require("pydicom.pixels", "dicom").iter_pixels(path))
