"""Measured scores beside the published ones."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from delineate.checks import choose
from delineate.study.published.conventions import conventions
from delineate.study.published.reader import published_values


def beside_published(
    summary: Mapping[str, Mapping[str, float | int | None]],
    paper: str,
    table: str | int,
    *,
    dataset: str,
    method: str,
) -> pd.DataFrame:
    """Put the scores of one run beside the row of a published table.

    Every published figure of the row gives one line per candidate of `conventions`, so that a reader sees
    whether the rule or the model makes the gap. Candidates that were not measured stay, with NaN.

    Args:
        summary: what summary.json holds for one split: `{score: {mean, low, high, n}}`.
        paper: key of `PAPERS`.
        table: of that paper.
        dataset: as in the column `dataset` of the table.
        method: as in its column `method`.

    Returns:
        Columns `metric` (the paper's word), `published`, `published_sd`, `score` (our name, "" for none),
        `measured`, `low`, `high`, `n`, `gap` (measured minus published), `inside` (whether the published
        value, to its last digit, lies in the measured interval; None without one), `reason`, `note`. All
        values in our unit: fractions, not percent.

    Raises:
        InputError: the paper, table, data set or method is unknown.
    """
    values = published_values(paper, table)
    choose(f"data set of table {table} of {paper}", dataset, {value.dataset: None for value in values})
    values = tuple(value for value in values if value.dataset == dataset)
    choose(f"method of table {table} of {paper}", method, {value.method: None for value in values})
    lines = []
    for value in values:
        if value.method != method:
            continue
        named = [(candidate.name, candidate.reason) for candidate in conventions(paper, table, value.metric)]
        for score, reason in named or [("", "It is no score of predictions, or its header is lost.")]:
            measured = summary.get(score, {})
            mean, low, high = (_number(measured.get(key)) for key in ("mean", "low", "high"))
            inside = None if np.isnan(low + high) else _within(value.mean, low, high, value.resolution / 2)
            lines.append(
                {
                    "metric": value.metric,
                    "published": value.mean,
                    "published_sd": _number(value.sd),
                    "score": score,
                    "measured": mean,
                    "low": low,
                    "high": high,
                    "n": measured.get("n"),
                    "gap": mean - value.mean,
                    "inside": inside,
                    "reason": reason,
                    "note": value.note,
                }
            )
    return pd.DataFrame(lines).astype({"n": "Int64"})  # whole numbers, though some are missing


def _number(value: float | int | None) -> float:
    return float("nan") if value is None else float(value)


def _within(value: float, low: float, high: float, slack: float) -> bool:
    return round(low - slack, 12) <= value <= round(high + slack, 12)  # decimal fractions, not binary ones
