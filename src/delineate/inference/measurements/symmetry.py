"""A: how much a lesion differs from its mirror images."""

import numpy as np

from delineate.inference.measurements.view import View


def asymmetry(view: View) -> dict[str, float | None]:
    """Compare a region with its mirror images about its two principal axes through the centroid.

    Returns:
        asymmetry_1, asymmetry_2: the smaller of the two parts of the area that do not overlap, and the sum
        of both; colour_asymmetry_1, colour_asymmetry_2: the smaller and the larger mean colour difference
        of mirrored pixels, None without an image.
    """
    shapes, colours = zip(*(_about(view, along) for along in (True, False)), strict=True)
    values: dict[str, float | None] = {"asymmetry_1": min(shapes), "asymmetry_2": sum(shapes)}
    if None in colours:
        return values | {"colour_asymmetry_1": None, "colour_asymmetry_2": None}
    return values | {"colour_asymmetry_1": min(colours), "colour_asymmetry_2": max(colours)}


def _about(view: View, along: bool) -> tuple[float, float | None]:
    """Mirror about the line along the axis, or about the line across it."""
    from scipy.ndimage import map_coordinates

    rows, columns = np.nonzero(view.cover)
    cover = view.cover[rows, columns]
    y, x = (rows - view.centre[0]) * view.steps[0], (columns - view.centre[1]) * view.steps[1]
    line = view.axis if along else np.array([-view.axis[1], view.axis[0]])
    onto = 2 * (y * line[0] + x * line[1])
    mirrored = np.stack(
        [
            (onto * line[0] - y) / view.steps[0] + view.centre[0],
            (onto * line[1] - x) / view.steps[1] + view.centre[1],
        ]
    )
    other = map_coordinates(view.cover, mirrored, order=1)
    apart = float(np.maximum(cover - other, 0).sum() / cover.sum())
    if view.lab is None:
        return apart, None
    both = (cover >= view.half) & (other >= view.half)
    if not both.any():
        return apart, None
    colours = np.stack(
        [map_coordinates(view.lab[..., c], mirrored[:, both], order=1) for c in range(3)], axis=1
    )
    difference = view.lab[rows[both], columns[both]] - colours
    return apart, float(np.sqrt((difference**2).sum(axis=1)).mean())
