"""Scores that only a whole set has: of summed pixel counts, and of labels, for weighted cases."""

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError
from delineate.metrics.catalogue import metric_of
from delineate.metrics.labels import MISSING, macro, read_labels
from delineate.metrics.overlap import overlap

FloatArray = npt.NDArray[np.float64]
SetScore = Callable[[FloatArray], FloatArray]


def set_score(table: pd.DataFrame, score: str, threshold: float, system: str) -> SetScore:
    """Prepare a score of the whole set: weights (R, N) -> (R,), NaN where it is undefined.

    Args:
        table: per-image table, N rows, with the counts `tp`, `fp`, `fn`, `tn` (or `tp[NAME]` ...) for a
            pooled score, with `label` and `label_probability[NAME]` for a label score.
        score: name of a row of `METRICS` with `pooled` or `labels`, with `[NAME]` for one class.
        threshold: of the positive label when there are two.
        system: whose table it is, for messages.

    Raises:
        InputError: the table lacks the columns, or the labels do not fit.
    """
    metric = metric_of(score)
    if metric is not None and metric.pooled:
        return _pooled(table, metric.pooled, score, system)
    return _of_labels(table, score, threshold, system)


def _pooled(table: pd.DataFrame, formula: str, score: str, system: str) -> SetScore:
    _, bracket, rest = score.partition("[")
    tags = [bracket + rest]
    if not bracket and "tp" not in table.columns:
        tags = [str(name)[2:] for name in table.columns if re.fullmatch(r"tp\[.+\]", str(name))]
    columns = [[f"{kind}{tag}" for kind in ("tp", "fp", "fn", "tn")] for tag in tags]
    lacking = [name for names in columns for name in names if name not in table.columns]
    if lacking or not columns:
        missing = lacking[0] if lacking else "tp"
        raise InputError(f"The table of {system!r} has no column {missing!r}, which {score} is made from.")
    counts = [table[names].fillna(0).to_numpy(dtype=np.float64) for names in columns]

    def pooled(weights: FloatArray) -> FloatArray:
        summed = [weights @ part for part in counts]
        values = [np.where(part.sum(axis=1) > 0, overlap(formula, part), np.nan) for part in summed]
        averaged: FloatArray = np.mean(values, axis=0)
        return averaged

    return pooled


def _of_labels(table: pd.DataFrame, score: str, threshold: float, system: str) -> SetScore:
    metric = metric_of(score)
    matches = [re.fullmatch(r"label_probability\[(.+)\]", str(name)) for name in table.columns]
    names = [match[1] for match in matches if match]
    if metric is None or metric.labels is None or "label" not in table.columns or not names:
        raise InputError(
            f"The table of {system!r} has no columns 'label' and 'label_probability[...]', which {score} is "
            "made from."
        )
    rows = metric.labels
    try:
        targets = pd.to_numeric(table["label"]).fillna(MISSING).to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The column 'label' of {system!r} must hold class numbers from 0, or -1 for missing, not names."
        ) from error
    probabilities = table[[f"label_probability[{name}]" for name in names]].to_numpy(dtype=np.float64)
    if len(names) == 1:
        probabilities, names = probabilities[:, 0], [f"not {names[0]}", names[0]]
    labels = read_labels(probabilities, targets, threshold=threshold, names=names)
    known = targets != MISSING
    _, bracket, rest = score.partition("[")
    wanted = rest.removesuffix("]")
    scored = [names[index] for index in labels.scored]
    if bracket and wanted not in scored:
        raise InputError(f"{score} names no label of {system!r}; they are: {', '.join(scored)}.")

    def of_labels(weights: FloatArray) -> FloatArray:
        values = rows(labels, weights[:, known])
        chosen: FloatArray = values[scored.index(wanted)] if bracket else macro(values)
        return chosen

    return of_labels
