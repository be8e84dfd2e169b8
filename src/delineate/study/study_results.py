"""What a finished study left on disk, read for its report."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from delineate.checks import InputError
from delineate.metrics import metric_of
from delineate.recipe_io import load_recipe
from delineate.record import RunRecord, read_record
from delineate.study.plan import Study, load_study
from delineate.study.statistics import Verdict, join_folds
from delineate.study.study_charts import Estimate
from delineate.study.study_state import StudyRecord, read_study_record

_AGAIN = "run `delineate study` again with --resume"
_RESULT = ("system", "data", "score", "mean", "sd", "low", "high", "n", "runs")
_WORDS = ("system", "data", "split", "image_id", "group")


@dataclass(frozen=True)
class Planned:
    """One entry of plan.json."""

    key: str
    system: str
    data: str
    fold: int | None
    seed: int
    run: Path
    """Its folder."""


@dataclass(frozen=True)
class Result:
    """One score of one system on one data set."""

    mean: float
    """Mean over runs; NaN when undefined."""
    sd: float | None
    """Standard deviation over runs, None for one."""
    low: float | None
    high: float | None
    cases: int
    runs: int


class StudyResults:
    """The files of a study, as `execution.execute` and `gather.gather` write them.

    Args:
        root: folder with study.yaml, plan.json, scores.csv, results.csv, comparisons.csv and record.json.

    Raises:
        InputError: a file is missing or damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tables: dict[str, dict[str, list[pd.DataFrame]]] = {}
        self.study: Study = load_study(root / "study.yaml")
        self.plan = tuple(_planned(root, self._json("plan.json")))
        self.record: StudyRecord = read_study_record(root / "record.json")
        self.scores = self._table("scores.csv", ("system", "data", "fold", "seed", "image_id"))
        self.results = self._table("results.csv", _RESULT)
        pairs = ("data", "score", "first", "second", "difference", "p_holm", "verdict")
        self.comparisons = self._table("comparisons.csv", pairs)

    @property
    def systems(self) -> tuple[str, ...]:
        """Names, in the order of study.yaml."""
        return tuple(system.name for system in self.study.systems)

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data entries with any score, in the order of study.yaml."""
        known = set(self.scores["data"])
        return tuple(entry.name for entry in self.study.data if entry.name in known)

    def scored(self, run: Planned) -> bool:
        """Whether scores.csv holds this run."""
        return run.key in self._scored

    def record_of(self, run: Planned) -> RunRecord | None:
        """Read the record of a run; None when it has none."""
        path = run.run / "record.json"
        return read_record(path) if path.is_file() else None

    def tables(self, data: str) -> dict[str, list[pd.DataFrame]]:
        """Per-image tables by system, one per seed, the folds of a seed joined as in `gather`.

        A seed that lacks a fold is left out, and so is a system without a whole seed.
        """
        if data not in self._tables:
            self._tables[data] = self._joined(data)
        return self._tables[data]

    def _joined(self, data: str) -> dict[str, list[pd.DataFrame]]:
        found: dict[str, list[pd.DataFrame]] = {}
        for system in self.systems:
            planned = [run for run in self.plan if (run.system, run.data) == (system, data)]
            for seed in dict.fromkeys(run.seed for run in planned):
                parts = [run for run in planned if run.seed == seed]
                if all(self.scored(run) for run in parts):
                    joined = join_folds([self.rows(run) for run in parts])
                    found.setdefault(system, []).append(joined.reset_index(drop=True))
        return found

    def per_case(self, data: str, score: str) -> pd.DataFrame:
        """Mean of each case over runs: index `image_id`, one column per system; NaN where undefined."""
        columns = {}
        for system, tables in self.tables(data).items():
            if all(score in table for table in tables):
                rows = pd.concat([table.set_index("image_id")[score] for table in tables], axis=1)
                columns[system] = rows.mean(axis=1, skipna=False)
        return pd.DataFrame(columns)

    def estimate(self, data: str, score: str, system: str) -> Estimate | None:
        """One system's score with its interval and the score of each run; None when there is none."""
        found = self.result(data, score, system)
        if found is None or np.isnan(found.mean):
            return None
        runs: tuple[float, ...] = ()
        tables = self.tables(data).get(system, [])
        if all(score in table for table in tables):
            runs = tuple(float(table[score].mean()) for table in tables)
        return Estimate(system, found.mean, found.low, found.high, runs)

    def result(self, data: str, score: str, system: str) -> Result | None:
        """One row of results.csv, or None."""
        return self._results.get((data, score, system))

    def scores_of(self, data: str) -> list[str]:
        """Names of the scores of a data set in results.csv that are rows of `METRICS`, in its order."""
        names = self.results.loc[self.results["data"] == data, "score"]
        return [name for name in dict.fromkeys(names.astype(str)) if metric_of(name) is not None]

    def compared(self, data: str) -> list[str]:
        """The scores of `compare` that this data set has."""
        known = set(self.scores_of(data))
        return [score for score in self.study.compare.scores if score in known]

    def verdict(self, data: str, score: str, first: str, second: str) -> Verdict | None:
        """What the first system is beside the second; None when the two were not compared."""
        turned: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "tie": "tie"}
        found = self._verdicts.get((data, score, first, second))
        if found is not None:
            return found
        other = self._verdicts.get((data, score, second, first))
        return None if other is None else turned[other]

    def threshold(self, data: str) -> float:
        """Decision threshold of the labels in the runs on a data set."""
        run = next(run for run in self.plan if run.data == data and self.scored(run))
        return load_recipe(run.run / "recipe.yaml").evaluation.threshold

    @cached_property
    def _scored(self) -> set[str]:
        parts = self.scores[["system", "data", "fold", "seed"]].drop_duplicates()
        rows = {
            (str(s), str(d), None if pd.isna(f) else int(f), int(seed))
            for s, d, f, seed in parts.itertuples(index=False, name=None)
        }
        return {run.key for run in self.plan if (run.system, run.data, run.fold, run.seed) in rows}

    def rows(self, run: Planned) -> pd.DataFrame:
        """Rows of scores.csv that a run wrote."""
        rows = self.scores
        chosen = (rows["system"] == run.system) & (rows["data"] == run.data) & (rows["seed"] == run.seed)
        if run.fold is not None:
            chosen &= rows["fold"] == run.fold
        return rows[chosen].dropna(axis=1, how="all")

    @cached_property
    def _results(self) -> dict[tuple[str, str, str], Result]:
        found = {}
        for row in self.results.to_dict("records"):
            found[(str(row["data"]), str(row["score"]), str(row["system"]))] = Result(
                mean=float(row["mean"]),
                sd=_optional(row["sd"]),
                low=_optional(row["low"]),
                high=_optional(row["high"]),
                cases=_whole(row["n"]),
                runs=_whole(row["runs"]),
            )
        return found

    @cached_property
    def _verdicts(self) -> dict[tuple[str, str, str, str], Verdict]:
        return {
            (str(row["data"]), str(row["score"]), str(row["first"]), str(row["second"])): row["verdict"]
            for row in self.comparisons.to_dict("records")
        }

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.root / name} is missing or damaged; {_AGAIN}.") from error

    def _table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        path = self.root / name
        try:
            # A converter, because an id may be "NA" or "007", which is neither missing nor a number.
            table = pd.read_csv(path, converters={word: str for word in _WORDS})
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is missing or damaged; {_AGAIN}.") from error
        lacking = [column for column in columns if column not in table]
        if lacking:
            raise InputError(f"{path} lacks the column {lacking[0]!r}; {_AGAIN}.")
        return table


def _planned(root: Path, rows: Any) -> Iterator[Planned]:
    try:
        for row in rows:
            yield Planned(row["key"], row["system"], row["data"], row["fold"], row["seed"], root / row["run"])
    except (TypeError, KeyError) as error:
        raise InputError(f"{root / 'plan.json'} is missing or damaged; {_AGAIN}.") from error


def _optional(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _whole(value: Any) -> int:
    return 0 if value is None or pd.isna(value) else int(value)
