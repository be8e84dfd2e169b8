"""Tiny images, masks and tables for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Noise that differs from number to number."""
    return np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)


def disc(number: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """A binary mask, 0/255, with a disc that differs from number to number."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (((rows - 10) ** 2 + (columns - 8 - number % 12) ** 2) < 36).astype(np.uint8) * 255


def save(array: np.ndarray, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
