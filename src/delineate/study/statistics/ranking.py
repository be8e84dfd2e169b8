"""Who is first, and how surely: ranks under resampling, Friedman's test, Nemenyi's critical difference."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError
from delineate.study.statistics.scores import Better, Tables, read_scores, resampled

FloatArray = npt.NDArray[np.float64]
_DECIMALS = 12  # equal scores that were rounded differently on the way must tie


@dataclass(frozen=True)
class RankStability:
    """How often each system takes each rank when cases and runs are drawn again."""

    score: str
    """Name of the score."""
    systems: tuple[str, ...]
    """Best mean first."""
    means: tuple[float, ...]
    """Score of each, mean over runs."""
    probability: tuple[tuple[float, ...], ...]
    """Per system its probability of rank 1, 2, ...; each row and each column adds up to 1."""
    resamples: int
    """Resamples in which every system's score is defined."""
    seed: int
    """Of the bootstrap."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per system: `system`, `mean`, `expected_rank`, `rank_1`, `rank_2`, ..."""
        share = np.array(self.probability)
        ranks = np.arange(1, len(self.systems) + 1)
        columns = {"system": list(self.systems), "mean": list(self.means), "expected_rank": share @ ranks}
        return pd.DataFrame(columns | {f"rank_{rank}": share[:, rank - 1] for rank in ranks})


@dataclass(frozen=True)
class CriticalDifference:
    """Mean ranks over blocks, and which of them can be told apart; what a ranking figure is drawn from."""

    systems: tuple[str, ...]
    """Best mean rank first."""
    mean_ranks: tuple[float, ...]
    """1 is best; ties share the mean of their ranks."""
    blocks: int
    """Rows that were ranked: cases, groups or data sets."""
    friedman_statistic: float | None
    """Chi-squared, corrected for ties; None for two systems."""
    friedman_p: float | None
    """Probability of mean ranks this far apart when all systems are alike; None for two systems."""
    critical_difference: float
    """Mean ranks that differ by more are told apart (Nemenyi)."""
    alpha: float
    """Level of both."""
    cliques: tuple[tuple[str, ...], ...]
    """Largest sets of neighbours that cannot be told apart, two and more each; the bars of the figure. All
    systems are one when Friedman's test does not reject."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per system: `system`, `mean_rank`, `cliques` (their numbers, from 1)."""
        member = [
            " ".join(str(number) for number, clique in enumerate(self.cliques, 1) if name in clique)
            for name in self.systems
        ]
        return pd.DataFrame({"system": self.systems, "mean_rank": self.mean_ranks, "cliques": member})


def rank_stability(
    tables: Tables,
    score: str,
    *,
    better: Better | None = None,
    resamples: int = 2000,
    seed: int = 0,
    threshold: float = 0.5,
) -> RankStability:
    """Draw blocks and runs again and again, and rank the systems by their means each time.

    Systems with the same mean share their ranks equally.

    Args:
        tables: system -> per-image table, or one per run; see `scores.read_scores`.
        score: a column of the tables, or a pooled or label score.
        better: direction; by default what `METRICS` says.
        resamples: at least 1.
        seed: the same seed and tables give the same result.
        threshold: of the positive label, for label scores of two classes.

    Raises:
        InputError: fewer than two systems, no resamples, tables that do not fit, or a score that nearly every
            resample leaves undefined.
    """
    if len(tables) < 2 or resamples < 1:
        raise InputError(
            f"Rank stability needs at least two systems and one resample, got {len(tables)} and {resamples}."
        )
    scores = read_scores(tables, score, better=better, threshold=threshold)
    draws = resampled(scores, resamples, seed)
    draws = draws[:, ~np.isnan(draws).any(axis=0)]
    if 2 * draws.shape[1] < resamples:
        raise InputError(f"Most resamples leave {score} undefined, so there are no ranks; score more cases.")
    sign = -1 if scores.better == "up" else 1
    probability = _rank_shares((sign * draws).round(_DECIMALS))
    order = np.argsort(sign * np.array(scores.means), kind="stable")
    return RankStability(
        score=score,
        systems=tuple(scores.systems[i] for i in order),
        means=tuple(scores.means[i] for i in order),
        probability=tuple(tuple(float(share) for share in probability[i]) for i in order),
        resamples=draws.shape[1],
        seed=seed,
    )


def critical_difference(scores: pd.DataFrame, *, better: Better, alpha: float = 0.05) -> CriticalDifference:
    """Rank the systems in each block, and compare their mean ranks.

    Blocks are what one wants to speak about: the cases or groups of one data set
    (`block_means(read_scores(...))`), or several data sets with one mean each. They must be independent.

    Args:
        scores: one row per block, one column per system, finite.
        better: "up" or "down".
        alpha: level, between 0 and 1.

    Raises:
        InputError: fewer than two systems or blocks, a missing value, or alpha out of range.

    Source:
        Demsar, Journal of Machine Learning Research 2006, section 3.2: the difference is
        q sqrt(k (k + 1) / (6 N)), with q from the studentized range with infinite degrees of freedom over
        sqrt(2).
    """
    from scipy import stats

    table = scores.to_numpy(dtype=np.float64)
    blocks, systems = table.shape
    if blocks < 2 or systems < 2 or not np.isfinite(table).all():
        raise InputError(
            "A ranking needs at least two blocks and two systems and a value for each, "
            f"got {blocks} and {systems}."
        )
    if not 0 < alpha < 1:
        raise InputError(f"alpha must be between 0 and 1, got {alpha}.")
    table = table.round(_DECIMALS)
    ranks = stats.rankdata(-table if better == "up" else table, axis=1)
    mean_ranks = ranks.mean(axis=0)
    statistic = p = None
    if systems > 2:  # SciPy's test wants three; of two, `compare` has the tests
        statistic, p = 0.0, 1.0
        if (ranks != ranks[:, :1]).any():  # not all tied everywhere, where the statistic is 0 / 0
            test = stats.friedmanchisquare(*table.T)
            statistic, p = float(test.statistic), float(test.pvalue)
    q = float(stats.studentized_range.ppf(1 - alpha, systems, np.inf)) / np.sqrt(2)
    difference = float(q * np.sqrt(systems * (systems + 1) / (6 * blocks)))
    order = np.argsort(mean_ranks, kind="stable")
    names = [str(scores.columns[i]) for i in order]
    ordered = mean_ranks[order]
    together = p is not None and p >= alpha
    return CriticalDifference(
        systems=tuple(names),
        mean_ranks=tuple(float(rank) for rank in ordered),
        blocks=blocks,
        friedman_statistic=statistic,
        friedman_p=p,
        critical_difference=difference,
        alpha=alpha,
        cliques=(tuple(names),) if together else _cliques(names, ordered, difference),
    )


def _rank_shares(keys: FloatArray) -> FloatArray:
    """Share of resamples in which each system has each rank: (systems, R) keys, smallest first -> (k, k)."""
    from scipy import stats

    best, worst = (stats.rankdata(keys, method=method, axis=0) for method in ("min", "max"))
    shares = [((best <= rank) & (rank <= worst)) / (worst - best + 1) for rank in range(1, len(keys) + 1)]
    averaged: FloatArray = np.stack([share.mean(axis=1) for share in shares], axis=1)
    return averaged


def _cliques(names: list[str], ranks: FloatArray, difference: float) -> tuple[tuple[str, ...], ...]:
    """Runs of neighbours within `difference`, none inside another, none of one system."""
    found: list[tuple[int, int]] = []
    for start in range(len(names)):
        end = int(np.searchsorted(ranks, ranks[start] + difference, side="right"))
        if end - start > 1 and (not found or end > found[-1][1]):
            found.append((start, end))
    return tuple(tuple(names[start:end]) for start, end in found)
