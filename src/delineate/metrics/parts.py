"""The parts of a summary: for each way to compute scores, their values and those of many resamples."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError
from delineate.metrics import resampling
from delineate.metrics.catalogue import METRICS, metric_of
from delineate.metrics.histograms import Histograms
from delineate.metrics.labels import MISSING, Labels, macro, read_labels, why_undefined
from delineate.metrics.names import Chosen
from delineate.metrics.overlap import overlap

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """A score, the cases it uses, and its value over all of them."""

    name: str
    known: BoolArray
    value: float
    reason: str = ""


class Part(Protocol):
    """Scores that are computed in one way."""

    scores: list[Score]

    def resample(self, weights: FloatArray) -> FloatArray:
        """Compute all scores of resamples with weights (R, N): (S, R)."""
        ...


class ImageMeans:
    """Means of the per-image columns."""

    def __init__(self, table: pd.DataFrame) -> None:
        names = [str(name) for name in table.columns if _averaged(str(name))]
        self.values = table[names].to_numpy(dtype=np.float64)  # (N, S)
        infinite = [name for name, some in zip(names, np.isinf(self.values).any(axis=0), strict=True) if some]
        if infinite:
            raise InputError(f"The column {infinite[0]!r} of the table of scores holds an infinite value.")
        means = self.resample(np.ones((1, len(table))))
        known = ~np.isnan(self.values)
        self.scores = [Score(name, known[:, i], float(means[i, 0])) for i, name in enumerate(names)]

    def resample(self, weights: FloatArray) -> FloatArray:
        return resampling.mean(self.values, weights).T  # (S, R)


class Pooled:
    """Overlap scores of summed counts, over all images and over batches, each class and their mean."""

    def __init__(self, table: pd.DataFrame, batches: Sequence[Chosen] = ()) -> None:
        suffixes = class_suffixes(table)
        columns = [[f"{kind}{suffix}" for kind in ("tp", "fp", "fn", "tn")] for suffix in suffixes]
        lacking = [name for names in columns for name in names if name not in table.columns]
        if lacking:
            raise InputError(f"The table of scores has no column {lacking[0]!r}, which pooled scores need.")
        # (column, formula, images per batch; None for all images together)
        self.rules: list[tuple[str, str, int | None]] = []
        if suffixes:
            self.rules = [(name, row.pooled, None) for name, row in METRICS.items() if row.pooled]
            self.rules += [(one.column, one.metric.batch, int(one.number or 0)) for one in batches]
        self.counts = [table[names].to_numpy(dtype=np.float64) for names in columns]  # each (N, 4)
        self.plain = suffixes == [""]
        self.known = ~np.isnan(self.counts[0][:, 0]) if suffixes else np.zeros(len(table), dtype=bool)
        values = self.resample(np.ones((1, len(table))))
        tags = suffixes if self.plain else ["", *suffixes]
        names = [f"{column}{tag}" for column, _, _ in self.rules for tag in tags]
        self.scores = [
            Score(name, self.known, float(value)) for name, value in zip(names, values[:, 0], strict=True)
        ]

    def resample(self, weights: FloatArray) -> FloatArray:
        rows: list[FloatArray] = []
        for _, formula, size in self.rules:
            scores = [self._score(counts, formula, size, weights) for counts in self.counts]
            rows += scores if self.plain else [np.mean(scores, axis=0), *scores]
        return np.stack(rows) if rows else np.empty((0, weights.shape[0]))

    def _score(self, counts: FloatArray, formula: str, size: int | None, weights: FloatArray) -> FloatArray:
        if size is None:
            summed = weights @ np.nan_to_num(counts)  # (R, 4)
            return np.where(summed.sum(axis=1) > 0, overlap(formula, summed), np.nan)
        if not self.known.any():
            return np.full(len(weights), np.nan)
        # An image stays in its batch in every resample; how often it was drawn weighs its counts there.
        kept, drawn = counts[self.known], weights[:, self.known]
        starts = np.arange(0, len(kept), size)
        images = np.add.reduceat(drawn, starts, axis=1)  # (R, batches)
        parts = [np.add.reduceat(drawn * column, starts, axis=1) for column in kept.T]
        scores = overlap(formula, np.stack(parts, axis=-1))
        total = images.sum(axis=1)
        mean = (scores * images).sum(axis=1)
        return np.divide(mean, total, out=np.full(len(weights), np.nan), where=total > 0)


class SetScores:
    """Scores of the histograms of all images, each class and their mean."""

    def __init__(self, table: pd.DataFrame, histograms: Histograms, wanted: Sequence[str]) -> None:
        if "image_id" not in table.columns:
            raise InputError("The table of scores has no column 'image_id', which histograms are found by.")
        ids = table["image_id"].astype(str)
        self.known = np.array([image_id in histograms for image_id in ids])
        suffixes = class_suffixes(table)
        scored = table[f"tp{suffixes[0]}"].notna().to_numpy() if suffixes else self.known
        lacking = ids[scored & ~self.known]
        if len(lacking):
            raise InputError(
                f"The histograms lack {len(lacking)} image(s) of the table, for example "
                f"{lacking.iloc[0]!r}; collect them in the same run."
            )
        self.stacks = [histograms.stack(ids[self.known], label) for label in histograms.classes]
        self.functions = {name: row.histograms for name, row in METRICS.items() if name in wanted}
        values = self.resample(np.ones((1, len(table))))
        single = len(histograms.classes) == 1
        tags = [""] if single else ["", *(f"[{label}]" for label in histograms.classes)]
        names = [f"{name}{tag}" for name in self.functions for tag in tags]
        reason = "The images hold one kind of pixel only." if self.known.any() else ""
        self.scores = [
            Score(name, self.known, float(value), reason)
            for name, value in zip(names, values[:, 0], strict=True)
        ]

    def resample(self, weights: FloatArray) -> FloatArray:
        drawn = weights[:, self.known]
        rows: list[FloatArray] = []
        for function in self.functions.values():
            if function is not None:
                scores = [function(stack, drawn) for stack in self.stacks]
                rows += scores if len(scores) == 1 else [macro(np.stack(scores)), *scores]
        return np.stack(rows) if rows else np.empty((0, weights.shape[0]))


class LabelScores:
    """Scores of the image labels, macro and, with three and more classes, one class against the rest."""

    def __init__(self, labels: Labels, known: BoolArray, extra: Sequence[Chosen] = ()) -> None:
        if extra and not labels.binary:
            raise InputError(
                f"{extra[0].column} states a threshold, which only two labels have, but there are "
                f"{len(labels.names)}; write {extra[0].name}."
            )
        self.known = known
        self.rows = [(name, row.labels, labels) for name, row in METRICS.items() if row.labels is not None]
        for one in extra:
            at = replace(labels, threshold=one.number or 0.0)
            if one.metric.labels is not None:
                self.rows.append((one.column, one.metric.labels, at))
        reason = why_undefined(labels)
        self.scores = [Score(name, known, float(value[0]), reason) for name, value in self._named(None)]

    def resample(self, weights: FloatArray) -> FloatArray:
        return np.stack([values for _, values in self._named(weights[:, self.known])])

    def _named(self, weights: FloatArray | None) -> Iterator[tuple[str, FloatArray]]:
        for name, rows, labels in self.rows:
            values = rows(labels, weights)
            yield name, macro(values)
            if len(values) > 1:
                for index, row in zip(labels.scored, values, strict=True):
                    yield f"{name}[{labels.names[index]}]", row


def class_suffixes(table: pd.DataFrame) -> list[str]:
    """Return "" for a table of one class, "[NAME]" of each for several, nothing without counts."""
    return [str(name)[2:] for name in table.columns if re.fullmatch(r"tp(\[.+\])?", str(name))]


def _averaged(column: str) -> bool:
    metric = metric_of(column)
    return metric is not None and metric.image is not None and metric.kind != "count"


def table_labels(table: pd.DataFrame, threshold: float) -> tuple[Labels, BoolArray] | None:
    """Read the labels, and which rows have one; None when the table has no such columns."""
    matches = [re.fullmatch(r"label_probability\[(.+)\]", str(name)) for name in table.columns]
    names = [match[1] for match in matches if match]
    if "label" not in table.columns or not names:
        return None
    probabilities = table[[f"label_probability[{name}]" for name in names]].to_numpy(dtype=np.float64)
    targets = table_targets(table)
    if len(names) == 1:
        probabilities, names = probabilities[:, 0], [f"not {names[0]}", names[0]]
    return read_labels(probabilities, targets, threshold=threshold, names=names), targets != MISSING


def table_targets(table: pd.DataFrame) -> FloatArray:
    """Return the column `label` as numbers, -1 where it is missing."""
    try:
        return pd.to_numeric(table["label"]).fillna(MISSING).to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(
            "The column 'label' must hold class numbers from 0, or -1 for missing, not names."
        ) from error
