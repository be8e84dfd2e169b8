"""From the per-image table to one number per score with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError
from delineate.metrics import resampling
from delineate.metrics.catalogue import METRICS
from delineate.metrics.histograms import Histograms
from delineate.metrics.labels import MISSING
from delineate.metrics.names import read_name
from delineate.metrics.parts import (
    ImageMeans,
    LabelScores,
    Part,
    Pooled,
    Score,
    SetScores,
    table_labels,
    table_targets,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """One score over a set of cases."""

    mean: float | None
    """The value; the number itself for a total such as `empty_references`; None when undefined."""
    low: float | None
    """Lower end of the interval; None when undefined or with fewer than two cases or groups."""
    high: float | None
    """Upper end."""
    n: int
    """Cases that entered: skipped images and missing labels are not among them."""
    reason: str = ""
    """Why a value is None; not part of the JSON."""

    def as_json(self) -> dict[str, float | int | None]:
        """Return `{mean, low, high, n}`, free of NaN."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


def as_json(summaries: Mapping[str, Summary]) -> dict[str, dict[str, float | int | None]]:
    """Return `{score: {mean, low, high, n}}` for a JSON file."""
    return {name: summary.as_json() for name, summary in summaries.items()}


def summarise(
    table: pd.DataFrame,
    *,
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    threshold: float = 0.5,
    histograms: Histograms | None = None,
    extra: Sequence[str] = (),
) -> dict[str, Summary]:
    """Summarise a per-image table with bootstrap percentile intervals.

    Per-image scores are averaged, NaN (skipped, or a case without a mask) left out and not counted in `n`.
    Pooled scores come from the columns `tp`, `fp`, `fn`, `tn` (or `tp[NAME]` ...; the plain name is then the
    mean over classes). Batch scores take the rows in the table's order; in a resample an image stays in its
    batch. Scores of the whole set, such as `pranet_maxDic` and `auc_pixel_pooled`, come from `histograms`.
    Label scores come from the columns `label` (integer target, -1 or NaN missing) and
    `label_probability[NAME]`, one per label in the order of the targets; a single such column is the positive
    one. Totals (`empty_references`, `empty_predictions`, `missing_labels`) hold the number in `mean`, without
    interval. Columns that belong to no row of `METRICS` are ignored.

    Args:
        table: one row per case.
        groups: group of each row (patient, lesion, video): groups are resampled whole. A row whose entry is
            None or NaN is a group of its own. None resamples cases.
        resamples: number of bootstrap resamples, 0 for no intervals.
        seed: the same seed and table give the same intervals.
        confidence: coverage of the intervals, between 0 and 1.
        threshold: of the positive label when there are two.
        histograms: of the images, found by the column `image_id`; with several classes the plain name is the
            mean over classes.
        extra: names of scores that are not there without being asked for: "dice_batch@8", "pranet_maxDic",
            "label_sensitivity@0.3". Names of per-image scores are passed over, so that `score_image` and this
            function take the same `expand_names(...)`. Without it, histograms give all their scores.

    Returns:
        Score -> Summary. An undefined score has mean None and a `reason`. Resamples in which a score is
        undefined do not enter its interval; when they are more than half, there is none.

    Raises:
        InputError: the table is empty or holds an infinite score; labels, groups, histograms or options do
            not fit; or a score in `extra` lacks what it is computed from.
    """
    if table.empty:
        raise InputError("The table of scores has no rows; there is nothing to summarise.")
    if not 0 < confidence < 1 or resamples < 0:
        raise InputError(
            f"confidence must be between 0 and 1 and resamples at least 0, got {confidence} and {resamples}."
        )
    group_of = resampling.group_index(groups, len(table))
    parts = _parts(table, threshold, histograms, extra)

    chunks: list[list[FloatArray]] = [[] for _ in parts]
    for weights in resampling.resample_weights(group_of, resamples, seed):
        for part, drawn in zip(parts, chunks, strict=True):
            drawn.append(part.resample(weights))

    summaries: dict[str, Summary] = {}
    tail = 50 * (1 - confidence)
    for part, drawn in zip(parts, chunks, strict=True):
        spread = np.concatenate(drawn, axis=1) if drawn else np.empty((len(part.scores), 0))
        for score, values in zip(part.scores, spread, strict=True):
            summaries[score.name] = _interval(score, values, group_of, tail)
    return summaries | _totals(table)


def _parts(
    table: pd.DataFrame, threshold: float, histograms: Histograms | None, extra: Sequence[str]
) -> list[Part]:
    chosen = list(dict.fromkeys(map(read_name, extra)))
    batches = [one for one in chosen if one.metric.batch]
    means, pooled = ImageMeans(table), Pooled(table, batches)
    parts: list[Part] = [means, pooled]
    masks = bool(means.scores or pooled.scores)  # labels alone have no scores of masks, whatever is asked for
    if batches and masks and not pooled.scores:
        raise InputError(
            f"{batches[0].column} needs the columns tp, fp, fn and tn; give the whole table of scores."
        )
    of_set = [one.name for one in chosen if one.metric.histograms is not None]
    if histograms is not None:
        every = [name for name, row in METRICS.items() if row.histograms is not None]
        parts.append(SetScores(table, histograms, of_set or every))
    elif of_set and masks:
        raise InputError(f"{of_set[0]} is computed from the histograms of the images; give them too.")
    labelled = table_labels(table, threshold)
    stated = [one for one in chosen if one.metric.labels is not None and one.number is not None]
    if labelled is not None:
        parts.append(LabelScores(*labelled, stated))
    elif stated:
        raise InputError(f"{stated[0].column} needs the columns 'label' and 'label_probability[NAME]'.")
    return parts


def _interval(score: Score, values: FloatArray, group_of: npt.NDArray[np.intp], tail: float) -> Summary:
    n = int(np.count_nonzero(score.known))
    if np.isnan(score.value):
        return Summary(None, None, None, n, score.reason or "No case has this score.")
    defined = values[~np.isnan(values)]
    if np.unique(group_of[score.known]).size < 2:
        return Summary(score.value, None, None, n, "An interval needs at least two cases or groups.")
    if 2 * defined.size < max(values.size, 1):
        return Summary(score.value, None, None, n, "Most resamples leave this score undefined.")
    low, high = np.percentile(defined, [tail, 100 - tail])
    return Summary(score.value, float(low), float(high), n)


def _totals(table: pd.DataFrame) -> dict[str, Summary]:
    totals: dict[str, Summary] = {}
    for name, column in (("empty_references", "reference_pixels"), ("empty_predictions", "predicted_pixels")):
        if column in table.columns:
            pixels = table[column].dropna()
            totals[name] = Summary(float((pixels == 0).sum()), None, None, len(pixels))
    if "label" in table.columns:
        missing = int(np.count_nonzero(table_targets(table) == MISSING))
        totals["missing_labels"] = Summary(float(missing), None, None, len(table))
    return totals
