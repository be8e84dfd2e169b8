"""Activation maps as colours, over the image or alone."""

import numpy as np
from numpy.typing import NDArray

from delineate.explain.activation import Method


def map_method(model: str) -> Method:
    """Return the activation map that suits a model of the table: CLNet's own for CLNet, else Grad-CAM."""
    return "clnet" if model == "clnet" else "gradcam"


def colour_map(activation: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour a map (H, W) in [0, 1] as uint8 RGBA whose opacity rises with the value; 0 is transparent."""
    from matplotlib import colormaps  # slow to import

    coloured: NDArray[np.uint8] = colormaps["viridis"](activation, bytes=True)
    coloured[..., 3] = np.round(255 * 0.72 * np.clip(activation * 1.6, 0, 1))
    return coloured


def overlay_map(image: NDArray[np.uint8], activation: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a map (H, W) in [0, 1] over an image, uint8 RGB (H, W, 3); returns uint8 RGB."""
    coloured = colour_map(activation).astype(np.float32)
    opacity = coloured[..., 3:] / 255
    return np.round(coloured[..., :3] * opacity + image * (1 - opacity)).astype(np.uint8)
