"""What an upload is, told from its content, and how much it would be, told from its header.

Everything here happens before a pixel is decoded, and in bounded time and memory, whatever the file says
about itself. The name of an upload counts for nothing.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delineate.checks import InputError, require
from delineate.data import dicom, nifti
from delineate.data.case import Case
from delineate.data.images import case_image_size
from delineate.data.pictures import count_pages
from delineate.web.errors import ServiceError
from delineate.web.settings import Settings

KINDS = "PNG, JPEG, BMP, TIFF, DICOM or NIfTI"
_MOST_SCANS = 64  # of a progressive JPEG; encoders write about ten, and each costs a pass over all pixels
_MOST_PAGES = 4096  # of a TIFF; a decoder looks at each before it shows the first
_BYTES_PER_PIXEL = 8  # of an unpacked volume


@dataclass(frozen=True)
class Recognised:
    """What the header of an upload says."""

    case: Case
    """With the spacing that the file states."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    slices: int
    """Pictures in the file: slices of a volume, frames of a loop, pages of a TIFF."""
    room: int
    """Pixels of the service's budget that it takes, also for what was unpacked onto the disk."""


def open_upload(content: bytes, folder: Path, settings: Settings, slice: int | None) -> Recognised:
    """Put a file where the readers find it, after a look at what it says about itself.

    Args:
        content: the file.
        folder: an empty folder.
        settings: the limits on pixels.
        slice: of a volume or a stack, from 0; None for the only picture.

    Raises:
        ServiceError: the file is of another type, or larger than allowed.
        InputError: it cannot be read; the message names the path, see `Folder.conceal`.
    """
    kind = recognise(content)
    unpacked = kind == ".nii.gz"
    if unpacked:
        content = _unpacked(content, _BYTES_PER_PIXEL * settings.max_pixels)
        kind = recognise(content)
        kind = kind if kind == ".nii" else None
    if kind is None:
        raise ServiceError(415, "unsupported_type", f"The file is none of {KINDS}; convert it to PNG.")
    if kind == ".jpg":
        _check_scans(content)
    if kind == ".tif":
        _check_pages(content)
    path = folder / f"upload{kind}"
    path.write_bytes(content)
    syntax = _syntax(path) if kind == ".dcm" else None
    pictures, spacing = _header(path, kind)
    position = _position(slice, pictures)
    is_stack = pictures > 1 or kind in (".dcm", ".nii")
    case = Case(id="upload", image=path, slice=position if is_stack else None, spacing=spacing)
    height, width = case_image_size(case)
    if height * width > settings.max_pixels or height * width * pictures > 4 * settings.max_pixels:
        stated = f"{height} x {width} pixels" + (f" in {pictures} pictures" if pictures > 1 else "")
        raise ServiceError(
            413,
            "too_many_pixels",
            f"The image has {stated}, but a picture may have {settings.max_pixels} and a stack of pictures "
            "four times as many; make it smaller.",
        )
    if syntax is not None:
        _check_frames(path, syntax, pictures, len(content))
    on_disk = -(-len(content) // _BYTES_PER_PIXEL) if unpacked else 0
    return Recognised(case, (height, width), pictures, max(height * width, on_disk))


def room_to_open(content: bytes, settings: Settings) -> int:
    """Pixels of the service's budget to take before a file is opened: nobody knows what it unpacks to."""
    return settings.max_pixels if recognise(content) == ".nii.gz" else 0


def recognise(content: bytes) -> str | None:
    """Tell the kind of a file from its first bytes: the ending that its reader knows it by, or None."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if content.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if content[128:132] == b"DICM":
        return ".dcm"
    if content[344:347] == b"n+1" or content[4:7] == b"n+2":
        return ".nii"
    if content.startswith((b"II*\0", b"MM\0*")):
        return ".tif"
    if content.startswith(b"BM"):
        return ".bmp"
    return ".nii.gz" if content.startswith(b"\x1f\x8b") else None


def _header(path: Path, kind: str) -> tuple[int, tuple[float, float] | None]:
    """Number of pictures in a file and their spacing."""
    if kind == ".dcm":
        frames = dicom.geometry(path)
        return frames.frames, frames.spacing
    if kind == ".nii":
        volume = nifti.geometry(path)
        return volume.slices, volume.spacing
    return (count_pages(path) if kind == ".tif" else 1), None


def _position(slice: int | None, pictures: int) -> int:
    if slice is None:
        if pictures > 1:
            raise ServiceError(
                422,
                "slice_needed",
                f"The file holds {pictures} pictures; add slice=, from 0 to {pictures - 1}, to the address.",
                facts={"slices": pictures},
            )
        return 0
    if slice >= pictures:
        raise ServiceError(
            422,
            "no_such_slice",
            f"The file holds {pictures} picture(s), numbered from 0, so there is no {slice}.",
        )
    return slice


def _unpacked(content: bytes, limit: int) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            unpacked = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ServiceError(
            422, "unreadable_image", "The compressed file is damaged; copy it again."
        ) from error
    if len(unpacked) > limit:
        raise ServiceError(
            413, "too_many_pixels", f"The file unpacks to more than {limit} bytes; send one slice of it."
        )
    return unpacked


def _check_scans(jpeg: bytes) -> None:
    if jpeg.count(b"\xff\xda") > _MOST_SCANS:
        raise ServiceError(
            422, "too_many_scans", "The JPEG has too many scans; save it as a baseline JPEG or PNG."
        )


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (ServiceError, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise InputError(
            f"{path} is damaged or not a DICOM file; export it again from its source."
        ) from error


def _syntax(path: Path) -> Any:
    """The transfer syntax of a DICOM file; one that is unpacked whole, to any size, is refused."""
    require("pydicom", "dicom")
    from pydicom.filereader import read_file_meta_info

    with _naming_damage(path):
        syntax: Any = read_file_meta_info(str(path)).get("TransferSyntaxUID")
        name = "" if syntax is None else str(syntax.name)
    if "Deflated" in name:
        raise ServiceError(415, "unsupported_type", f"The file is stored as {name}; store it uncompressed.")
    return syntax


def _check_frames(path: Path, syntax: Any, frames: int, size: int) -> None:
    """Count the scans of the JPEGs in a DICOM file, put together from fragments as a decoder does."""
    import pydicom
    from pydicom.encaps import generate_frames

    with _naming_damage(path):
        if not syntax.is_encapsulated:
            return
        tables = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
        header = pydicom.dcmread(path, specific_tags=["PixelData", *tables])
        offsets = (header[tables[0]].value, header[tables[1]].value) if tables[0] in header else None
        total = 0
        for frame in generate_frames(header.PixelData, number_of_frames=frames, extended_offsets=offsets):
            total += len(frame)
            if total > size:  # frames that share their bytes would be read again and again
                raise ServiceError(
                    422, "unreadable_image", "The frames of the DICOM file overlap; export it again."
                )
            if frame.startswith(b"\xff\xd8"):
                _check_scans(frame)


def _check_pages(content: bytes) -> None:
    """Follow the chain of a TIFF's directories, which costs nothing here and much in a decoder."""
    order = "<" if content.startswith(b"II") else ">"
    pages = 0
    try:
        (offset,) = struct.unpack_from(f"{order}L", content, 4)
        while offset:
            pages += 1
            if pages > _MOST_PAGES:
                raise ServiceError(422, "too_many_pages", f"The TIFF has more than {_MOST_PAGES} pages.")
            (entries,) = struct.unpack_from(f"{order}H", content, offset)
            (offset,) = struct.unpack_from(f"{order}L", content, offset + 2 + 12 * entries)
    except struct.error as error:
        raise ServiceError(422, "unreadable_image", "The TIFF is damaged; copy it again.") from error
