"""Scores that count a poor segmentation as none."""

import numpy as np

from delineate.metrics.counts import Counts
from delineate.metrics.overlap import Empty, iou

LEAST = 0.65


def jaccard_thr065(counts: Counts, *, empty: Empty = "one") -> float:
    """IoU of one image, 0 where it is below 0.65; 0 to 1, higher is better.

    One of the masks empty: 0. Both: `empty`.

    Source:
        ISIC 2018 challenge, task 1, Codella et al., arXiv:1902.03368.
    """
    value = iou(counts, empty=empty)
    return value if np.isnan(value) or value >= LEAST else 0.0
