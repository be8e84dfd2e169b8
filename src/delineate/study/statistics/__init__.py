"""Statistics between systems: intervals of differences, tests with correction, effect sizes, ranks.

Everything starts from per-image tables as `evaluate` writes them (one table per trained run), so two systems
are always compared on the same cases. A system that was trained several times gives several tables.
"""

from delineate.study.statistics.paired import Comparison, PairedDifference, Verdict, compare, correct_together
from delineate.study.statistics.ranking import (
    CriticalDifference,
    RankStability,
    critical_difference,
    rank_stability,
)
from delineate.study.statistics.runs import MIN_RUNS, Spread, join_folds, over_runs, spread
from delineate.study.statistics.scores import Scores, block_means, read_scores, resampled
from delineate.study.statistics.significance import cohens_dz, holm, paired_t, rank_biserial, wilcoxon

__all__ = [
    "MIN_RUNS",
    "Comparison",
    "CriticalDifference",
    "PairedDifference",
    "RankStability",
    "Scores",
    "Spread",
    "Verdict",
    "block_means",
    "cohens_dz",
    "compare",
    "correct_together",
    "critical_difference",
    "holm",
    "join_folds",
    "over_runs",
    "paired_t",
    "rank_biserial",
    "rank_stability",
    "read_scores",
    "resampled",
    "spread",
    "wilcoxon",
]
