"""Smooth random fields that look the same at every resolution."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

# A uniform cubic B-spline of unit normal coefficients has a mean variance of (151/315)^2 in two dimensions.
_SPLINE_DEVIATION = 151 / 315


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> Field:
    """Draw a smooth field: a cubic B-spline surface over a coarse grid of normal coefficients.

    The number of draws depends on `cells` alone, so one generator state gives one picture at any `size`; sums
    of rows instead of a matrix product keep the bytes independent of the number of BLAS threads.

    Args:
        rng: source of the coefficients.
        cells: grid cells along a side; a feature is about one cell wide.
        size: side of the result, pixels.

    Returns:
        (size, size) float32, mean about 0, standard deviation about 1.
    """
    coefficients = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    taps = _spline(cells, size)

    def along_rows(values: Field) -> Field:
        result = np.zeros((size, values.shape[1]), np.float32)
        part = np.empty_like(result)
        for cell, weight in taps:
            np.take(values, cell, axis=0, out=part, mode="clip")
            part *= weight
            result += part
        return result

    return along_rows(np.ascontiguousarray(along_rows(coefficients).T))


@lru_cache(maxsize=64)
def _spline(cells: int, size: int) -> list[tuple[NDArray[np.intp], Field]]:
    """Return the four taps of a cubic B-spline: coefficient index (size,) and weight (size, 1) per pixel."""
    position = (np.arange(size) + 0.5) * (cells / size)
    cell = np.minimum(position.astype(np.intp), cells - 1)
    t = (position - cell)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    scale = 6 * _SPLINE_DEVIATION**0.5
    return [(cell + step, (weight / scale).astype(np.float32)) for step, weight in enumerate(weights)]


def fractal_noise(rng: np.random.Generator, cells: tuple[int, ...], size: int, falloff: float = 0.6) -> Field:
    """Add smooth fields of several cell sizes, each `falloff` times as strong as the one before.

    Returns:
        (size, size) float32, mean about 0, standard deviation about 1.
    """
    amplitudes = [falloff**octave for octave in range(len(cells))]
    scale = sum(amplitude**2 for amplitude in amplitudes) ** 0.5
    total = np.zeros((size, size), np.float32)
    for amplitude, count in zip(amplitudes, cells, strict=True):
        octave = smooth_noise(rng, count, size)
        octave *= np.float32(amplitude / scale)
        total += octave
    return total


def smoothstep(low: float, high: float, values: Field) -> Field:
    """Rise from 0 at `low` to 1 at `high` (falls when `low` > `high`) along 3t^2 - 2t^3."""
    t = (values - np.float32(low)) * np.float32(1 / (high - low))
    np.clip(t, 0, 1, out=t)
    slope = t * np.float32(-2)
    slope += 3
    t *= t
    t *= slope
    return t
