"""Paired tests, effect sizes and Holm's correction, on the differences of independent cases.

Differences are rounded to 12 decimals first, so that 0.8 - 0.7 and 0.7 - 0.6 tie, as they do on paper.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError

FloatArray = npt.NDArray[np.float64]
_DECIMALS = 12


def wilcoxon(differences: npt.ArrayLike) -> float:
    """Two-sided p of the Wilcoxon signed-rank test, 0 to 1.

    Differences of 0 are dropped (Wilcoxon's own treatment); when nothing is left, p is 1. SciPy chooses
    between the exact distribution (few cases, no ties) and the normal approximation.

    Args:
        differences: (N,) finite, one per independent case.

    Raises:
        InputError: no difference, or one that is not finite.

    Source:
        Wilcoxon, Biometrics Bulletin 1945; scipy.stats.wilcoxon.
    """
    from scipy import stats

    some = _differences(differences)
    some = some[some != 0]
    return float(stats.wilcoxon(some).pvalue) if len(some) else 1.0


def paired_t(differences: npt.ArrayLike) -> float:
    """Two-sided p of the paired t-test, 0 to 1.

    All differences 0: 1. All differences equal and not 0: 0, as t is infinite. One difference: 1.

    Args:
        differences: (N,) finite, one per independent case.

    Raises:
        InputError: no difference, or one that is not finite.

    Source:
        Student, Biometrika 1908; scipy.stats.ttest_1samp.
    """
    from scipy import stats

    some = _differences(differences)
    if len(some) < 2 or not some.any():
        return 1.0
    if _constant(some):
        return 0.0
    return float(stats.ttest_1samp(some, 0.0).pvalue)


def cohens_dz(differences: npt.ArrayLike) -> float:
    """Cohen's d_z: mean of the paired differences over their standard deviation (n - 1).

    All differences 0: 0. All equal and not 0, or only one difference: NaN, as it is unbounded or unknown.
    0.2, 0.5 and 0.8 are commonly read as small, medium and large.

    Args:
        differences: (N,) finite, one per independent case.

    Raises:
        InputError: no difference, or one that is not finite.

    Source:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, section 2.3.5.
    """
    some = _differences(differences)
    if not some.any():
        return 0.0
    if len(some) < 2 or _constant(some):
        return float("nan")
    return float(some.mean() / some.std(ddof=1))


def rank_biserial(differences: npt.ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation, -1 to 1: the effect size of the signed-rank test.

    (W+ - W-) / (W+ + W-), the rank sums of positive and negative differences; differences of 0 are dropped,
    and when nothing is left it is 0. 1: every case favours the first system.

    Args:
        differences: (N,) finite, one per independent case.

    Raises:
        InputError: no difference, or one that is not finite.

    Source:
        Kerby, Comprehensive Psychology 2014.
    """
    from scipy import stats

    some = _differences(differences)
    some = some[some != 0]
    if not len(some):
        return 0.0
    ranks = stats.rankdata(np.abs(some))
    return float((ranks * np.sign(some)).sum() / ranks.sum())


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values of one family for its size, step down: each at least its own p, at most 1.

    The smallest is multiplied by the number of tests, the next by one less, and so on, and no corrected
    value is below one that came before it. The chance of any wrong rejection stays below alpha, however the
    tests depend on each other.

    Args:
        p_values: each 0 to 1.

    Returns:
        The corrected values, in the order given.

    Raises:
        InputError: a value is not between 0 and 1.

    Source:
        Holm, Scandinavian Journal of Statistics 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("p-values must lie between 0 and 1; leave out tests that gave none.")
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return tuple(float(value) for value in corrected)


def smallest_wilcoxon(cases: int) -> float:
    """Smallest two-sided p that the signed-rank test can give for this number of independent cases."""
    return float(min(1.0, 2.0 ** (1 - cases)))


def _differences(differences: npt.ArrayLike) -> FloatArray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError("A paired test needs a list of at least one finite difference, one per case.")
    return values.round(_DECIMALS)


def _constant(differences: FloatArray) -> bool:
    return bool((differences == differences[0]).all())
