"""Pictures written byte by byte, for kinds that Pillow cannot write."""

import struct
import zlib
from pathlib import Path

import numpy as np


def png(path: Path, width: int, height: int, depth: int, colour: int, raw: bytes) -> Path:
    """A PNG written by hand, for kinds that Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def deep_png(path: Path, values: np.ndarray, colour: int) -> Path:
    """A PNG of 16 bits per channel with every kind of row filter, written by hand."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8).astype(int)
    step = rows.shape[1] // width
    raw = b""
    for y in range(height):
        left = np.concatenate([np.zeros(step, int), rows[y, :-step]])
        up = rows[y - 1] if y else np.zeros_like(rows[y])
        base = [0 * left, left, up, (left + up) // 2][y % 4]
        raw += bytes([y % 4]) + ((rows[y] - base) % 256).astype(np.uint8).tobytes()
    return png(path, width, height, 16, colour, raw)


def deep_tiff(
    path: Path, values: np.ndarray, order: str = "<", photometric: int | None = None, planar: int = 1
) -> Path:
    """An uncompressed TIFF of 16 bits per channel, written by hand."""
    height, width, channels = values.shape if values.ndim == 3 else (*values.shape, 1)
    raw = values.astype(f"{order}u2").tobytes()
    default = 2 if channels == 3 else 1
    bits = 8 + len(raw)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 3 else 16),
        (259, 3, 1, 1),
        (262, 3, 1, default if photometric is None else photometric),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(raw)),
        (284, 3, 1, planar),
    ]
    body = raw + struct.pack(f"{order}{channels}H", *[16] * channels)
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3 and count == 1
        table += struct.pack(f"{order}HHI", tag, kind, count)
        table += struct.pack(f"{order}HH" if short else f"{order}I", *((value, 0) if short else (value,)))
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    path.write_bytes(start + body + table + b"\0\0\0\0")
    return path
