"""What the saliency scores need to know of a reference mask alone, computed once for all maps scored on it.

The raw and the stretched map of one image share their reference, and its distance transform costs more than
all other parts of the scores together.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice]

WINDOW = 3
"""Pixels that the 7 x 7 window of the weighted F-measure reaches to each side."""
HALVING = 5
"""Pixels in which the nearness of a background pixel to the object halves."""
REACH = 128
"""Distance in pixels beyond which a background pixel counts as infinitely far from the object.

A false alarm there weighs 2 instead of 2 - 2^(-128/5), which lowers the weighted F-measure by 1e-8 of its
value at most.
"""

_NEARNESS = 0.5 ** (np.sqrt(np.arange(REACH**2 + 1)) / HALVING)  # by squared distance, a whole number


@dataclass(frozen=True)
class Surroundings:
    """The object's surroundings: how near each pixel is to it, and its nearest pixel where a window reaches.

    The pixels of a zone are those at most `REACH` from the object's box, those of a window at most `WINDOW`.
    """

    zone: Box
    """Slices of the image."""
    nearness: npt.NDArray[np.float64]
    """(zone) 2 ** (-distance / 5): 1 on the object, falling to 0."""
    window: Box
    """Slices of the image, inside the zone."""
    nearest: npt.NDArray[np.intp]
    """(window) position of the nearest object pixel, counted along the rows of the image; of several at one
    distance the one that scipy's distance transform names, as in PySODMetrics."""


@dataclass(frozen=True)
class ReferenceShape:
    """Facts of one reference mask; each is computed when first asked for."""

    mask: npt.NDArray[np.bool_]
    """(H, W) bool."""

    @cached_property
    def pixels(self) -> int:
        """Number of object pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> Box:
        """Smallest box that holds the object; the object must not be empty."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return np.s_[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]

    @cached_property
    def weight(self) -> npt.NDArray[np.float64]:
        """(box) 1 on the object, else 0: products with it sum over the object."""
        return self.mask[self.box].astype(np.float64)

    @cached_property
    def centre(self) -> tuple[int, int]:
        """Row and column of the object's centre of mass, rounded, halves to even."""
        rows, columns = self.box
        down = self.weight.sum(axis=1) @ np.arange(rows.start, rows.stop)
        along = self.weight.sum(axis=0) @ np.arange(columns.start, columns.stop)
        return round(float(down) / self.pixels), round(float(along) / self.pixels)

    @cached_property
    def surroundings(self) -> Surroundings:
        """Distances to the object, from one distance transform; the object must not be empty."""
        from scipy.ndimage import distance_transform_edt

        # All object pixels lie in the zone, so that distances in it are those in the whole image.
        zone, window = self.around(REACH), self.around(WINDOW)
        top, left = zone[0].start, zone[1].start
        nearest = distance_transform_edt(~self.mask[zone], return_distances=False, return_indices=True)
        height, width = nearest.shape[1:]
        inner = np.s_[
            window[0].start - top : window[0].stop - top, window[1].start - left : window[1].stop - left
        ]
        position = np.multiply(nearest[0][inner], self.mask.shape[1], dtype=np.intp)
        position += nearest[1][inner]
        position += top * self.mask.shape[1] + left

        nearest[0] -= np.arange(height, dtype=nearest.dtype)[:, None]
        nearest[1] -= np.arange(width, dtype=nearest.dtype)
        np.multiply(nearest, nearest, out=nearest)
        squared = np.minimum(nearest[0] + nearest[1], REACH**2)
        return Surroundings(zone, _NEARNESS.take(squared), window, position)

    def around(self, margin: int) -> Box:
        """Return the object's box grown by `margin` pixels to each side, within the image."""
        rows, columns = self.box
        height, width = self.mask.shape
        return np.s_[
            max(rows.start - margin, 0) : min(rows.stop + margin, height),
            max(columns.start - margin, 0) : min(columns.stop + margin, width),
        ]
