"""Distances between the outlines of two masks, with MONAI's values.

The outline of a mask is its pixels with a 4-neighbour outside the mask; beyond the image frame counts as
outside. Both directions are measured, outline of the prediction to outline of the reference and back, from
pixel centre to pixel centre. The unit is pixels, or millimetres when the spacing is given.

Empty masks: with one mask empty there is no distance, and dropping such a case would reward a missed lesion,
so `hd`, `hd95` and `assd` are the image diagonal (in the same unit) and `nsd` is 0. With both empty they are
0 and `nsd` is 1, or all are NaN when `empty` is "skip".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError
from delineate.metrics.overlap import Empty, empty_value


@dataclass(frozen=True)
class SurfaceDistances:
    """All distances between two outlines, computed once for every score."""

    to_reference: npt.NDArray[np.float32]
    """(N,) distance of each outline pixel of the prediction to the reference's outline."""
    to_prediction: npt.NDArray[np.float32]
    """(M,) the other direction."""
    diagonal: float
    """Length of the image diagonal, in the unit of the distances."""
    empty_masks: int
    """How many of the two masks are empty: 0, 1 or 2."""


def surface_distances(
    reference: npt.NDArray[np.bool_],
    prediction: npt.NDArray[np.bool_],
    *,
    spacing: Sequence[float] | None = None,
) -> SurfaceDistances:
    """Measure from each outline to the other.

    Args:
        reference: (H, W) bool.
        prediction: (H, W) bool.
        spacing: millimetres per pixel, (row, column), or None for distances in pixels.

    Raises:
        InputError: the shapes differ, or `spacing` is not two positive numbers.
    """
    if reference.shape != prediction.shape or reference.ndim != 2:
        raise InputError(
            "reference and prediction must have one shape (height, width), "
            f"got {[*reference.shape]} and {[*prediction.shape]}; resize the prediction to the reference."
        )
    step = (1.0, 1.0) if spacing is None else tuple(float(value) for value in spacing)
    if len(step) != 2 or not all(math.isfinite(value) and value > 0 for value in step):
        raise InputError(
            f"spacing must be two positive numbers (row, column) in mm per pixel, got {spacing}."
        )
    diagonal = math.hypot(reference.shape[0] * step[0], reference.shape[1] * step[1])
    empty_masks = int(not reference.any()) + int(not prediction.any())
    if empty_masks:
        nothing = np.zeros(0, dtype=np.float32)
        return SurfaceDistances(nothing, nothing, diagonal, empty_masks)

    # Outside the box there is only background, and what lies beyond the frame counts as background too.
    both = reference | prediction
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    points, others = (np.argwhere(outline(mask[box])) * np.array(step) for mask in (prediction, reference))
    return SurfaceDistances(_to_nearest(points, others), _to_nearest(others, points), diagonal, 0)


def outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark the pixels of a mask that have a 4-neighbour outside it, or lie at the frame; (H, W) bool."""
    rim = mask.copy()
    inner = rim[1:-1, 1:-1]
    inner &= ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
    return rim


def _to_nearest(points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Distance of each of (N, 2) points to the nearest of the others, float32 as MONAI gives it."""
    from scipy.spatial import KDTree

    # An outline is a few hundred to a few thousand points: a tree is faster than a distance transform.
    distance, _ = KDTree(others, leafsize=32).query(points)
    return distance.astype(np.float32)


def hd(distances: SurfaceDistances, *, empty: Empty = "one") -> float:
    """Hausdorff distance: the largest distance of either direction.

    Returns:
        >= 0, pixels or mm; empty masks as in the module's docstring.
    """
    return _percentile(distances, None, empty)


def hd95(distances: SurfaceDistances, *, empty: Empty = "one") -> float:
    """95th percentile Hausdorff distance, MONAI's rule.

    The 95th percentile of each direction by linear interpolation (`torch.quantile`), then the larger of the
    two. Other tools take the percentile of both directions together, which gives other values.

    Returns:
        >= 0, pixels or mm; empty masks as in the module's docstring.
    """
    return _percentile(distances, 95.0, empty)


def assd(distances: SurfaceDistances, *, empty: Empty = "one") -> float:
    """Average symmetric surface distance: mean over the outline pixels of both masks together.

    Returns:
        >= 0, pixels or mm; empty masks as in the module's docstring.
    """
    if distances.empty_masks:
        return _without_outline(distances, empty)
    import torch

    # MONAI's mean, which is of single precision, so that the values are the same to the last digit.
    both = (distances.to_reference, distances.to_prediction)
    return float(torch.cat([torch.from_numpy(direction) for direction in both]).mean())


def nsd(distances: SurfaceDistances, tolerance: float, *, empty: Empty = "one") -> float:
    """Normalised surface Dice: share of both outlines that lies within `tolerance` of the other.

    Each outline pixel counts once (MONAI's `use_subvoxels=False`).

    Args:
        distances: of one image.
        tolerance: largest accepted distance, >= 0, in the unit of the distances.
        empty: policy for two empty masks.

    Returns:
        0 to 1; one mask empty gives 0, both give 1, or NaN when `empty` is "skip".

    Raises:
        InputError: `tolerance` is negative or not finite.

    Source:
        Nikolov et al., JMIR 2021, arXiv:1809.04430; the pixel version of Seidlitz et al., arXiv:2111.05408.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"The tolerance of nsd must be a finite number of at least 0, got {tolerance}.")
    if distances.empty_masks == 2:
        return math.nan if math.isnan(empty_value(empty)) else 1.0
    if distances.empty_masks == 1:
        return 0.0
    both = np.concatenate([distances.to_reference, distances.to_prediction])
    return float((both <= tolerance).mean())


def _percentile(distances: SurfaceDistances, percentile: float | None, empty: Empty) -> float:
    if distances.empty_masks:
        return _without_outline(distances, empty)
    import torch

    directions = (torch.from_numpy(distances.to_reference), torch.from_numpy(distances.to_prediction))
    if percentile is None:
        return float(max(direction.max() for direction in directions))
    # MONAI's quantile: its place between two distances is found with single precision, and differs from
    # numpy's by up to 1e-5 pixels.
    return float(max(direction.quantile(percentile / 100) for direction in directions))


def _without_outline(distances: SurfaceDistances, empty: Empty) -> float:
    if distances.empty_masks == 1:
        return distances.diagonal
    return math.nan if math.isnan(empty_value(empty)) else 0.0
