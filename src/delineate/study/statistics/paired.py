"""Which of two systems is better on the same cases: interval, tests, effect size, verdict.

One rule for the verdict. The first system is "better" (or "worse") when all three hold, else it is a "tie":

1. the bootstrap interval of the difference does not hold 0,
2. the p-value, corrected by Holm over all pairs of the comparison, is below alpha,
3. the difference and the effect size of the test point in the same direction.

The p-value is Wilcoxon's for a score per case, and the bootstrap's for a score of the whole set (pooled,
labels), which has no value per case. The t-test is given beside it, because papers use it; it decides
nothing. Tests take one value per independent block: where groups (patient, video) are known, the mean
difference of each group, over all runs; cases of one group would be counted as more evidence than they are.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from delineate.checks import InputError, choose
from delineate.study.statistics.runs import MIN_RUNS
from delineate.study.statistics.scores import Better, Scores, Tables, block_means, read_scores, resampled
from delineate.study.statistics.significance import (
    cohens_dz,
    holm,
    paired_t,
    rank_biserial,
    smallest_wilcoxon,
    wilcoxon,
)

FloatArray = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "tie"]


@dataclass(frozen=True)
class PairedDifference:
    """Two systems on the same cases."""

    score: str
    """Name of the score."""
    better: Better
    """Which direction of the score is better."""
    first: str
    """System."""
    second: str
    """System that it is compared with."""
    first_mean: float
    """Score of the first, mean over its runs."""
    second_mean: float
    """Score of the second."""
    difference: float
    """First minus second, in the score's unit."""
    low: float | None
    """Lower end of the bootstrap interval of the difference; None with fewer than two blocks."""
    high: float | None
    """Upper end."""
    n: int
    """Cases."""
    blocks: int
    """Independent blocks: groups where known, else cases."""
    first_runs: int
    """Trained runs of the first."""
    second_runs: int
    """Trained runs of the second."""
    test: Literal["wilcoxon", "bootstrap"]
    """Where `p` comes from."""
    p: float
    """Two-sided p-value, not corrected."""
    p_holm: float
    """Corrected over all pairs."""
    t_p: float | None
    """Two-sided p-value of the paired t-test; None for a score of the whole set."""
    t_p_holm: float | None
    """Corrected over all pairs."""
    cohens_dz: float | None
    """Mean over standard deviation of the blocks' differences; None where it is undefined."""
    rank_biserial: float | None
    """-1 to 1, positive where the first is higher; None for a score of the whole set."""
    verdict: Verdict
    """What the first system is, by the rule of the module's docstring."""

    def sentence(self) -> str:
        """Say it in words, for example "A tie: difference 0.005 (-0.019 to 0.030), p = 0.61."."""
        said = {"better": f"{self.first} is better", "worse": f"{self.first} is worse", "tie": "A tie"}
        interval = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
        p = "p < 0.001" if self.p_holm < 0.001 else f"p = {self.p_holm:.3f}"
        return f"{said[self.verdict]}: difference {self.difference:.3f}{interval}, {p}."

    def flipped(self) -> "PairedDifference":
        """Return the same comparison seen from the second system."""
        verdicts: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "tie": "tie"}
        return replace(
            self,
            first=self.second,
            second=self.first,
            first_mean=self.second_mean,
            second_mean=self.first_mean,
            first_runs=self.second_runs,
            second_runs=self.first_runs,
            difference=-self.difference,
            low=_negative(self.high),
            high=_negative(self.low),
            cohens_dz=_negative(self.cohens_dz),
            rank_biserial=_negative(self.rank_biserial),
            verdict=verdicts[self.verdict],
        )


@dataclass(frozen=True)
class Comparison:
    """All pairs of one score on one data set."""

    pairs: tuple[PairedDifference, ...]
    """In the order of the systems given."""
    alpha: float
    """Level of the tests."""
    confidence: float
    """Coverage of the intervals."""
    resamples: int
    """Bootstrap resamples."""
    seed: int
    """Of the bootstrap."""
    left_out: int
    """Cases without the score in some table."""
    warnings: tuple[str, ...]
    """What limits the comparison, in sentences; to be printed with it."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pair, one column per field of `PairedDifference`."""
        names = [field.name for field in fields(PairedDifference)]
        return pd.DataFrame([asdict(pair) for pair in self.pairs], columns=names)

    def between(self, first: str, second: str) -> PairedDifference:
        """Return the pair seen from `first`.

        Raises:
            InputError: the two were not compared.
        """
        seen = {(pair.first, pair.second): pair for pair in self.pairs}
        seen |= {(pair.second, pair.first): pair.flipped() for pair in self.pairs}
        return choose(
            "pair", f"{first} and {second}", {f"{a} and {b}": pair for (a, b), pair in seen.items()}
        )


def compare(
    tables: Tables,
    score: str,
    *,
    against: str | None = None,
    better: Better | None = None,
    alpha: float = 0.05,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    threshold: float = 0.5,
) -> Comparison:
    """Compare systems on the same cases, every pair or all with one.

    The interval is a percentile bootstrap of the difference of means: blocks are drawn with replacement, the
    same for both systems; where a system was trained several times, its runs are drawn too (see
    `scores.resampled`), so that the interval covers another training as well as other cases. Few runs still
    make it too narrow: for like systems on 60 cases, with trainings 0.03 apart and noise of 0.05 per case,
    66 % of comparisons of one run each were no tie, 11 % of three runs, 7 % of five and 6 % of ten, where 5 %
    were meant (1000 simulations).

    Args:
        tables: system -> per-image table, or one per run; see `scores.read_scores`.
        score: a column of the tables, or a pooled or label score.
        against: compare every other system with this one only; None for all pairs. Fewer pairs are corrected
            less, so choose it before looking.
        better: direction; by default what `METRICS` says.
        alpha: level of the tests, between 0 and 1.
        confidence: coverage of the intervals, between 0 and 1.
        resamples: at least 1.
        seed: the same seed and tables give the same result.
        threshold: of the positive label, for label scores of two classes.

    Raises:
        InputError: fewer than two systems, options out of range, or tables that do not fit.
    """
    if len(tables) < 2:
        raise InputError(f"A comparison needs at least two systems, got {len(tables)}.")
    if not 0 < alpha < 1 or not 0 < confidence < 1 or resamples < 1:
        raise InputError(
            "alpha and confidence must be between 0 and 1 and resamples at least 1, "
            f"got {alpha}, {confidence} and {resamples}."
        )
    if against is not None:
        choose("system", against, tables)
    scores = read_scores(tables, score, better=better, threshold=threshold)
    undefined = [name for name, value in zip(scores.systems, scores.means, strict=True) if np.isnan(value)]
    if undefined:
        raise InputError(f"{score} is undefined for {undefined[0]!r}; it cannot be compared.")
    numbers = range(len(scores.systems))
    if against is None:
        chosen = list(combinations(numbers, 2))
    else:
        chosen = [(i, scores.systems.index(against)) for i in numbers if scores.systems[i] != against]
    draws = resampled(scores, resamples, seed)
    per_block = None if scores.cases is None else block_means(scores).to_numpy()
    pairs = [_pair(scores, draws, per_block, pair, confidence) for pair in chosen]
    return Comparison(
        pairs=_corrected(pairs, alpha),
        alpha=alpha,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        left_out=scores.left_out,
        warnings=_warnings(scores, len(pairs), alpha, resamples),
    )


def correct_together(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct the pairs of several comparisons (data sets, scores) as one family, and judge them again.

    Raises:
        InputError: the comparisons have different alphas.
    """
    alphas = {comparison.alpha for comparison in comparisons}
    if len(alphas) > 1:
        raise InputError(f"Comparisons corrected together must have one alpha, got {sorted(alphas)}.")
    if not comparisons:
        return ()
    family = iter(_corrected([pair for part in comparisons for pair in part.pairs], alphas.pop()))
    return tuple(replace(part, pairs=tuple(next(family) for _ in part.pairs)) for part in comparisons)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _pair(
    scores: Scores,
    draws: FloatArray,
    per_block: FloatArray | None,
    pair: tuple[int, int],
    confidence: float,
) -> PairedDifference:
    """Everything but the correction and the verdict."""
    i, j = pair
    first_mean, second_mean = scores.means[i], scores.means[j]
    drawn = draws[i] - draws[j]
    drawn = drawn[~np.isnan(drawn)]
    low = high = None
    if scores.blocks > 1 and 2 * len(drawn) >= draws.shape[1]:
        tail = 50 * (1 - confidence)
        low, high = (float(end) for end in np.percentile(drawn, [tail, 100 - tail]))
    if per_block is None:
        p = _bootstrap_p(drawn) if low is not None else 1.0
        t_p = effect = ranks = None
    else:
        differences = per_block[:, i] - per_block[:, j]
        p, t_p = wilcoxon(differences), paired_t(differences)
        d_z, ranks = cohens_dz(differences), rank_biserial(differences)
        effect = None if np.isnan(d_z) else d_z
    return PairedDifference(
        score=scores.score,
        better=scores.better,
        first=scores.systems[i],
        second=scores.systems[j],
        first_mean=first_mean,
        second_mean=second_mean,
        difference=first_mean - second_mean,
        low=low,
        high=high,
        n=len(scores.ids),
        blocks=scores.blocks,
        first_runs=len(scores.runs[i]),
        second_runs=len(scores.runs[j]),
        test="bootstrap" if per_block is None else "wilcoxon",
        p=p,
        p_holm=p,
        t_p=t_p,
        t_p_holm=t_p,
        cohens_dz=effect,
        rank_biserial=ranks,
        verdict="tie",
    )


def _bootstrap_p(drawn: FloatArray) -> float:
    """Twice the smaller share of resamples on either side of 0; never 0, as resamples are finite."""
    side = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return float(min(1.0, 2 * (side + 1) / (len(drawn) + 1)))


def _corrected(pairs: Sequence[PairedDifference], alpha: float) -> tuple[PairedDifference, ...]:
    of_p = holm([pair.p for pair in pairs])
    of_t = iter(holm([pair.t_p for pair in pairs if pair.t_p is not None]))
    with_p = [
        replace(pair, p_holm=p, t_p_holm=None if pair.t_p is None else next(of_t))
        for pair, p in zip(pairs, of_p, strict=True)
    ]
    return tuple(replace(pair, verdict=_verdict(pair, alpha)) for pair in with_p)


def _verdict(pair: PairedDifference, alpha: float) -> Verdict:
    """The rule of the module's docstring."""
    if pair.low is None or pair.high is None or pair.low <= 0 <= pair.high or pair.p_holm >= alpha:
        return "tie"
    if pair.rank_biserial is not None and pair.rank_biserial * pair.difference <= 0:
        return "tie"
    return "better" if (pair.difference > 0) == (pair.better == "up") else "worse"


def _warnings(scores: Scores, pairs: int, alpha: float, resamples: int) -> tuple[str, ...]:
    said = []
    few = [name for name, runs in zip(scores.systems, scores.runs, strict=True) if len(runs) < MIN_RUNS]
    if few:
        said.append(
            f"Trained fewer than {MIN_RUNS} times: {', '.join(few)}; the intervals say little about "
            "another training."
        )
    if scores.cases is None:
        attainable = 2 / (resamples + 1)
        remedy = "take more resamples"
    else:
        attainable = smallest_wilcoxon(scores.blocks)
        remedy = "test on more of them"
    if attainable * pairs >= alpha:
        what = f"{resamples} resamples" if scores.cases is None else f"{scores.blocks} independent cases"
        said.append(
            f"With {what} no corrected p-value of {pairs} pair(s) can be below {alpha:g}, so everything is a "
            f"tie; {remedy}."
        )
    if scores.left_out:
        said.append(f"{scores.left_out} case(s) lack the score in some table and were left out of all.")
    return tuple(said)
