"""From the per-image table to one number per score with its interval."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError
from delineate.metrics import resampling
from delineate.metrics.catalogue import METRICS, metric_of
from delineate.metrics.labels import MISSING, Labels, macro, read_labels, why_undefined
from delineate.metrics.overlap import overlap

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


@dataclass(frozen=True)
class _Score:
    """A score, the cases it uses, and its value over all of them."""

    name: str
    known: npt.NDArray[np.bool_]
    value: float
    reason: str = ""


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
) -> dict[str, Summary]:
    """Summarise a per-image table with bootstrap percentile intervals.

    Per-image scores are averaged, NaN (skipped, or a case without a mask) left out and not counted in `n`.
    Pooled scores come from the columns `tp`, `fp`, `fn`, `tn` (or `tp[NAME]` ...; the plain name is then the
    mean over classes). Label scores come from the columns `label` (integer target, -1 or NaN missing) and
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

    Returns:
        Score -> Summary. An undefined score has mean None and a `reason`. Resamples in which a score is
        undefined do not enter its interval; when they are more than half, there is none.

    Raises:
        InputError: the table is empty or holds an infinite score, or labels, groups or options do not fit.
    """
    if table.empty:
        raise InputError("The table of scores has no rows; there is nothing to summarise.")
    if not 0 < confidence < 1 or resamples < 0:
        raise InputError(
            f"confidence must be between 0 and 1 and resamples at least 0, got {confidence} and {resamples}."
        )
    group_of = resampling.group_index(groups, len(table))
    parts: list[_ImageMeans | _Pooled | _LabelScores] = [_ImageMeans(table), _Pooled(table)]
    labelled = _labels(table, threshold)
    if labelled is not None:
        parts.append(_LabelScores(*labelled))

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


def _interval(score: _Score, values: FloatArray, group_of: npt.NDArray[np.intp], tail: float) -> Summary:
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


class _ImageMeans:
    """Means of the per-image columns."""

    def __init__(self, table: pd.DataFrame) -> None:
        names = [str(name) for name in table.columns if _averaged(str(name))]
        self.values = table[names].to_numpy(dtype=np.float64)  # (N, S)
        infinite = [name for name, some in zip(names, np.isinf(self.values).any(axis=0), strict=True) if some]
        if infinite:
            raise InputError(f"The column {infinite[0]!r} of the table of scores holds an infinite value.")
        means = self.resample(np.ones((1, len(table))))
        known = ~np.isnan(self.values)
        self.scores = [_Score(name, known[:, i], float(means[i, 0])) for i, name in enumerate(names)]

    def resample(self, weights: FloatArray) -> FloatArray:
        return resampling.mean(self.values, weights).T  # (S, R)


class _Pooled:
    """Overlap scores of summed counts, each class and their mean."""

    def __init__(self, table: pd.DataFrame) -> None:
        suffixes = [str(name)[2:] for name in table.columns if re.fullmatch(r"tp(\[.+\])?", str(name))]
        columns = [[f"{kind}{suffix}" for kind in ("tp", "fp", "fn", "tn")] for suffix in suffixes]
        lacking = [name for names in columns for name in names if name not in table.columns]
        if lacking:
            raise InputError(f"The table of scores has no column {lacking[0]!r}, which pooled scores need.")
        self.formulas = {name: row.pooled for name, row in METRICS.items() if row.pooled} if suffixes else {}
        self.counts = [table[names].to_numpy(dtype=np.float64) for names in columns]  # each (N, 4)
        self.plain = suffixes == [""]
        values = self.resample(np.ones((1, len(table))))
        tags = suffixes if self.plain else ["", *suffixes]
        known = ~np.isnan(self.counts[0][:, 0]) if suffixes else np.zeros(len(table), dtype=bool)
        names = [f"{formula}{tag}" for formula in self.formulas for tag in tags]
        self.scores = [
            _Score(name, known, float(value)) for name, value in zip(names, values[:, 0], strict=True)
        ]

    def resample(self, weights: FloatArray) -> FloatArray:
        summed = [weights @ np.nan_to_num(counts) for counts in self.counts]  # each (R, 4)
        rows: list[FloatArray] = []
        for formula in self.formulas.values():
            scores = [np.where(counts.sum(axis=1) > 0, overlap(formula, counts), np.nan) for counts in summed]
            rows += scores if self.plain else [np.mean(scores, axis=0), *scores]
        return np.stack(rows) if rows else np.empty((0, weights.shape[0]))


class _LabelScores:
    """Scores of the image labels, macro and, with three and more classes, one class against the rest."""

    def __init__(self, labels: Labels, known: npt.NDArray[np.bool_]) -> None:
        self.labels, self.known = labels, known
        self.rows = {name: row.labels for name, row in METRICS.items() if row.labels is not None}
        reason = why_undefined(labels)
        self.scores = [_Score(name, known, float(value[0]), reason) for name, value in self._named(None)]

    def resample(self, weights: FloatArray) -> FloatArray:
        return np.stack([values for _, values in self._named(weights[:, self.known])])

    def _named(self, weights: FloatArray | None) -> Iterator[tuple[str, FloatArray]]:
        for name, rows in self.rows.items():
            values = rows(self.labels, weights)
            yield name, macro(values)
            if len(values) > 1:
                for index, row in zip(self.labels.scored, values, strict=True):
                    yield f"{name}[{self.labels.names[index]}]", row


def _averaged(column: str) -> bool:
    metric = metric_of(column)
    return metric is not None and metric.image is not None and metric.kind != "count"


def _labels(table: pd.DataFrame, threshold: float) -> tuple[Labels, npt.NDArray[np.bool_]] | None:
    """Read the labels, and which rows have one; None when the table has no such columns."""
    matches = [re.fullmatch(r"label_probability\[(.+)\]", str(name)) for name in table.columns]
    names = [match[1] for match in matches if match]
    if "label" not in table.columns or not names:
        return None
    probabilities = table[[f"label_probability[{name}]" for name in names]].to_numpy(dtype=np.float64)
    targets = _targets(table)
    if len(names) == 1:
        probabilities, names = probabilities[:, 0], [f"not {names[0]}", names[0]]
    return read_labels(probabilities, targets, threshold=threshold, names=names), targets != MISSING


def _targets(table: pd.DataFrame) -> FloatArray:
    try:
        return pd.to_numeric(table["label"]).fillna(MISSING).to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(
            "The column 'label' must hold class numbers from 0, or -1 for missing, not names."
        ) from error


def _totals(table: pd.DataFrame) -> dict[str, Summary]:
    totals: dict[str, Summary] = {}
    for name, column in (("empty_references", "reference_pixels"), ("empty_predictions", "predicted_pixels")):
        if column in table.columns:
            pixels = table[column].dropna()
            totals[name] = Summary(float((pixels == 0).sum()), None, None, len(pixels))
    if "label" in table.columns:
        missing = int(np.count_nonzero(_targets(table) == MISSING))
        totals["missing_labels"] = Summary(float(missing), None, None, len(table))
    return totals
