"""Distance of layer boundaries in images whose layers run from left to right, as in OCT.

A layer has two boundaries: in each column its first and its last row. The mean Euclidean distance (MED) is
the mean, over both boundaries and over the columns in which the reference or the prediction has the layer, of
the distance between the boundary of the one and of the other in the same column, which is their distance in
rows. A column in which only one of them has the layer counts with the image's height, never as nothing. Gaps
inside a layer are not seen: only its outermost rows count.

It is made for layers that cross the image; of a round object it says little.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from delineate.metrics.overlap import Empty, empty_value

Mask = npt.NDArray[np.bool_]


def med(reference: Mask, prediction: Mask, *, spacing: Sequence[float] | None, empty: Empty = "one") -> float:
    """Mean Euclidean distance of a layer's two boundaries, column by column.

    Args:
        reference: (H, W) bool, one layer; rows are depth.
        prediction: (H, W) bool.
        spacing: millimetres per pixel, (row, column), of which the row's is used; None for pixels.
        empty: policy for two empty masks.

    Returns:
        >= 0, pixels or mm, lower is better. One mask empty gives the image's height. Both give 0, or NaN when
        `empty` is "skip".

    Source:
        The score of the GOALS challenge, Fang et al., arXiv:2207.14447, which M2SNet's table 5 prints; the
        rule for columns with the layer in one mask only is this package's.
    """
    step = 1.0 if spacing is None else float(spacing[0])
    height = reference.shape[0]
    here, there = reference.any(axis=0), prediction.any(axis=0)
    columns = int(np.count_nonzero(here | there))
    if columns == 0:
        return math.nan if math.isnan(empty_value(empty)) else 0.0
    shared = here & there
    a, b = reference[:, shared], prediction[:, shared]
    first = np.abs(a.argmax(axis=0) - b.argmax(axis=0))
    last = np.abs(a[::-1].argmax(axis=0) - b[::-1].argmax(axis=0))
    alone = columns - int(np.count_nonzero(shared))
    return step * (float(first.sum() + last.sum()) / 2 + alone * height) / columns
