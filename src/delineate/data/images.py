"""Read image and mask files strictly: what cannot be read exactly is refused, never guessed.

Pillow opens much that would silently lose information here: it reduces 16-bit colour to 8 bits, drops the
pages of a stack after the first, and leaves a photograph lying on its side. Each is an error or is put right.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Endings of the supported files, in lower case; the content decides how a file is read."""

MAX_PIXELS = 178_956_970
"""Largest image that is decoded: the size from which Pillow itself refuses, as a guard against bombs."""

_FORMATS = ("PNG", "JPEG", "BMP", TiffImagePlugin.TiffImageFile.format)  # naming the class registers TIFF
_ORIENTATION = 0x0112
_COLOUR_OR_GREY = ("1", "L", "P", "RGB", "YCbCr")
_MOST_CHROMA = (
    32  # a grey JPEG stored as colour differs by a few levels between channels, a photograph by more
)


def read_image(path: Path, *, data: bytes | None = None) -> NDArray[np.uint8]:
    """Read an image file as 8-bit RGB, upright.

    Args:
        path: PNG, JPEG, BMP or TIFF, 8 bits per channel; grey and palette images become RGB.
        data: the file's bytes when they are already in memory; `path` then only serves the messages.

    Returns:
        (H, W, 3) uint8, with the orientation of the EXIF or TIFF tag applied.

    Raises:
        InputError: the file is missing, empty, damaged or of another format; or it has an alpha channel, more
            than 8 bits per channel, several pages, CMYK or Lab colour, or more than `MAX_PIXELS` pixels.
    """
    with _opened(path, data) as image:
        _refuse_unsupported(image, path)
        return np.array(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)


def read_mask(path: Path, encoding: MaskEncoding, *, data: bytes | None = None) -> NDArray[np.uint8]:
    """Read a mask file as an index map.

    A colour mask whose three channels are equal counts as grey. A palette of greys is read as the greys it
    shows, a palette of colours as its indices, which is how label tools store classes.

    Args:
        path: PNG, JPEG, BMP or TIFF, 8 bits per channel.
        encoding: which file value is which class, see `MaskEncoding`.
        data: as in `read_image`.

    Returns:
        (H, W) uint8: 0 background, i + 1 = `encoding.classes[i]`.

    Raises:
        InputError: as `read_image`, or the file holds a value that `encoding` does not name.
    """
    with _opened(path, data) as image:
        _refuse_unsupported(image, path)
        values = _grey_values(ImageOps.exif_transpose(image), path, encoding)
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
            f"({encoding.background}) nor a class ({_listing(known.keys() - {encoding.background})}); add them "
            "to classes.csv with the columns value,name, or save the mask again."
        )
    table = np.zeros(256, dtype=np.uint8)
    for value, index in known.items():
        table[value] = index
    return table[values]


def read_case_image(case: Case, *, data: bytes | None = None) -> NDArray[np.uint8]:
    """Read the image of a case as `read_image` does, with its slice and window.

    Args:
        case: the case.
        data: the image file's bytes when they are already in memory.
    """
    return read_image(case.image, data=data)


def read_case_mask(case: Case) -> NDArray[np.uint8]:
    """Read the mask of a case as `read_mask` does: its slice, and the union of its files.

    Raises:
        InputError: the case has no mask, its files differ in size, or one cannot be read.
    """
    if case.mask is None:
        raise InputError(f"Case {case.id!r} has no mask; take a case that has one.")
    mask = read_mask(case.mask, case.encoding)
    for path in case.more_masks:
        other = read_mask(path, case.encoding)
        if other.shape != mask.shape:
            raise InputError(
                f"{path} and {case.mask} belong to one image but differ in size; export them again."
            )
        mask = np.maximum(mask, other)
    return mask


def image_size(path: Path) -> tuple[int, int]:
    """Read (height, width) of the upright image from the header, without decoding pixels.

    Raises:
        InputError: the file is missing, empty or has no readable header.
    """
    with _opened(path) as image:
        # The base class's method: the one of PNG decodes the whole image in search of a late EXIF chunk.
        turned = Image.Image.getexif(image).get(_ORIENTATION, 1) >= 5
        width, height = image.size
        if image.format == "TIFF":  # some versions of Pillow turn `size` themselves, others do not
            tags = image.tag_v2  # type: ignore[attr-defined]  # only TIFF images have it
            width, height = int(tags[256]), int(tags[257])
        return (width, height) if turned else (height, width)


@contextmanager
def _opened(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """Open an image lazily; whatever goes wrong until the block ends is an InputError that names the file."""
    try:
        if (path.stat().st_size if data is None else len(data)) == 0:
            raise InputError(f"{path} is an empty file; copy it again from its source.")
        with Image.open(path if data is None else io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, but an image file was expected.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by this user; change its permissions.") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is damaged or not a PNG, JPEG, BMP or TIFF image; convert it to PNG or copy it again."
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} has more than {MAX_PIXELS} pixels; cut it into tiles or make it smaller first."
        ) from error
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{path} cannot be decoded ({reason}); copy it again or save it as PNG.") from error


def _refuse_unsupported(image: Image.Image, path: Path) -> None:
    """Refuse what would lose information when it is turned into 8-bit RGB."""
    if "A" in image.mode.upper().replace("LAB", "") or image.mode == "La" or "transparency" in image.info:
        raise InputError(
            f"{path} has an alpha channel (transparency); save it without one, "
            "for example with Pillow: image.convert('RGB')."
        )
    if _bits(image) > 8:
        raise InputError(
            f"{path} has more than 8 bits per channel; choose a window and convert it to 8-bit PNG, "
            "so that no grey level is lost unseen."
        )
    if image.mode not in _COLOUR_OR_GREY:
        raise InputError(f"{path} is stored as {image.mode}; convert it to 8-bit RGB or grey PNG.")
    # A camera's MPO file holds previews after the photograph; the pages of a TIFF are images of their own.
    pages = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if pages > 1:
        raise InputError(f"{path} holds {pages} pages; save each page as a file of its own.")


def _bits(image: Image.Image) -> int:
    """Bits per channel of the file, which Pillow's mode hides for 16-bit colour."""
    if image.mode == "F" or image.mode.startswith("I"):
        return 16
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (8,))))  # type: ignore[attr-defined]  # only TIFF images have it
    tiles = getattr(image, "tile", None)
    return 16 if tiles and "16" in str(tiles[0][3]) else 8


def _grey_values(image: Image.Image, path: Path, encoding: MaskEncoding) -> NDArray[np.uint8]:
    """The (H, W) file values of an upright mask."""
    if image.mode == "P":
        indices = np.array(image, dtype=np.uint8)
        palette = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
        if used.max() >= len(palette) or (palette[used] != palette[used][:, :1]).any():
            return indices
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"), dtype=np.uint8)
    colour = np.array(image.convert("RGB"), dtype=np.uint8)
    spread = int((colour.max(axis=2) - colour.min(axis=2)).max())
    if spread > (0 if encoding.threshold is None else _MOST_CHROMA):
        raise InputError(
            f"{path} is a colour image, but a mask holds one value per pixel; "
            "save it as a grey PNG whose values are named in classes.csv with the columns value,name."
        )
    return np.ascontiguousarray(colour[..., 0])


def _listing(values: set[int] | tuple[int, ...]) -> str:
    """The values in order, at most ten of them."""
    ordered = sorted(values)
    return ", ".join(map(str, ordered[:10])) + (f" and {len(ordered) - 10} more" if len(ordered) > 10 else "")
