"""Corrections whose every byte follows from a number."""

import io

import numpy as np
from PIL import Image

from delineate.web.store import Correction


def encoded(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def picture(number, side=24):
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return encoded(pixels)


def drawn(number, side=24, value=255):
    mask = np.zeros((side, side), np.uint8)
    mask[2 : 6 + number % 8, 3:9] = value
    return encoded(mask)


def correction(number=0, **changes):
    return Correction(
        **{
            "filename": f"image {number}.png",
            "image": picture(number),
            "model": "bright",
            "identity": "test@111111111111 bright",
            "classes": ("lesion",),
            "labels": ("good", "bad"),
            "mask": drawn(number),
            "predicted_mask": drawn(number + 1),
            "label": "bad",
            "author": "A. Reader",
            "comment": "edge",
            "seconds": 12.5,
        }
        | changes
    )
