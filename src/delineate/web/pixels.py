"""Masks and maps as PNG in base64."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode 8-bit grey (H, W) or RGB (H, W, 3) as PNG; quickly rather than as small as possible."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=3)
    return stream.getvalue()


def png_base64(pixels: NDArray[np.uint8]) -> str:
    """As `png_bytes`, in base64."""
    return base64.b64encode(png_bytes(pixels)).decode("ascii")


def map_base64(values: NDArray[np.floating]) -> str:
    """Encode a map (H, W) in [0, 1] as round(255 v)."""
    return png_base64(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))
