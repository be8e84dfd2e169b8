"""Regions of interest found by classical image processing, without a trained network.

FCP-Net segments the optic disc of REFUGE in a region of interest that was found with "conventional digital
image processing" and does not say which. Here the disc is the place that looks most like one: a bright round
plateau of the disc's size on an even background, crossed by the large vessels. Both signs are long known:

    brightness       Sinthanayothin et al., British Journal of Ophthalmology 83 (1999) 902-910
    closed vessels   Walter, Klein, Massin, Erginay, IEEE Trans. Medical Imaging 21 (2002) 1236-1243
    vessels meet     Hoover, Goldbaum, IEEE Trans. Medical Imaging 22 (2003) 951-958
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError

SIDE = 0.4
"""Side of the square, as a share of the field's diameter: as the regions of M-Net on REFUGE (800 of 2056
pixels), two to three times as wide as a disc."""

_WIDTH = 320  # diameter of the field while searching: a disc is then about 40 pixels wide, a vessel 3
_DARKEST_FIELD = 12  # grey levels; cameras leave up to about 10 outside the field
_LEAST_FIELD = 0.2  # of the picture
_LEAST_SIDE = 64  # pixels
_RADII = (0.05, 0.065, 0.085)  # of discs, as shares of the field's diameter
_DARK = 0.3  # of the mean light: places darker than this count as dark
_CROSSING = 0.6  # weight of the vessels against that of the brightness
_VESSEL = 0.02  # width of the largest vessels, likewise


class Box(NamedTuple):
    """A rectangle of pixels."""

    top: int
    """First row."""
    left: int
    """First column."""
    height: int
    """Rows."""
    width: int
    """Columns."""

    def crop(self, array: NDArray) -> NDArray:
        """The part of an (H, W, ...) array that lies in the box, a view."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]


def optic_disc_region(image: NDArray[np.uint8], side: float | None = None) -> Box:
    """Find a square around the optic disc of a fundus photograph.

    The picture is made small, the field of view found as its largest bright area, vessels closed, and light
    that fades slowly divided out. The score of a place is by how much a disc of pixels there is brighter than
    the ring around it, plus a smaller part for how much vessel lies there, both as shares of the field's best
    place, so that neither a bright lesion nor a crossing of vessels wins alone. Nothing is random. A blurred
    photograph without a visible disc gets some square, too: look at the result.

    Args:
        image: (H, W, 3) uint8 RGB, the whole photograph or most of it; disc and field in ordinary proportion
            (30 to 60 degrees of view).
        side: side of the square as a share of the field's diameter, above 0 and up to 1; None for `SIDE`.

    Returns:
        A square inside the picture, moved inwards where it would stand over the border; smaller than asked
        for only when the picture is.

    Raises:
        InputError: `image` has another shape or type, is too small, is dark or even all over, or `side` is
            out of range.
    """
    share = SIDE if side is None else side
    if not 0 < share <= 1:
        raise InputError(f"side is a share of the field of view, above 0 and at most 1, not {share:g}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"A fundus photograph is an (H, W, 3) uint8 array, not {'x'.join(map(str, image.shape))} "
            f"{image.dtype}; read it with read_case_image."
        )
    height, width = image.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        raise InputError(
            f"The picture has {height} x {width} pixels, too few to find a region in; give one of at least "
            f"{_LEAST_SIDE} x {_LEAST_SIDE}."
        )

    scale = min(1.0, _WIDTH / min(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = np.asarray(Image.fromarray(image).resize(small, Image.Resampling.BOX), dtype=np.float32)
    field = _field_of_view(reduced)
    diameter = _diameter(field)
    row, column = _disc_centre(reduced, field, diameter)

    wanted = max(1, round(share * diameter / scale))
    length = min(wanted, height, width)
    top = round((row + 0.5) / scale - length / 2)
    left = round((column + 0.5) / scale - length / 2)
    return Box(min(max(top, 0), height - length), min(max(left, 0), width - length), length, length)


REGIONS: dict[str, Callable[[NDArray[np.uint8]], Box]] = {"optic-disc": optic_disc_region}
"""Region's name -> finder: (H, W, 3) uint8 RGB -> its box."""


def _field_of_view(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The lit part of the picture: its largest area that is not black, without holes."""
    from scipy import ndimage

    light = image.max(axis=2)
    lit = light > max(_DARKEST_FIELD, 0.15 * float(np.percentile(light, 95)))
    areas, count = ndimage.label(ndimage.binary_opening(lit, iterations=2))
    sizes = np.bincount(areas.ravel(), minlength=2)[1:]
    if count == 0 or sizes.max() < _LEAST_FIELD * lit.size:
        raise InputError(
            "The picture has no field of view: less than a fifth of it is lit; give a fundus photograph as "
            "the camera made it."
        )
    field = ndimage.binary_fill_holes(areas == 1 + int(sizes.argmax()))
    if float(image[field].std(axis=0).max()) < 1:
        raise InputError("The picture is of one colour, so it shows no optic disc; give a fundus photograph.")
    return field


def _diameter(field: NDArray[np.bool_]) -> float:
    """Of the field of view in pixels; a field that the picture cuts off above and below counts as wide."""
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    return float(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)


def _disc_centre(
    image: NDArray[np.float32], field: NDArray[np.bool_], diameter: float
) -> tuple[float, float]:
    """Row and column of the place that looks most like an optic disc."""
    from scipy import ndimage

    inside = field.astype(np.float32)
    depth = ndimage.distance_transform_edt(np.pad(field, 1))[1:-1, 1:-1]
    sharp = depth > 2  # the outermost pixels are half dark; beyond, the nearest sharp one goes on
    nearest = ndimage.distance_transform_edt(~sharp, return_distances=False, return_indices=True)
    red, green = (image[..., channel][tuple(nearest)] for channel in (0, 1))
    footprint = _circle(max(2, round(_VESSEL * diameter)))
    closed = [ndimage.grey_closing(channel, footprint=footprint) for channel in (red, green)]
    vessels = closed[1] - green

    even = np.zeros_like(green)
    for channel in closed:  # light that fades slowly: a mean over a sixth of the field, outside not counted
        least = _DARK * float(channel[field].mean()) + 1  # or the noise of dark corners would shine
        even += channel / (_local_mean(channel, inside, diameter / 6) + least)
    even = np.minimum(even, float(np.percentile(even[field], 99.5)))  # glints must not outshine it

    brightness = np.full(even.shape, -np.inf, np.float32)
    for radius in (share * diameter for share in _RADII):
        disc, ring = _kernels(radius)
        contrast = _filter(even, disc) - _filter(even, ring)
        roughness = np.sqrt(np.maximum(_filter(even**2, disc) - _filter(even, disc) ** 2, 0))
        brightness = np.maximum(brightness, contrast - 0.5 * roughness)
    crossing = _local_mean(vessels, inside, _RADII[1] * diameter)
    allowed = depth > 0.5 * _RADII[0] * diameter
    score = _share_of_best(brightness, allowed) + _CROSSING * _share_of_best(crossing, allowed)
    score = np.where(allowed, score, -np.inf)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    return _centroid(even, field, float(row), float(column), _RADII[1] * diameter)


def _centroid(
    even: NDArray[np.float32], field: NDArray[np.bool_], row: float, column: float, radius: float
) -> tuple[float, float]:
    """Move the centre to the middle of what is bright around it, by at most a radius."""
    rows, columns = np.ogrid[: even.shape[0], : even.shape[1]]
    near = field & ((rows - row) ** 2 + (columns - column) ** 2 <= (1.5 * radius) ** 2)
    weight = np.where(near, np.maximum(even - np.percentile(even[near], 50), 0), 0)
    total = float(weight.sum())
    if total <= 0:
        return row, column
    moved = np.array([(weight * rows).sum(), (weight * columns).sum()]) / total - (row, column)
    moved *= min(1.0, radius / max(float(np.hypot(*moved)), 1e-6))
    return row + float(moved[0]), column + float(moved[1])


def _share_of_best(values: NDArray, where: NDArray[np.bool_]) -> NDArray:
    """How far values rise from their median `where` towards their largest one, 0 to 1."""
    median = float(np.median(values[where]))
    return np.maximum(values - median, 0) / max(float(values[where].max()) - median, 1e-6)


def _circle(radius: float) -> NDArray[np.bool_]:
    reach = int(np.ceil(radius))
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return rows**2 + columns**2 <= radius**2


def _kernels(radius: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means over a disc of the radius, and over the ring around it as wide as half of it."""
    outer = _circle(1.6 * radius)
    inner, gap = np.zeros_like(outer), np.zeros_like(outer)
    for share, into in ((1.0, inner), (1.1, gap)):
        small = _circle(share * radius)
        start = (len(outer) - len(small)) // 2
        into[start : start + len(small), start : start + len(small)] = small
    ring = outer & ~gap
    return (inner / inner.sum()).astype(np.float32), (ring / ring.sum()).astype(np.float32)


def _filter(values: NDArray, kernel: NDArray[np.float32]) -> NDArray:
    from scipy.signal import fftconvolve

    reach = len(kernel) // 2
    return fftconvolve(np.pad(values, reach, mode="edge"), kernel, mode="valid")


def _local_mean(values: NDArray, inside: NDArray[np.float32], sigma: float) -> NDArray:
    """Mean of the values around each pixel that lie inside, weighted almost as by a Gaussian."""
    from scipy import ndimage

    total, weight = values * inside, inside
    size = max(1, round(2 * sigma))  # three boxes of twice the deviation are as wide as the Gaussian
    for _ in range(3):
        total = ndimage.uniform_filter(total, size, mode="constant")
        weight = ndimage.uniform_filter(weight, size, mode="constant")
    return total / np.maximum(weight, 1e-3)
