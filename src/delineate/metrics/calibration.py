"""Do the label probabilities mean what they say?

Two classes: the probability of the positive class against how often it is the truth. Three and more: the
probability of the predicted class against how often it is right (top label). Bins are of equal width over 0
to 1, left edge included; 1 belongs to the last bin. Both scores are defined for targets of a single class;
without any labelled case they are NaN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError
from delineate.metrics import resampling
from delineate.metrics.labels import Labels, read_labels

FloatArray = npt.NDArray[np.float64]
BINS = 15  # as Guo et al.


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram; empty bins hold NaN."""

    edges: FloatArray
    """(bins + 1,) from 0 to 1."""
    confidence: FloatArray
    """(bins,) mean probability in each bin."""
    frequency: FloatArray
    """(bins,) how often it came true."""
    cases: npt.NDArray[np.int64]
    """(bins,) cases, or pixels, in each bin."""

    def to_frame(self) -> pd.DataFrame:
        """Return the curve as a table: low and high edge, confidence, frequency and count of each bin."""
        return pd.DataFrame(
            {
                "low": self.edges[:-1],
                "high": self.edges[1:],
                "confidence": self.confidence,
                "frequency": self.frequency,
                "count": self.cases,
            }
        )


def calibration(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, bins: int = BINS) -> Calibration:
    """Compute the reliability diagram.

    Args:
        probabilities: (N,) of the positive class, or (N, classes).
        targets: (N,) class index, -1 is missing and left out.
        bins: number of bins, at least 1.

    Raises:
        InputError: as `read_labels`, or `bins` below 1.
    """
    confidence, truth = _confidence(read_labels(probabilities, targets))
    member = _bins(confidence, bins)
    cases = member.sum(axis=0)
    return Calibration(
        edges=np.linspace(0, 1, bins + 1),
        confidence=resampling.mean(confidence[:, None], member.T)[:, 0],
        frequency=resampling.mean(truth[:, None], member.T)[:, 0],
        cases=cases.astype(np.int64),
    )


def ece_rows(labels: Labels, weights: FloatArray | None = None, *, bins: int = BINS) -> FloatArray:
    """Expected calibration error for resamples (R, N), or for the cases as they are: (1, R)."""
    confidence, truth = _confidence(labels)
    w = np.ones((1, truth.size)) if weights is None else weights
    gap = (truth - confidence)[:, None] * _bins(confidence, bins)  # (N, bins)
    # count_b |frequency_b - confidence_b| is |sum of gaps in b|
    total = w.sum(axis=1)
    return np.where(total > 0, np.abs(w @ gap).sum(axis=1) / np.maximum(total, 1), np.nan)[None]


def brier_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Brier score for resamples (R, N), or for the cases as they are: (1, R)."""
    if labels.binary:
        error = (labels.probabilities[:, 1] - labels.targets) ** 2
    else:
        wanted = np.eye(labels.probabilities.shape[1])[labels.targets]
        error = ((labels.probabilities - wanted) ** 2).sum(axis=1)
    w = np.ones((1, error.size)) if weights is None else weights
    return resampling.mean(error[:, None], w).T


def ece(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1, lower is better.

    The mean over cases of |frequency - mean probability| of the bin they fall into.

    Source:
        Guo et al., ICML 2017, arXiv:1706.04599, Eq. (3); the two-class reading is torchmetrics'.
    """
    return float(ece_rows(read_labels(probabilities, targets), bins=bins)[0, 0])


def brier(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Brier score: mean squared error of the probabilities, lower is better.

    Two classes: of the positive class alone, 0 to 1. Three and more: summed over the classes, 0 to 2.

    Source:
        Brier, Monthly Weather Review 78, 1950.
    """
    return float(brier_rows(read_labels(probabilities, targets))[0, 0])


def _confidence(labels: Labels) -> tuple[FloatArray, FloatArray]:
    if labels.binary:
        return labels.probabilities[:, 1], labels.targets.astype(np.float64)
    right = labels.predicted == labels.targets
    return labels.probabilities.max(axis=1), right.astype(np.float64)


def bin_of(confidence: FloatArray, bins: int) -> npt.NDArray[np.int64]:
    """Return the bin, 0 to bins - 1, that each probability falls into; 1 belongs to the last."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def _bins(confidence: FloatArray, bins: int) -> FloatArray:
    """Return (N, bins), 1 where a case falls into a bin."""
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}.")
    return np.eye(bins)[bin_of(confidence, bins)]
