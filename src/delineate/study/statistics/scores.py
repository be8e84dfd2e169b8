"""The scores of several systems on the same cases, and their joint resamples.

Shapes: N cases, B independent blocks (groups where known, else cases), R resamples, S runs of a system.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError, did_you_mean
from delineate.metrics.catalogue import metric_of
from delineate.metrics.resampling import group_index, mean, resample_weights
from delineate.study.statistics.setwise import set_score

FloatArray = npt.NDArray[np.float64]
Tables = Mapping[str, pd.DataFrame | Sequence[pd.DataFrame]]
"""System -> its per-image table, or one table per run when it was trained several times."""
Better = Literal["up", "down"]


@dataclass(frozen=True)
class Scores:
    """One score of several systems, aligned case by case."""

    score: str
    """Column of the per-image tables, or name of a score of the whole set such as `dice_pooled` or `auc`."""
    better: Better
    """Which direction is better."""
    systems: tuple[str, ...]
    """Names, in the order given."""
    ids: tuple[str, ...]
    """(N,) the cases that enter."""
    group_of: npt.NDArray[np.intp]
    """(N,) number of each case's block."""
    runs: tuple[tuple[Callable[[FloatArray], FloatArray], ...], ...]
    """Per system and run: weights (R, N) -> score of each resample (R,)."""
    cases: tuple[FloatArray, ...] | None
    """Per system (S, N): score of each case in each run; None for a score of the whole set."""
    left_out: int
    """Cases that some run has no such score for; they enter nowhere, so that all means are over one set."""

    @property
    def blocks(self) -> int:
        """B, number of independent blocks."""
        return int(self.group_of.max()) + 1

    @property
    def grouped(self) -> bool:
        """Whether a block has more than one case."""
        return self.blocks < len(self.ids)

    @property
    def means(self) -> tuple[float, ...]:
        """Per system: the score of each run, averaged over runs."""
        ones = np.ones((1, len(self.ids)))
        return tuple(float(np.mean([run(ones)[0] for run in runs])) for runs in self.runs)


def read_scores(
    tables: Tables, score: str, *, better: Better | None = None, threshold: float = 0.5
) -> Scores:
    """Align the tables of several systems.

    A column of the tables is a score per case. A name that is no column but a row of `METRICS` made from
    summed counts or from labels (`dice_pooled`, `auc`, `label_sensitivity`) is computed from the whole set.
    Where a table has a column `group` with entries, cases of one group form one block; a case without an
    entry is its own block.

    Args:
        tables: per system one table or several, each with `image_id`, one row per case, of one split.
        score: name of the score.
        better: direction; by default what `METRICS` says.
        threshold: of the positive label, for label scores of two classes.

    Raises:
        InputError: the tables are not about the same cases, a column is missing or holds an infinite value,
            a group differs between tables, or the direction is not known.
    """
    frames = {name: _frames(name, value) for name, value in tables.items()}
    if not frames:
        raise InputError("There is no table to compare; give at least one system.")
    direction = better or _direction(score)
    ids = list(next(iter(frames.values()))[0].index)
    for label, frame in _named(frames):
        _same_cases(label, frame, ids)
    frames = {name: [frame.loc[ids] for frame in parts] for name, parts in frames.items()}
    if _is_column(frames, score):
        return _per_case(frames, score, direction, ids)
    runs = tuple(
        tuple(set_score(frame, score, threshold, name) for frame in parts) for name, parts in frames.items()
    )
    return Scores(score, direction, tuple(frames), tuple(ids), _groups(frames, ids), runs, None, 0)


def resampled(scores: Scores, resamples: int, seed: int) -> FloatArray:
    """Draw blocks and runs with replacement, the same blocks for every system.

    Where a system has S > 1 runs, S - 1 of them are drawn in each resample: that makes the variance of their
    mean the unbiased estimate; S draws would make it a third too small for 3 runs. Runs are drawn for each
    system on its own, as two trainings share nothing but the data.

    Args:
        scores: what `read_scores` gives.
        resamples: R, at least 1.
        seed: the same seed and tables give the same result.

    Returns:
        (systems, R) float64, NaN where a resample leaves a score of the whole set undefined.
    """
    generator = np.random.default_rng([seed, 1])
    parts = [
        np.stack([_over_runs(np.stack([run(weights) for run in runs]), generator) for runs in scores.runs])
        for weights in resample_weights(scores.group_of, resamples, seed)
    ]
    return np.concatenate(parts, axis=1)


def block_means(scores: Scores) -> pd.DataFrame:
    """Average runs, then the cases of each block: one row per block, one column per system.

    Raises:
        InputError: the score is one of the whole set, which no single case has.
    """
    if scores.cases is None:
        raise InputError(f"{scores.score} is a score of the whole set; no case has one of its own.")
    over_runs = np.stack([values.mean(axis=0) for values in scores.cases])  # (systems, N)
    sizes = np.bincount(scores.group_of)
    sums = [np.bincount(scores.group_of, weights=row) / sizes for row in over_runs]
    return pd.DataFrame(dict(zip(scores.systems, sums, strict=True)))


def _over_runs(values: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Average S - 1 drawn runs per resample: (S, R) -> (R,)."""
    runs, resamples = values.shape
    if runs == 1:
        return values[0]
    drawn = generator.integers(0, runs, size=(runs - 1, resamples))
    averaged: FloatArray = np.take_along_axis(values, drawn, axis=0).mean(axis=0)
    return averaged


def _frames(name: str, value: pd.DataFrame | Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    parts = [value] if isinstance(value, pd.DataFrame) else list(value)
    if not parts:
        raise InputError(f"System {name!r} has no table; give at least one.")
    frames = []
    for part in parts:
        if "image_id" not in part.columns or part.empty:
            raise InputError(f"A table of {name!r} must have a column 'image_id' and at least one row.")
        frame = part.set_index(part["image_id"].astype(str))
        if frame.index.has_duplicates:
            double = frame.index[frame.index.duplicated()][0]
            raise InputError(f"A table of {name!r} holds the case {double!r} twice; choose one split first.")
        frames.append(frame)
    return frames


def _named(frames: Mapping[str, list[pd.DataFrame]]) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, parts in frames.items():
        for number, frame in enumerate(parts, 1):
            yield (f"{name!r}, run {number}" if len(parts) > 1 else repr(name)), frame


def _same_cases(label: str, frame: pd.DataFrame, ids: list[str]) -> None:
    different = set(ids) ^ set(frame.index)
    if different:
        raise InputError(
            f"The table of {label} is not about the cases of the first table: {len(different)} differ, for "
            f"example {min(different)!r}; compare systems on one split of one data set."
        )


def _direction(score: str) -> Better:
    metric = metric_of(score)
    if metric is None or metric.better == "none":
        raise InputError(f"Which direction of {score!r} is better is not known; say up or down.")
    return metric.better


def _is_column(frames: Mapping[str, list[pd.DataFrame]], score: str) -> bool:
    lacking = [label for label, frame in _named(frames) if score not in frame.columns]
    if not lacking:
        return True
    metric = metric_of(score)
    if metric is not None and (metric.pooled or metric.labels):
        return False
    first = next(iter(frames.values()))[0]
    numbers = [str(name) for name in first.select_dtypes("number").columns]
    raise InputError(f"The table of {lacking[0]} has no column {score!r}.{did_you_mean(score, numbers)}")


def _per_case(frames: Mapping[str, list[pd.DataFrame]], score: str, better: Better, ids: list[str]) -> Scores:
    cases = []
    for name, parts in frames.items():
        try:
            values = np.stack([frame[score].to_numpy(dtype=np.float64) for frame in parts])
        except (ValueError, TypeError) as error:
            raise InputError(f"The column {score!r} of {name!r} must hold numbers.") from error
        if np.isinf(values).any():
            raise InputError(f"The column {score!r} of {name!r} holds an infinite value.")
        cases.append(values)
    known = ~np.isnan(np.concatenate(cases)).any(axis=0)
    if not known.any():
        raise InputError(f"No case has the score {score!r} in every table.")
    kept = [key for key, some in zip(ids, known, strict=True) if some]
    cases = [values[:, known] for values in cases]
    runs = tuple(tuple(_mean_of(row) for row in values) for values in cases)
    group_of = _groups({name: [f.loc[kept] for f in parts] for name, parts in frames.items()}, kept)
    return Scores(
        score, better, tuple(frames), tuple(kept), group_of, runs, tuple(cases), len(ids) - len(kept)
    )


def _mean_of(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    return lambda weights: mean(values[:, None], weights)[:, 0]


def _groups(frames: Mapping[str, list[pd.DataFrame]], ids: list[str]) -> npt.NDArray[np.intp]:
    """Number the blocks, after checking that all tables that name groups name the same."""
    chosen: list[str | None] | None = None
    for label, frame in _named(frames):
        if "group" not in frame.columns:
            continue
        entries = [None if pd.isna(entry) or entry == "" else str(entry) for entry in frame["group"]]
        if not any(entries):
            continue
        if chosen is None:
            chosen = entries
        elif entries != chosen:
            case = next(i for i, pair in enumerate(zip(entries, chosen, strict=True)) if pair[0] != pair[1])
            raise InputError(
                f"The table of {label} gives the case {ids[case]!r} the group {entries[case]!r}, another "
                f"table {chosen[case]!r}; evaluate both with the same data."
            )
    return group_index(chosen, len(ids))
