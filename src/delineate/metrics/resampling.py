"""Bootstrap weights, and scores of many resamples at once.

A resample draws n cases with replacement; how often each case was drawn is its weight. A score of 2000
resamples is then one matrix product, or one pass over the sorted cases, in place of 2000 calls of a library.

Shapes: N cases, R resamples; weights are (R, N) float64, whole numbers >= 0. A score that a resample leaves
undefined (no positive case drawn, say) is NaN there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_CHUNK = 4_000_000  # weights held at a time, 32 MB


def group_index(groups: Sequence[Any] | None, cases: int) -> npt.NDArray[np.intp]:
    """Number the groups: (N,) integers, 0 to groups - 1.

    Args:
        groups: one entry per case (patient, lesion, video), or None: every case is its own group. A case
            whose entry is None or NaN is its own group too.
        cases: N.

    Raises:
        InputError: `groups` does not have one entry per case.
    """
    if groups is None:
        return np.arange(cases)
    if len(groups) != cases:
        raise InputError(f"groups must name one group per case, got {len(groups)} groups for {cases} cases.")
    codes = pd.factorize(pd.Series(list(groups), dtype=object))[0].astype(np.intp)
    unknown = codes < 0
    codes[unknown] = codes.max(initial=-1) + 1 + np.arange(np.count_nonzero(unknown))
    return codes


def resample_weights(group_of: npt.NDArray[np.intp], resamples: int, seed: int) -> Iterator[FloatArray]:
    """Draw whole groups with replacement, in chunks of at most about 32 MB.

    Args:
        group_of: (N,) group number of each case, as `group_index` gives.
        resamples: R over all chunks.
        seed: of the generator; the same seed gives the same weights.

    Yields:
        (r, N) weights; the chunks together are R rows.
    """
    generator = np.random.default_rng(seed)
    groups = int(group_of.max()) + 1
    chunk = max(1, _CHUNK // max(groups, group_of.size))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = generator.integers(0, groups, size=(rows, groups))
        drawn += np.arange(rows)[:, None] * groups
        times = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
        yield times[:, group_of].astype(np.float64)


def share(hits: BoolArray | FloatArray, among: BoolArray | FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted sum of `hits` over weighted sum of `among`, (R,); NaN where the latter is 0."""
    total = weights @ among.astype(np.float64)
    return _divide(weights @ hits.astype(np.float64), total)


def mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted means of each column, NaN entries left out.

    Args:
        values: (N, S), NaN where a case has no such score.
        weights: (R, N).

    Returns:
        (R, S), NaN where no case with a value was drawn.
    """
    known = np.isfinite(values)
    return _divide(weights @ np.where(known, values, 0.0), weights @ known.astype(np.float64))


def auc(scores: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Area under the ROC curve of each resample: the share of (positive, negative) pairs in order, ties half.

    Args:
        scores: (N,) higher means more likely positive.
        positive: (N,) bool.
        weights: (R, N).

    Returns:
        (R,), NaN where a resample lacks positives or negatives.
    """
    positives, negatives = _by_score(scores, positive, weights)
    below = np.cumsum(negatives, axis=1) - negatives
    ordered = (positives * (below + negatives / 2)).sum(axis=1)
    return _divide(ordered, positives.sum(axis=1) * negatives.sum(axis=1))


def average_precision(scores: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Average precision of each resample: precision at each score, weighted by the recall it adds.

    Arguments and result as `auc`; no interpolation, as scikit-learn.
    """
    positives, negatives = _by_score(-scores, positive, weights)
    found = np.cumsum(positives, axis=1)
    precision = _divide(found, found + np.cumsum(negatives, axis=1))
    total = positives.sum(axis=1)
    area = np.where(positives > 0, positives * precision, 0.0).sum(axis=1)
    both = np.where(negatives.sum(axis=1) > 0, total, 0.0)
    return _divide(area, both)


def _by_score(scores: FloatArray, positive: BoolArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum the weights of positives and of negatives at each distinct score, ascending: (R, scores) each."""
    if not len(scores):  # reduceat below cannot sum nothing
        nothing = np.zeros((len(weights), 0))
        return nothing, nothing
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    ordered = weights[:, order]
    of_positives = ordered * positive[order]
    return (
        np.add.reduceat(of_positives, first, axis=1),
        np.add.reduceat(ordered - of_positives, first, axis=1),
    )


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    quotient = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)
