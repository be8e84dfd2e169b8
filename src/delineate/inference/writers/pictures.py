"""Masks, outlines, probabilities and uncertainty as PNG files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError
from delineate.files import atomic_path
from delineate.inference.writers.base import Output, PictureWriter

COLOURS = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
"""Okabe and Ito's palette, told apart by colour-blind readers; one colour per class, then from the start."""

LARGEST_VARIANCE = 0.25
"""The most that `Uncertainty.variance` can be, when half of the votes are 0 and half are 1; becomes 65535."""


def draw_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw the outline of each class of a mask on a copy of an image.

    Args:
        image: uint8 RGB (H, W, 3).
        mask: uint8 (H, W), class indices, 0 background.

    Returns:
        uint8 RGB (H, W, 3); lines are about a 200th of the longer side wide, and lie inside the class.
    """
    from scipy.ndimage import binary_erosion

    drawn = image.copy()
    width = max(1, round(max(mask.shape) / 200))
    for index in np.unique(mask[mask > 0]):
        region = mask == index
        # A class that touches the frame is outlined there too, so that the line is closed.
        inner = binary_erosion(region, iterations=width)
        drawn[region & ~inner] = COLOURS[(int(index) - 1) % len(COLOURS)]
    return drawn


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels atomically: uint8 grey or RGB, or uint16 grey."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def to_16_bits(values: NDArray[np.floating], largest: float = 1.0) -> NDArray[np.uint16]:
    """Bring values from 0 to `largest` to whole numbers from 0 to 65535, rounded."""
    scaled = np.clip(np.asarray(values, np.float32) * np.float32(65535 / largest), 0, 65535)
    return np.rint(scaled).astype(np.uint16)


class MaskWriter(PictureWriter):
    """`masks/<id>.png`: 0 and 255 for one class, the index of the class for several."""

    def add(self, output: Output) -> None:
        """Write one mask, if the model gives any."""
        mask = output.prediction.mask
        if mask is not None:
            path = self.place("masks", f"{output.id}.png")
            write_png(path, mask if len(output.info.classes) > 1 else mask * np.uint8(255))


class OverlayWriter(PictureWriter):
    """`overlays/<id>.png`: the outline of each class on the image."""

    def add(self, output: Output) -> None:
        """Write one overlay, if the model gives masks."""
        if output.prediction.mask is not None:
            drawn = draw_outline(output.image, output.prediction.mask)
            write_png(self.place("overlays", f"{output.id}.png"), drawn)


class ProbabilityWriter(PictureWriter):
    """`probabilities/<id>.png` for one class, 65535 means 1; for several `<id>.npz`.

    The latter holds one array, float32 (classes + 1, H, W) with the background first, in steps of 1/65536,
    which compress to half the size. `delineate evaluate --predictions` reads both.
    """

    def add(self, output: Output) -> None:
        """Write the probabilities of one picture."""
        probability = output.need_probability()
        if probability.ndim == 2:
            write_png(self.place("probabilities", f"{output.id}.png"), to_16_bits(probability))
            return
        steps = np.rint(probability * np.float32(65536)) / np.float32(65536)
        path = self.place("probabilities", f"{output.id}.npz")
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, probability=steps.astype(np.float32))


class UncertaintyWriter(PictureWriter):
    """`uncertainty/<id>.png` (entropy; 65535 means 1), `variance/<id>.png` (65535 means 0.25)."""

    def add(self, output: Output) -> None:
        """Write the uncertainty maps of one picture."""
        found = output.prediction.uncertainty
        if found is None:
            raise InputError(
                f"{output.id!r} was predicted without its uncertainty; give --uncertainty to write it."
            )
        if found.entropy is not None:
            write_png(self.place("uncertainty", f"{output.id}.png"), to_16_bits(found.entropy))
        if found.variance is not None:
            pixels = to_16_bits(found.variance, LARGEST_VARIANCE)
            write_png(self.place("variance", f"{output.id}.png"), pixels)
