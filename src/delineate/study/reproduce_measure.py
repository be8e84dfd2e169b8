"""What the trainings of a reproduction measured: one score of one network on the cases of one column."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.metrics import metric_of, summarise
from delineate.metrics.histograms import Histograms
from delineate.record import read_record
from delineate.study.statistics import compare, join_folds, read_scores, resampled, spread

RESAMPLES = 2000
_TAIL = 2.5  # percent on either side


@dataclass(frozen=True)
class Measured:
    """One score, or one cost, as measured here."""

    mean: float
    sd: float | None = None
    """Between the scores of single runs (seeds and folds); None for one run."""
    low: float | None = None
    high: float | None = None
    """95 % interval over cases and repetitions; None when undefined."""
    n: int | None = None
    """Cases."""
    runs: int = 1


@dataclass(frozen=True)
class Trained:
    """All runs of one network on one data set, and the cases that count."""

    folders: tuple[tuple[Path, ...], ...]
    """Per seed the run folders of all folds."""
    split: str
    """The split's name in scores.csv."""
    ids: str
    """Only cases whose id begins so."""
    threshold: float
    """Of the positive label."""

    def tables(self) -> list[pd.DataFrame]:
        """Per seed the rows of the counting cases, all folds joined."""
        return [join_folds([self._table(folder) for folder in folds]) for folds in self.folders]

    def single(self) -> list[pd.DataFrame]:
        """Per run the rows of the counting cases."""
        return [self._table(folder) for folds in self.folders for folder in folds]

    def runs(self) -> list[Path]:
        """All run folders, in the order of `single`."""
        return [folder for folds in self.folders for folder in folds]

    def epochs(self) -> Measured:
        """Epochs that were trained."""
        found = spread([float(read_record(run / "record.json").epochs) for run in self.runs()])
        return Measured(found.mean or 0.0, found.sd, runs=found.n)

    def score(self, name: str) -> Measured | None:
        """One score; None when it was not measured or is undefined."""
        metric = metric_of(name)
        if metric is not None and (metric.batch or metric.histograms is not None):
            return self._of_set(name)
        try:
            scores = read_scores({"": self.tables()}, name, better="up", threshold=self.threshold)
            alone = [
                read_scores({"": table}, name, better="up", threshold=self.threshold).means[0]
                for table in self.single()
            ]
        except InputError:
            return None
        mean, found = scores.means[0], spread(alone)
        if not np.isfinite(mean):
            return None
        drawn = resampled(scores, RESAMPLES, seed=0)[0]
        drawn = drawn[~np.isnan(drawn)]
        low = high = None
        if scores.blocks > 1 and 2 * len(drawn) >= RESAMPLES:
            low, high = (float(end) for end in np.percentile(drawn, [_TAIL, 100 - _TAIL]))
        return Measured(mean, found.sd, low, high, len(scores.ids), found.n)

    def _of_set(self, name: str) -> Measured | None:
        """A score that only a whole set has: from the histograms of its cases, run by run."""
        found = []
        for run, table in zip(self.runs(), self.single(), strict=True):
            kept = run / "histograms" / f"{self.split}.npz"
            if not kept.is_file():
                return None
            groups = table["group"].where(table["group"].notna(), table["image_id"])
            summary = summarise(
                table,
                groups=groups.tolist(),
                resamples=RESAMPLES if len(self.runs()) == 1 else 0,
                threshold=self.threshold,
                histograms=Histograms.load(kept),
                extra=[name],
            )
            found.append(summary[name])
        over = spread([one.mean for one in found])
        if over.mean is None:
            return None
        ends = (found[0].low, found[0].high) if len(found) == 1 else (None, None)
        return Measured(over.mean, over.sd, *ends, n=found[0].n, runs=over.n)

    def _table(self, run: Path) -> pd.DataFrame:
        table = _read(run / "scores.csv")
        chosen = table[(table["split"] == self.split) & table["image_id"].str.startswith(self.ids)]
        if chosen.empty:
            raise InputError(
                f"{run / 'scores.csv'} has no case of {self.split!r} whose id begins {self.ids!r}."
            )
        return chosen.reset_index(drop=True)


def p_value(one: Trained, other: Trained, name: str) -> Measured | None:
    """p-value of the paired t-test between two networks on the same cases; None when undefined."""
    try:
        found = compare({"one": one.tables(), "other": other.tables()}, name, resamples=1)
    except InputError:
        return None
    pair = found.pairs[0]
    p = pair.t_p
    return None if p is None or np.isnan(p) else Measured(float(p), n=pair.n, runs=len(one.folders))


def mean_of(parts: Sequence[Measured | None]) -> Measured | None:
    """The mean over the parts of a column; None when one of them is missing."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    if len(known) == 1:
        return known[0]
    cases = [part.n for part in known if part.n is not None]
    mean = float(np.mean([part.mean for part in known]))
    return Measured(mean, n=sum(cases) or None, runs=sum(part.runs for part in known))


def costs(recipe: Recipe, size: tuple[int, int] | None, *, latency: bool) -> dict[str, Measured]:
    """Measure what a network costs after training: parameters, multiply-adds and, if asked for, time.

    Args:
        recipe: pre-trained weights are not loaded.
        size: height and width of the image; the recipe's by default.
        latency: time a forward pass too.
    """
    from delineate.inference.profile import count_macs, profile
    from delineate.models.checkpoint import build_model

    untrained = recipe.model_copy(update={"model": recipe.model.model_copy(update={"pretrained": False})})
    model = build_model(untrained)
    model.remove_training_branches()
    size = size or recipe.data.size
    found = {
        "params_m": Measured(sum(weight.numel() for weight in model.parameters()) / 1e6),
        "gmacs": Measured(count_macs(model, size) / 1e9),
    }
    if latency:
        found["inference_ms"] = Measured(profile(model, size).latency_ms)
    return found


def read_split_names(run: Path) -> Mapping[str, object]:
    """Return the splits that summary.json of a run holds; {} without it."""
    path = run / "summary.json"
    if not path.is_file():
        return {}
    try:
        content: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged; run `delineate evaluate` again.") from error
    return content


def _read(path: Path) -> pd.DataFrame:
    try:
        return _cached(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged; run `delineate evaluate` again.") from error


@cache
def _cached(path: Path, _stamp: int) -> pd.DataFrame:
    # Only the id, since a group may be missing: an id may be "NA" or "007".
    table = pd.read_csv(path, converters={"image_id": str, "split": str}, dtype={"group": str})
    if not {"image_id", "split"} <= set(table.columns):
        raise ValueError("columns are missing")
    return table
