"""Files whose headers promise what they do not hold, and masks that mean nothing."""

import gzip
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from healthy_data import Variant, dicom_bytes, image_bytes, nifti_bytes, saved
from tiny_data import disc, picture


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(
    width: int, height: int, depth: int = 8, colour: int = 2, extra: bytes = b"", rows: bytes = b""
) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = zlib.compress(rows or bytes((32 * 3 + 1) * 24), 1)
    return b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def lying_pictures() -> Iterator[Variant]:
    """Headers that promise what the file does not hold."""
    png = "images/bad.png"
    for width, height in ((2000, 2000), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (0, 24), (32, 0)):
        yield Variant(f"png-says-{width}x{height}", png, _png(width, height), refused=True)
    yield Variant("png-depth-3", png, _png(32, 24, depth=3), refused=True)
    yield Variant("png-colour-9", png, _png(32, 24, colour=9), refused=True)
    yield Variant("png-depth-16", png, _png(32, 24, depth=16), refused=True)  # half of the pixels
    yield Variant("png-bomb-in-pixels", png, _png(32, 24, rows=bytes(30_000_000)))
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000), 1))
    yield Variant("png-bomb-in-text", png, _png(32, 24, extra=text))
    profile = _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(3_000_000), 1))
    yield Variant("png-bomb-in-profile", png, _png(32, 24, extra=profile))
    frames = _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield Variant("png-says-many-frames", png, _png(32, 24, extra=frames))

    jpeg = image_bytes("jpg")
    start = jpeg.index(b"\xff\xc0") + 5
    for height, width in ((65_500, 65_500), (0, 32), (24, 0), (900, 900)):
        content = jpeg[:start] + struct.pack(">HH", height, width) + jpeg[start + 4 :]
        # libjpeg fills what is missing before the end marker, so 900x900 only fails to fit its mask.
        yield Variant(f"jpg-says-{width}x{height}", "images/bad.jpg", content, refused=True)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40)
    marker = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    yield Variant("jpg-exif-says-many-tags", "images/bad.jpg", jpeg[:2] + marker + jpeg[2:])

    bmp = image_bytes("bmp")
    for width, height in ((30_000, 30_000), (-32, 24), (2000, 2000), (0, 0), (2**31 - 1, 1)):
        content = bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]
        yield Variant(f"bmp-says-{width}x{height}", "images/bad.bmp", content, refused=True)
    for offset, value, what in (
        (10, 2**31, "offset"),
        (28, 7, "bits"),
        (30, 99, "compression"),
        (14, 3, "header"),
    ):
        content = bmp[:offset] + struct.pack("<I", value) + bmp[offset + 4 :]
        yield Variant(f"bmp-wrong-{what}", "images/bad.bmp", content)

    harmless = ("photometric-77", "strip-of-4-GB")  # read as grey, and as far as the pixels go
    for what, tags in {
        "60000x60000": {256: 60_000, 257: 60_000},
        "2000x2000": {256: 2000, 257: 2000},
        "0x0": {256: 0, 257: 0},
        "strip-behind-the-end": {273: 10**9},
        "strip-of-4-GB": {279: 2**32 - 1},
        "9-samples": {277: 9},
        "5-bits": {258: 5},
        "compression-7": {259: 7},
        "compression-65000": {259: 65_000},
        "photometric-77": {262: 77},
    }.items():
        yield Variant(f"tif-says-{what}", "images/bad.tif", _tiff(tags), refused=what not in harmless)
    yield Variant("tif-circle-of-pages", "images/bad.tif", _tiff({}, next_page=8))


def _tiff(changed: dict[int, int], next_page: int = 0) -> bytes:
    """A grey TIFF written by hand, whose tags can lie."""
    tags = {256: 32, 257: 24, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 24, 279: 768} | changed
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    head = (
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", len(tags))
        + entries
        + struct.pack("<I", next_page)
    )
    return head.ljust(200, b"\0") + bytes(768)


def wild_masks() -> Iterator[Variant]:
    """Masks that can be opened but mean nothing."""
    noise = picture(5)
    deep = (noise[..., 0].astype(np.uint16) * 257, "16-bit")
    arrays = {
        "every-value": noise[..., 0],
        "one-2": np.where(disc(1) > 0, 2, 0).astype(np.uint8),
        "0-1-255": np.where(np.arange(32) < 3, 1, disc(1)).astype(np.uint8),
        "colour": noise,
        "transparent": np.dstack([noise, noise[..., 0]]),
        deep[1]: deep[0],
    }
    for name, array in arrays.items():
        yield Variant(f"mask-{name}", "masks/bad.png", saved(array, "png"), refused=True)
    yield Variant("mask-other-size", "masks/bad.png", saved(disc(1, (20, 20)), "png"))
    yield Variant(
        "mask-float", "masks/bad.tif", saved(np.full((24, 32), np.nan, np.float32), "tif"), refused=True
    )
    beyond = _png(32, 24, colour=3, extra=_chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0])), rows=b"\0\7" * 600)
    yield Variant("mask-beyond-its-palette", "masks/bad.png", beyond, refused=True)
    shape = (24, 32, 3)
    for name, values in {
        "negative": np.full(shape, -3, np.int16),
        "large": np.full(shape, 1000, np.int32),
        "fractions": np.full(shape, 0.5, np.float32),
        "not-a-number": np.full(shape, np.nan, np.float32),
        "infinite": np.full(shape, np.inf, np.float64),
        "complex": np.full(shape, 1j, np.complex64),
    }.items():
        yield Variant(f"mask-volume-{name}", "masks/bad.nii", nifti_bytes(values, "nii"), refused=True)
    fewer = nifti_bytes(np.zeros((24, 32, 2), np.uint8), "nii")
    yield Variant("mask-volume-with-fewer-slices", "masks/bad.nii", fewer)
    yield Variant(
        "mask-volume-of-other-size", "masks/bad.nii", nifti_bytes(np.zeros((9, 9, 3), np.uint8), "nii")
    )


def lying_volumes() -> Iterator[Variant]:
    whole = image_bytes("nii")
    shorts = {
        "huge": (40, (3, 32_767, 32_767, 32_767)),
        "too-long": (40, (3, 24, 32, 4)),
        "empty": (40, (3, 0, 0, 0)),
        "negative": (40, (3, -24, 32, 3)),
        "7-dimensions": (40, (7, 2, 2, 2, 2, 2, 2, 2)),
        "99-dimensions": (40, (99, 24, 32, 3)),
        "0-dimensions": (40, (0, 24, 32, 3)),
        "unknown-type": (70, (9999,)),
        "type-rgb": (70, (128, 24)),
        "type-complex": (70, (1792, 128)),
        "wrong-bits": (72, (3,)),
    }
    for name, (offset, values) in shorts.items():
        packed = struct.pack(f"<{len(values)}h", *values)
        content = whole[:offset] + packed + whole[offset + len(packed) :]
        harmless = name in ("wrong-bits",)  # the type already tells the bits
        yield Variant(f"nii-says-{name}", "images/bad.nii", content, refused=not harmless)
    for name, offset, values in (
        ("offset-beyond-the-end", 108, (1e9,)), ("offset-not-a-number", 108, (np.nan,)),
        ("offset-negative", 108, (-9.0,)), ("slope-infinite", 112, (np.inf, 0)),
        ("slope-not-a-number", 112, (np.nan, 1)),
        ("spacing-0", 76, (1, 0, 0, 0)), ("spacing-nan", 76, (np.nan,) * 4), ("axes-0", 280, (0.0,) * 12),
        ("axes-nan", 280, (np.nan,) * 12), ("display-range-turned", 124, (-5.0, 5.0)),
    ):  # fmt: skip
        packed = struct.pack(f"<{len(values)}f", *values)
        content = whole[:offset] + packed + whole[offset + len(packed) :]
        yield Variant(f"nii-{name}", "images/bad.nii", content)
    yield Variant("nii-big-endian-size", "images/bad.nii", struct.pack(">i", 348) + whole[4:])
    bomb = gzip.compress(whole + bytes(60_000_000), 1)
    yield Variant("nii.gz-bomb", "images/bad.nii.gz", bomb)
    huge = gzip.compress(whole[:40] + struct.pack("<4h", 3, 30_000, 30_000, 900) + whole[48:])
    yield Variant("nii.gz-says-huge", "images/bad.nii.gz", huge, refused=True)
    yield Variant("nii.gz-not-packed", "images/bad.nii.gz", whole)
    for name, array in {
        "not-a-number": np.full((24, 32, 3), np.nan, np.float32),
        "four-dimensions": np.zeros((8, 8, 3, 2), np.int16),
        "one-dimension": np.zeros(9, np.int16),
    }.items():
        yield Variant(f"nii-{name}", "images/bad.nii", nifti_bytes(array, "nii"), refused=True)

    for name, fields in {
        "huge": {"Rows": 65_535, "Columns": 65_535}, "too-long": {"Rows": 60}, "no-rows": {"Rows": None},
        "0-rows": {"Rows": 0}, "no-pixels": {"PixelData": None}, "empty-pixels": {"PixelData": b""},
        "13-bits": {"BitsAllocated": 13}, "4-samples": {"SamplesPerPixel": 4},
        "unknown-colours": {"PhotometricInterpretation": "NONSENSE"},
        "palette-without-table": {"PhotometricInterpretation": "PALETTE COLOR"},
        "many-frames": {"NumberOfFrames": 1_000_000},
    }.items():  # fmt: skip
        yield Variant(f"dcm-says-{name}", "images/bad.dcm", dicom_bytes(**fields), refused=True)
    for name, fields in {
        "no-window-width": {"WindowWidth": "0"}, "negative-width": {"WindowWidth": "-5"},
        "negative-spacing": {"PixelSpacing": ["-1", "0"]}, "one-spacing": {"PixelSpacing": "0.5"},
        "slope-0": {"RescaleSlope": "0", "RescaleIntercept": "0"}, "high-bit-3": {"HighBit": 3},
        "more-bits-than-allocated": {"BitsStored": 20}, "no-representation": {"PixelRepresentation": None},
    }.items():  # fmt: skip
        yield Variant(f"dcm-{name}", "images/bad.dcm", dicom_bytes(**fields))
