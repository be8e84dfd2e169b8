"""Read the pixels of image and mask files strictly: what cannot be read exactly is refused, never guessed.

Pictures (PNG, JPEG, BMP, TIFF), NIfTI volumes and DICOM images all come out as 8-bit RGB, upright. The ending
tells volumes and DICOM images from pictures; which kind of picture a file is, its content says.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data import dicom, nifti, pictures, volumes
from delineate.data.case import Case, MaskEncoding
from delineate.data.opening import MAX_PIXELS

__all__ = [
    "ENDINGS",
    "MAX_PIXELS",
    "case_image_size",
    "image_size",
    "is_deep",
    "read_case_image",
    "read_case_mask",
    "read_image",
    "read_mask",
]

ENDINGS = (*pictures.ENDINGS, *volumes.ENDINGS)
"""Endings of the supported files, in lower case."""


def read_image(
    path: Path,
    *,
    data: bytes | None = None,
    slice: int | None = None,
    window: tuple[float, float] | None = None,
    reduce_to: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Read an image file as 8-bit RGB, upright.

    Grey and palette images become RGB. Opaque alpha is dropped; transparent pixels are shown over black. Of
    files with more than 8 bits, `window[0]` becomes 0 and `window[1]` 255, clipped and rounded; without a
    window a DICOM or NIfTI file's own counts (see `dicom` and `nifti`), and a picture is stretched from its
    own smallest to its own largest value, over all its channels. A window given for 8 bits is applied too.

    Args:
        path: PNG, JPEG, BMP or TIFF with 8 or 16 bits per channel, .nii, .nii.gz or .dcm.
        data: the file's bytes when they are already in memory; `path` then only serves the messages. NIfTI
            volumes are read from `path` all the same.
        slice: position, from 0, of the axial slice, frame or TIFF page; needed when there are several.
        window: (low, high) grey values.
        reduce_to: (height, width) that the picture will be made smaller to. A JPEG is then decoded at 1/2,
            1/4 or 1/8 of its size, which is faster, but never to less than twice `reduce_to` in a direction.

    Returns:
        (H, W, 3) uint8, with the orientation of the EXIF or TIFF tag applied.

    Raises:
        InputError: the file is missing, empty, damaged or of another format; it has several pages and `slice`
            names none of them, CMYK or Lab colour, or more than `MAX_PIXELS` pixels.
    """
    if window is not None and not (np.isfinite(window).all() and window[0] < window[1]):
        raise InputError(f"The window {window} of {path} is none; give two numbers, the lower one first.")
    if volumes.is_nifti(path):
        shown = nifti.read_slice(path, _position(path, slice), window)
    elif volumes.is_dicom(path):
        shown = dicom.read_frame(path, _position(path, slice, data), window, data=data)
    else:
        return pictures.read_colour(path, data=data, page=slice, window=window, reduce_to=reduce_to)
    return shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)


def read_mask(
    path: Path, encoding: MaskEncoding, *, data: bytes | None = None, slice: int | None = None
) -> NDArray[np.uint8]:
    """Read a mask file as an index map.

    A colour mask whose three channels are equal counts as grey. A palette of greys is read as the greys it
    shows, a palette of colours as its indices, which is how label tools store classes. Masks of more than
    8 bits hold 0 to 255 all the same, or nothing but 0 and 65535, which count as 0 and 255.

    Args:
        path: as in `read_image`.
        encoding: which file value is which class, see `MaskEncoding`.
        data: as in `read_image`.
        slice: as in `read_image`.

    Returns:
        (H, W) uint8: 0 background, i + 1 = `encoding.classes[i]`.

    Raises:
        InputError: as `read_image`, or the file holds transparent pixels or a value that `encoding` does not
            name.
    """
    if volumes.is_nifti(path):
        values = nifti.read_mask_slice(path, _position(path, slice))
    elif volumes.is_dicom(path):
        values = dicom.read_mask_frame(path, _position(path, slice, data), data=data)
    else:
        values = pictures.read_values(path, data=data, page=slice, lossy=encoding.threshold is not None)
    if encoding.threshold is not None:
        return (values >= encoding.threshold).astype(np.uint8)

    found = set(np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist())
    if encoding.values is None:
        if len(encoding.classes) != 1:
            raise InputError(
                f"The mask classes {', '.join(encoding.classes)} have no file values; "
                "name them in classes.csv with the columns value,name."
            )
        if not (found <= {0, 1} or found <= {0, 255}):
            raise InputError(
                f"{path} holds the values {_listing(found)}, but a binary mask holds only 0 and 1, "
                "or 0 and 255; name the classes in classes.csv with the columns value,name, or save the mask "
                "again without compression losses or interpolation."
            )
        return (values > 0).astype(np.uint8)

    known = {encoding.background: 0}
    for i, value in enumerate(encoding.values, start=1):
        known |= dict.fromkeys((value,) if isinstance(value, int) else value, i)
    if not found <= known.keys():
        raise InputError(
            f"{path} holds the values {_listing(found - known.keys())}, which are neither the background "
            f"({encoding.background}) nor a class ({_listing(known.keys() - {encoding.background})}); add "
            "them to classes.csv with the columns value,name, or save the mask again."
        )
    table = np.zeros(256, dtype=np.uint8)
    for value, index in known.items():
        table[value] = index
    return table[values]


def read_case_image(
    case: Case, *, data: bytes | None = None, reduce_to: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read the image of a case as `read_image` does, with its slice and window.

    Args:
        case: the case.
        data: the image file's bytes when they are already in memory.
        reduce_to: (height, width) that the picture will be made smaller to, see `read_image`.

    Returns:
        (H, W, 3) uint8.
    """
    return read_image(case.image, data=data, slice=case.slice, window=case.window, reduce_to=reduce_to)


def read_case_mask(case: Case) -> NDArray[np.uint8]:
    """Read the mask of a case as `read_mask` does: its slice, and the union of its files.

    Returns:
        (H, W) uint8 class indices.

    Raises:
        InputError: the case has no mask, its files differ in size, or one cannot be read.
    """
    if case.mask is None:
        raise InputError(f"Case {case.id!r} has no mask; take a case that has one.")
    mask = read_mask(case.mask, case.encoding, slice=_mask_slice(case, case.mask))
    for path in case.more_masks:
        other = read_mask(path, case.encoding, slice=_mask_slice(case, path))
        if other.shape != mask.shape:
            raise InputError(
                f"{path} and {case.mask} belong to one image but differ in size; export them again."
            )
        mask = np.maximum(mask, other)
    return mask


def image_size(path: Path, *, slice: int | None = None) -> tuple[int, int]:
    """Read (height, width) of the upright image from the header, without decoding pixels.

    Args:
        path: as in `read_image`.
        slice: of a TIFF, whose pages may differ in size; the slices of a volume do not.

    Raises:
        InputError: the file is missing, empty or has no readable header.
    """
    if volumes.is_nifti(path):
        _, height, width, _ = nifti.geometry(path)
    elif volumes.is_dicom(path):
        _, height, width, _ = dicom.geometry(path)
    else:
        height, width = pictures.read_size(path, page=slice)
    return height, width


def is_deep(path: Path) -> bool:
    """Whether a file holds more than 8-bit colours, so that a window decides what of it is seen.

    Volumes and DICOM images count as such.

    Raises:
        InputError: a picture is missing or damaged.
    """
    return volumes.is_volume(path) or pictures.is_deep(path)


def case_image_size(case: Case) -> tuple[int, int]:
    """Read (height, width) of the image of a case as `image_size` does."""
    return image_size(case.image, slice=case.slice)


def _position(path: Path, slice: int | None, data: bytes | None = None) -> int:
    """The slice to read; it may only be left open when there is one."""
    if slice is not None:
        return slice
    dicom_file = volumes.is_dicom(path)
    count = dicom.geometry(path, data=data).frames if dicom_file else nifti.geometry(path).slices
    if count > 1:
        raise InputError(
            f"{path} holds {count} {'frames' if dicom_file else 'slices'}; make a case of each, with its "
            "`slice`, or put the file into a plain folder, which does so."
        )
    return 0


def _mask_slice(case: Case, path: Path) -> int | None:
    """The slice of a mask: that of its image, unless every slice of a volume has a mask file of its own."""
    picture_of_slice = volumes.is_volume(case.image) and not volumes.is_volume(path)
    return None if picture_of_slice else case.slice


def _listing(values: set[int] | tuple[int, ...]) -> str:
    """The values in order, at most ten of them."""
    ordered = sorted(values)
    return ", ".join(map(str, ordered[:10])) + (f" and {len(ordered) - 10} more" if len(ordered) > 10 else "")
