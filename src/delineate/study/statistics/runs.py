"""Several runs of one recipe: mean and standard deviation over seeds or folds, each run's score first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from delineate.checks import InputError

MIN_RUNS = 3
"""Runs below which a spread is not to be relied on; a warning says so."""


@dataclass(frozen=True)
class Spread:
    """One score over several runs."""

    mean: float | None
    """Mean of the runs' scores; None when no run has one."""
    sd: float | None
    """Standard deviation with n - 1; None for fewer than two runs."""
    n: int
    """Runs that have the score."""
    warning: str = ""
    """What to say beside the number, a sentence, or ""."""

    def __str__(self) -> str:
        """Return "0.812 ± 0.010 (3 runs)"."""
        if self.mean is None:
            return "undefined"
        sd = "" if self.sd is None else f" ± {self.sd:.3f}"
        return f"{self.mean:.3f}{sd} ({self.n} {'run' if self.n == 1 else 'runs'})"


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and standard deviation of the scores of several runs.

    Args:
        values: one score per run; None or NaN for a run that leaves it undefined: it is left out and the
            warning counts it.

    Raises:
        InputError: there is no run, or a score is infinite.
    """
    if not len(values):
        raise InputError("There is no run to take the mean of; give at least one.")
    known = np.array([value for value in values if value is not None and not math.isnan(value)])
    if not np.isfinite(known).all():
        raise InputError("The score of a run is infinite; it has no mean.")
    n = len(known)
    warnings = []
    if n < len(values):
        warnings.append(f"{len(values) - n} of {len(values)} runs leave it undefined.")
    if n < MIN_RUNS:
        runs = "run says" if n == 1 else "runs say"
        warnings.append(f"{n} {runs} little about the spread between trainings; {MIN_RUNS} are needed.")
    return Spread(
        mean=float(known.mean()) if n else None,
        sd=float(known.std(ddof=1)) if n > 1 else None,
        n=n,
        warning=" ".join(warnings),
    )


def over_runs(summaries: Sequence[Mapping[str, Mapping[str, float | int | None]]]) -> pd.DataFrame:
    """Mean and standard deviation of every score over runs.

    Args:
        summaries: per run what summary.json holds for one split: `{score: {mean, low, high, n}}`.

    Returns:
        Index `score`, columns `mean`, `sd`, `n`, `warning`. A score that a run lacks counts as undefined
        there.

    Raises:
        InputError: there is no run.
    """
    names = list(dict.fromkeys(name for summary in summaries for name in summary))
    if not summaries or not names:
        raise InputError("There is no run to take the mean of; give at least one.")
    rows = {
        name: asdict(spread([summary.get(name, {}).get("mean") for summary in summaries])) for name in names
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("score")


def join_folds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the test tables of all folds of one cross-validation together: each case once.

    The result is one run for `compare` and `rank_stability`; with several seeds, join the folds of each seed.

    Args:
        tables: per fold, with `image_id`.

    Raises:
        InputError: there is no table, or a case was tested in two folds.
    """
    if not len(tables):
        raise InputError("There is no fold to join; give at least one table.")
    joined = pd.concat(list(tables), ignore_index=True)
    if "image_id" not in joined.columns:
        raise InputError("The table of a fold must have a column 'image_id'.")
    double = joined["image_id"].astype(str)
    double = double[double.duplicated()]
    if len(double):
        raise InputError(
            f"The case {double.iloc[0]!r} was tested in two folds; join those of one cross-validation only."
        )
    return joined
