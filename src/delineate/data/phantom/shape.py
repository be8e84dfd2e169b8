"""The outline of a lesion: a closed curve in polar form, bent by a smooth deformation of the plane."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from delineate.data.phantom.anatomy import FIELD_OF_VIEW_MM, LesionParameters
from delineate.data.phantom.noise import Field, fractal_noise, smooth_noise

_ANGLES = 720


@dataclass(frozen=True)
class Outline:
    """A lesion on the pixel grid."""

    mask: NDArray[np.bool_]
    """(S, S), true inside the outline; one piece without holes, never empty."""
    depth: Field
    """(S, S), millimetres along the ray from the border inwards, negative outside."""
    angle: Field
    """(S, S), direction seen from the centre, radians, -pi to pi."""
    reach: Field
    """(S, S), distance from the centre as a share of the border's distance in that direction, >= 0."""
    cover: Field
    """(S, S), how much of the lesion's pigment is there, 0 to 1, 0.5 at the border."""


def draw_outline(parameters: LesionParameters, rng: np.random.Generator, size: int) -> Outline:
    """Draw the outline of one lesion.

    Args:
        parameters: asymmetry, irregularity, diameter, elongation, centre and softness are used.
        rng: source of the details of the form.
        size: S, side of the picture, pixels.
    """
    radius, softness = _radius(parameters, rng)
    pixel = np.float32(FIELD_OF_VIEW_MM / size)
    grid = (np.arange(size, dtype=np.float32) + 0.5) * pixel
    # A bent plane makes bays and overhangs, which r(angle) alone cannot have.
    bend = np.float32(parameters.diameter_mm * (0.015 + 0.030 * parameters.irregularity))
    cells = max(8, round(7 * FIELD_OF_VIEW_MM / parameters.diameter_mm))  # about seven bays across the lesion
    dx = grid[None, :] - np.float32(parameters.x_mm)
    dy = grid[:, None] - np.float32(parameters.y_mm)
    dx = dx + bend * smooth_noise(rng, cells, size)
    dy = dy + bend * smooth_noise(rng, cells, size)

    distance = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dy, dx)
    # Linear interpolation on the periodic table: cheaper than np.interp, and the table is fine enough.
    position = (angle + np.float32(np.pi)) * np.float32(_ANGLES / (2 * np.pi))
    index = np.clip(position.astype(np.int32), 0, _ANGLES - 1)
    part = position - index.astype(np.float32)
    border = radius[index] * (1 - part) + radius[index + 1] * part
    # A cloudy border: patches of pigment outgrow it here and leave gaps there.
    rough = np.float32(parameters.diameter_mm * (0.004 + 0.052 * parameters.irregularity))
    depth = border - distance + rough * fractal_noise(rng, (2 * cells, 5 * cells), size)
    mask = _one_piece(depth > 0)
    cover = 1 / (1 + np.exp(np.clip(-depth / softness[index] * np.float32(2), -30, 30)))
    # Slivers that the bend tore off are not part of the lesion, so they carry no pigment either.
    cover = np.where(mask | (depth <= 0), cover, np.float32(0.3))
    return Outline(mask, depth, angle, distance / border, cover)


def _radius(parameters: LesionParameters, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the border's distance and softness at `_ANGLES` + 1 directions, millimetres."""
    theta = np.linspace(-np.pi, np.pi, _ANGLES + 1)
    axis = rng.uniform(0, np.pi)
    form = parameters.elongation * np.cos(2 * (theta - axis))
    # Odd orders have no mirror partner across the centre; their directions differ from the ellipse's axes.
    for order, amplitude in ((3, 0.24), (5, 0.12), (4, 0.05)):
        form += amplitude * parameters.asymmetry * np.cos(order * (theta - rng.uniform(0, 2 * np.pi)))
    orders = np.arange(6, 22)
    weights = orders**-1.2 * rng.uniform(0.5, 1.5, orders.size)
    phases = rng.uniform(0, 2 * np.pi, orders.size)
    jagged = (weights[:, None] * np.cos(orders[:, None] * theta + phases[:, None])).sum(0)
    jagged /= np.sqrt((weights**2).sum() / 2)
    # Notches are uneven in life: one part of the border is worse than another.
    uneven = 1 + 0.45 * np.cos(theta - rng.uniform(0, 2 * np.pi))
    form += (0.006 + 0.068 * parameters.irregularity) * uneven * jagged
    radius = np.exp(form)
    radius *= parameters.diameter_mm / 2 / np.sqrt(np.mean(radius[:-1] ** 2))

    softness = np.exp(
        0.6 * np.cos(theta - rng.uniform(0, 2 * np.pi)) + 0.3 * np.cos(2 * theta - rng.uniform(0, 2 * np.pi))
    )
    softness *= parameters.softness_mm / softness.mean()
    return radius.astype(np.float32), softness.astype(np.float32)


def _one_piece(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest connected piece and close its holes."""
    pieces, count = ndimage.label(inside)
    if count > 1:
        inside = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    # A hole is a background piece that does not touch the frame.
    outside, count = ndimage.label(np.pad(~inside, 1, constant_values=True))
    return np.asarray(outside[1:-1, 1:-1] != outside[0, 0]) if count > 1 else inside
