"""Read PNG, JPEG, BMP and TIFF with Pillow, without the losses that Pillow does not mention.

Pillow reduces 16-bit colour to its high bytes, shows only the first page of a stack, leaves a photograph
lying on its side and keeps 16-bit white-is-zero pictures inverted. Each is put right or is an error.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from delineate.checks import InputError
from delineate.data.opening import MAX_PIXELS, check_not_empty, check_pixels, naming_faults, to_8_bits

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Endings of the supported pictures, in lower case; the content decides how a file is read."""

_FORMATS = ("PNG", "JPEG", "BMP", TiffImagePlugin.TiffImageFile.format)  # naming the class registers TIFF
_REMEDY = "copy it again or save it as PNG"
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # tags of TIFF
_WITHOUT_ALPHA = ("1", "L", "P", "RGB", "YCbCr")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_MOST_CHROMA = (
    32  # a grey JPEG stored as colour differs by a few levels between channels, a photograph by more
)


def read_colour(
    path: Path,
    *,
    data: bytes | None = None,
    page: int | None = None,
    window: tuple[float, float] | None = None,
    reduce_to: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Read a picture as upright 8-bit RGB; the arguments and rules are those of `images.read_image`."""
    with _opened(path, data) as image:
        _turn_to_page(image, page, path)
        _check_mode(image, path)
        if _bits(image) > 8:
            values = _over_black(_deep_values(image, path, data, page))
            grey_or_colour = to_8_bits(values, window or (float(values.min()), float(values.max())))
            if grey_or_colour.ndim == 3:
                return grey_or_colour
            return np.repeat(grey_or_colour[..., None], 3, axis=2)
        if reduce_to is not None and image.format in ("JPEG", "MPO"):
            image = _reduced(image, reduce_to)
        upright = ImageOps.exif_transpose(image)
        if _has_alpha(upright):
            black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
            upright = Image.alpha_composite(black, upright.convert("RGBA"))
        colour = np.array(upright.convert("RGB"), dtype=np.uint8)
        return colour if window is None else to_8_bits(colour, window)


def read_values(
    path: Path, *, data: bytes | None = None, page: int | None = None, lossy: bool = False
) -> NDArray[np.uint8]:
    """Read the file values of a mask.

    A colour mask whose three channels are equal counts as grey. A palette of greys is read as the greys it
    shows, a palette of colours as its indices, which is how label tools store classes. Masks of 16 bits hold
    0 to 255, or nothing but 0 and 65535, which are read as 0 and 255.

    Args:
        path: the file.
        data: its bytes when they are already in memory.
        page: as `slice` of `images.read_image`.
        lossy: accept the small differences between channels that JPEG makes of grey.

    Returns:
        (H, W) uint8, upright.

    Raises:
        InputError: as `read_colour`, or a pixel is transparent, coloured or beyond 255.
    """
    with _opened(path, data) as image:
        _turn_to_page(image, page, path)
        _check_mode(image, path)
        if _bits(image) > 8:
            return _one_channel(_narrow(_deep_values(image, path, data, page), path), path, lossy)
        upright = ImageOps.exif_transpose(image)
        if _has_alpha(upright):
            return _one_channel(np.array(upright.convert("RGBA"), dtype=np.uint8), path, lossy)
        if upright.mode == "P":
            indices = np.array(upright, dtype=np.uint8)
            palette = np.array(upright.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
            used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
            if used.max() >= len(palette) or (palette[used] != palette[used][:, :1]).any():
                return indices
        mode = "L" if upright.mode in ("1", "L") else "RGB"
        return _one_channel(np.array(upright.convert(mode), dtype=np.uint8), path, lossy)


def read_size(path: Path, *, page: int | None = None) -> tuple[int, int]:
    """Read (height, width) of the upright picture from the header, without decoding pixels."""
    with _opened(path) as image:
        if page:
            _turn_to_page(image, page, path)
        width, height = image.size
        if image.format == "TIFF":  # some versions of Pillow turn `size` themselves, others do not
            tags = image.tag_v2  # type: ignore[attr-defined]  # only TIFF images have it
            width, height = int(tags[256]), int(tags[257])
        return (width, height) if _is_turned(image) else (height, width)


def is_deep(path: Path) -> bool:
    """Whether a picture has more than 8 bits per channel."""
    with _opened(path) as image:
        return _bits(image) > 8


def count_pages(path: Path) -> int:
    """Number of pictures in a file, 1 except for TIFF."""
    with _opened(path) as image:
        return _pages(image)


@contextmanager
def _opened(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """Open a picture lazily; whatever goes wrong in the block is an `InputError` that names the file."""
    with naming_faults(path, _REMEDY):
        check_not_empty(path, data)
        try:
            with Image.open(path if data is None else io.BytesIO(data), formats=_FORMATS) as image:
                check_pixels(path, image.height, image.width)
                yield image
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path} is damaged or not a PNG, JPEG, BMP or TIFF image; "
                "convert it to PNG or copy it again."
            ) from error
        except Image.DecompressionBombError as error:
            raise InputError(
                f"{path} has more than {MAX_PIXELS} pixels; cut it into tiles or make it smaller first."
            ) from error


def _pages(image: Image.Image) -> int:
    # A camera's MPO file holds previews after the photograph; the pages of a TIFF are pictures of their own.
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def _turn_to_page(image: Image.Image, page: int | None, path: Path) -> None:
    pages = _pages(image)
    if image.format == "PNG" and int(getattr(image, "n_frames", 1)) > 1:
        raise InputError(f"{path} is an animation; save the frame that counts as a PNG of its own.")
    if page is None and pages > 1:
        raise InputError(f"{path} holds {pages} pages; save each page as a file of its own.")
    if page is not None and not 0 <= page < pages:
        raise InputError(
            f"{path} holds {pages} pages, numbered from 0, so there is no page {page}; correct the case."
        )
    if page:
        image.seek(page)
        check_pixels(path, image.height, image.width)


def _check_mode(image: Image.Image, path: Path) -> None:
    """Refuse what would lose information when it is turned into RGB."""
    deep = image.mode == "F" or image.mode.startswith("I")
    if not deep and image.mode not in (*_WITHOUT_ALPHA, *_WITH_ALPHA):
        raise InputError(f"{path} is stored as {image.mode}; convert it to 8-bit RGB or grey PNG.")


def _is_turned(image: Image.Image) -> bool:
    # The base class's method: the one of PNG decodes the whole image in search of a late EXIF chunk.
    return bool(Image.Image.getexif(image).get(_ORIENTATION, 1) >= 5)


def _reduced(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Decode a JPEG at the smallest scale that leaves twice the target in both directions.

    Where the scale does not divide the size, the last row or column of the small picture hangs over the edge
    of the real one; resampling sets that right, or the picture would be shifted against its mask.
    """
    height, width = (2 * side for side in target)
    drafted = image.draft(None, (height, width) if _is_turned(image) else (width, height))
    box = None if drafted is None else drafted[1]
    if box is None or box[2:] == image.size:
        return image
    exif = image.getexif()
    reduced = image.resize((round(box[2]), round(box[3])), Image.Resampling.BICUBIC, box=box)
    reduced.info["exif"] = exif.tobytes()
    return reduced


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _WITH_ALPHA or "transparency" in image.info


def _bits(image: Image.Image) -> int:
    """Bits per channel of the file, which Pillow's mode hides for 16-bit colour."""
    if image.mode == "F" or image.mode.startswith("I"):
        return 16
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))))  # type: ignore[attr-defined]  # as above
    tiles = _tiles(image)
    return 16 if tiles and "16" in str(tiles[0][3]) else 8


def _tiles(image: Image.Image) -> list[Any]:
    """What Pillow will decode, and how; files have it until their pixels are loaded."""
    return getattr(image, "tile", [])


def _deep_values(image: Image.Image, path: Path, data: bytes | None, page: int | None) -> NDArray:
    """Every bit of a picture of more than 8 bits per channel: (H, W), or (H, W, 3 or 4) uint16."""
    if image.mode == "F" or image.mode.startswith("I"):
        if "transparency" in image.info:
            raise InputError(f"{path} has a transparent grey level; save it without transparency.")
        values = np.array(ImageOps.exif_transpose(image))
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if not np.isfinite(values).all():
            raise InputError(f"{path} holds NaN or infinite values; replace them by a grey value first.")
        return _as_shown(values, image, path)
    if image.format == "PNG" and "LA;16" in str(_tiles(image)[0][3]):
        return _deep_grey_alpha(path, data)
    if image.format == "TIFF" and image.tag_v2.get(_PLANAR) == 2:  # type: ignore[attr-defined]  # as above
        raise InputError(f"{path} stores its 16-bit colours apart; convert it to 16-bit RGB PNG.")
    # Pillow keeps the byte that it takes for the high one: read once as the file is, once with bytes swapped.
    with _opened(path, data) as other:
        _turn_to_page(other, page, path)
        _tiles(other)[:] = [tile._replace(args=_swapped(tile.args, path)) for tile in _tiles(other)]
        low = np.array(ImageOps.exif_transpose(other), dtype=np.uint16)
    high = np.array(ImageOps.exif_transpose(image), dtype=np.uint16)
    if "transparency" in image.info:
        raise InputError(f"{path} has a transparent colour; save it without transparency.")
    return (high << 8) | low


def _as_shown(values: NDArray, image: Image.Image, path: Path) -> NDArray:
    """Put right the TIFFs in which 0 is white, which Pillow does for 8 bits only."""
    if image.format != "TIFF" or image.tag_v2.get(_PHOTOMETRIC) != 0:  # type: ignore[attr-defined]  # as above
        return values
    if values.dtype != np.uint16:
        raise InputError(f"{path} is a TIFF of {values.dtype} in which 0 is white; save it with 0 as black.")
    top = (1 << int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (16,))))) - 1  # type: ignore[attr-defined]  # as above
    return top - values


def _swapped(arguments: Any, path: Path) -> Any:
    """The arguments of a decoder that takes the low byte of each 16-bit sample instead of the high one."""
    raw = arguments if isinstance(arguments, str) else arguments[0]
    match = re.fullmatch("(RGB|RGBA|RGBX);16([BLN])", raw)
    if match is None:
        raise InputError(f"{path} is stored as 16-bit {raw}; convert it to 16-bit RGB PNG.")
    little = struct.pack("=H", 1)[0] == 1
    swapped = {"B": "L", "L": "B", "N": "B" if little else "L"}[match[2]]
    name = f"{match[1]};16{swapped}"
    return name if isinstance(arguments, str) else (name, *arguments[1:])


def _deep_grey_alpha(path: Path, data: bytes | None) -> NDArray:
    """A PNG of 16-bit grey with alpha, which Pillow only reads to 8 bits.

    Its rows are, byte for byte, those of an 8-bit RGBA picture; with a header that says so Pillow gives them
    unchanged: high and low byte of the grey, then of the alpha.
    """
    content = path.read_bytes() if data is None else data
    header = bytearray(content[12:29])  # IHDR: name, width, height, then depth and colour type
    header[12:14] = 8, 6
    rest = content[33:]
    renamed = content[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + rest
    with _opened(path, renamed) as image:
        pairs = np.array(ImageOps.exif_transpose(image), dtype=np.uint16)
    grey, alpha = (pairs[..., 0] << 8) | pairs[..., 1], (pairs[..., 2] << 8) | pairs[..., 3]
    return np.stack([grey, grey, grey, alpha], axis=2)


def _over_black(values: NDArray) -> NDArray:
    """(H, W) or (H, W, 3) values; with a fourth channel, what is seen over a black background."""
    if values.ndim == 2 or values.shape[2] == 3:
        return values
    alpha = values[..., 3:].astype(np.float64) / 65535
    return np.rint(values[..., :3] * alpha).astype(values.dtype)


def _narrow(values: NDArray, path: Path) -> NDArray[np.uint8]:
    """The values of a mask that is stored with more than 8 bits."""
    if values.dtype == np.uint16 and ((values == 0) | (values == 65535)).all():
        return (values // 257).astype(np.uint8)
    if values.ndim == 3 and values.shape[2] == 4:
        values = np.dstack([values[..., :3], values[..., 3] // 257])
    if values.min() < 0 or values.max() > 255 or (values != np.rint(values)).any():
        raise InputError(
            f"{path} holds values from {values.min():g} to {values.max():g}, but a mask holds whole numbers "
            "from 0 to 255 (or 0 and 65535 only); save it again as an 8-bit PNG."
        )
    return values.astype(np.uint8)


def _one_channel(values: NDArray[np.uint8], path: Path, lossy: bool) -> NDArray[np.uint8]:
    """(H, W) of a grey mask, or of a colour one that only repeats its grey."""
    if values.ndim == 2:
        return values
    if values.shape[2] == 4 and (values[..., 3] != 255).any():
        raise InputError(
            f"{path} has transparent pixels, and a mask may not leave open what they mean; save it without "
            "an alpha channel, for example with Pillow: image.convert('L')."
        )
    colour = values[..., :3]
    spread = int((colour.max(axis=2) - colour.min(axis=2)).max())
    if spread > (_MOST_CHROMA if lossy else 0):
        raise InputError(
            f"{path} is a colour image, but a mask holds one value per pixel; "
            "save it as a grey PNG whose values are named in classes.csv with the columns value,name."
        )
    return np.ascontiguousarray(colour[..., 0])
