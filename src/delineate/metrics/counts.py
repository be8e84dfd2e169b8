"""Pixel counts of one image: what every overlap score is computed from."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError


class Counts(NamedTuple):
    """Pixels of one image (or of many, pooled) by reference and prediction.

    Attributes:
        tp: object in both.
        fp: object in the prediction only.
        fn: object in the reference only.
        tn: background in both.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def reference(self) -> int:
        """Object pixels of the reference."""
        return self.tp + self.fn

    @property
    def prediction(self) -> int:
        """Object pixels of the prediction."""
        return self.tp + self.fp

    @property
    def flipped(self) -> "Counts":
        """The same pixels with background and object exchanged."""
        return Counts(tp=self.tn, fp=self.fn, fn=self.fp, tn=self.tp)


def count(reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_]) -> Counts:
    """Count the pixels of one image.

    Args:
        reference: (H, W) bool, True where the object is.
        prediction: (H, W) bool.

    Raises:
        InputError: the arrays differ in shape, are not boolean, or hold no pixel. A one-channel map is
            thresholded by the caller, never here, so that the threshold is always written down.
    """
    if reference.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise InputError(
            f"reference and prediction must be boolean, got {reference.dtype} and {prediction.dtype}; "
            "compare the map with a threshold first."
        )
    if reference.shape != prediction.shape or reference.ndim != 2 or reference.size == 0:
        raise InputError(
            "reference and prediction must have one shape (height, width) with at least one pixel, "
            f"got {[*reference.shape]} and {[*prediction.shape]}; resize the prediction to the reference."
        )
    in_reference, in_prediction = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    tp = int(np.count_nonzero(reference & prediction))
    fp, fn = in_prediction - tp, in_reference - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=reference.size - tp - fp - fn)


def pool(counts: Iterable[Counts]) -> Counts:
    """Sum the counts of many images; a score of the sum weighs images by their pixels."""
    total = np.array([*counts], dtype=np.int64).reshape(-1, 4).sum(axis=0)
    return Counts(*(int(value) for value in total))
