"""Comparisons of systems: hand-computed cases, independent forms, and known behaviour of the bootstrap."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from delineate.checks import InputError
from delineate.metrics.summary import summarise
from delineate.study.statistics import (
    block_means,
    cohens_dz,
    compare,
    correct_together,
    holm,
    paired_t,
    rank_biserial,
    read_scores,
    wilcoxon,
)


def table(values, *, score="dice", groups=None, first=0):
    frame = pd.DataFrame({"image_id": [f"c{first + i:03d}" for i in range(len(values))], score: values})
    return frame if groups is None else frame.assign(group=groups)


def noisy(n, shift=0.0, seed=0, spread=0.1):
    base = np.random.default_rng(99).uniform(0.4, 0.9, n)
    return base + shift + np.random.default_rng(seed).normal(0, spread, n)


# Tests and effect sizes.


def signed_rank_by_enumeration(differences):
    """Exact two-sided p: the share of all sign patterns with a rank sum as extreme."""
    ranks = stats.rankdata(np.abs(differences))
    centre = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - centre)
    sums = [
        ranks[np.array(signs, dtype=bool)].sum() for signs in itertools.product([0, 1], repeat=len(ranks))
    ]
    return np.mean(np.abs(np.array(sums) - centre) >= seen - 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_wilcoxon_is_the_share_of_sign_patterns(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, 9)
    assert wilcoxon(differences) == pytest.approx(signed_rank_by_enumeration(differences))


def test_wilcoxon_by_hand():
    assert wilcoxon([1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 64)
    assert wilcoxon([1, 2, 3, 4, 5, -6]) == pytest.approx(2 * 14 / 64)  # 14 subsets of 1..6 sum to at most 6
    assert wilcoxon([0, 0, 1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 64)  # zeros are dropped
    assert wilcoxon([0, 0]) == 1.0


def test_differences_that_tie_on_paper_tie_here():
    assert 0.8 - 0.7 != 0.7 - 0.6
    noisy_ties = [0.8 - 0.7, -(0.7 - 0.6), 0.5]
    assert rank_biserial(noisy_ties) == pytest.approx((1.5 - 1.5 + 3) / 6)


def test_t_by_hand():
    # mean 2, sd 1, n 4: t = 4, two-sided p with 3 degrees of freedom
    differences = np.array([1, 2, 2, 3]) * np.array([1.0])
    sd = math.sqrt(2 / 3)
    assert paired_t(differences) == pytest.approx(2 * stats.t.sf(2 / (sd / 2), 3))
    assert cohens_dz(differences) == pytest.approx(2 / sd)


def test_degenerate_differences():
    assert (paired_t([0.0, 0.0]), cohens_dz([0.0, 0.0]), rank_biserial([0.0, 0.0])) == (1.0, 0.0, 0.0)
    assert paired_t([0.1, 0.1, 0.1]) == 0.0
    assert math.isnan(cohens_dz([0.1, 0.1, 0.1]))
    assert paired_t([0.1]) == 1.0
    for function in (wilcoxon, paired_t, cohens_dz, rank_biserial):
        with pytest.raises(InputError, match="at least one finite difference"):
            function([0.1, math.nan])
        with pytest.raises(InputError, match="at least one finite difference"):
            function([])


def test_rank_biserial_by_hand():
    assert rank_biserial([1, 2, 3]) == 1
    assert rank_biserial([-1, -2, -3]) == -1
    assert rank_biserial([1, 2, -3]) == 0
    assert rank_biserial([1, -2, 3, 0]) == pytest.approx((1 - 2 + 3) / 6)


def holm_by_definition(p_values):
    """Reject step by step: the corrected p is the smallest alpha at which the step-down rejects it."""
    corrected = [0.0] * len(p_values)
    left, highest = dict(enumerate(p_values)), 0.0
    while left:
        index = min(left, key=left.get)
        highest = max(highest, min(1.0, len(left) * left.pop(index)))
        corrected[index] = highest
    return corrected


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.6]) == (1.0, 1.0)
    assert holm([]) == ()
    with pytest.raises(InputError, match="p-values must lie between 0 and 1"):
        holm([0.1, math.nan])


@pytest.mark.parametrize("seed", range(3))
def test_holm_follows_its_definition(seed):
    p_values = np.random.default_rng(seed).uniform(0, 0.2, 7).tolist()
    assert holm(p_values) == pytest.approx(holm_by_definition(p_values))


# Reading tables.


def test_tables_are_aligned_by_id():
    a = table([0.1, 0.2, 0.3])
    b = table([0.4, 0.5, 0.6]).iloc[::-1]
    scores = read_scores({"a": a, "b": b}, "dice")
    assert scores.ids == ("c000", "c001", "c002")
    np.testing.assert_allclose(scores.cases[1], [[0.4, 0.5, 0.6]])
    assert scores.means == pytest.approx((0.2, 0.5))


def test_cases_without_the_score_are_left_out_everywhere():
    scores = read_scores({"a": table([0.1, np.nan, 0.3]), "b": table([0.5, 0.9, 0.7])}, "dice")
    assert (scores.ids, scores.left_out) == (("c000", "c002"), 1)
    assert scores.means == pytest.approx((0.2, 0.6))


def test_groups_become_blocks():
    groups = ["p1", "p1", None, "p2"]
    frames = {"a": table([0.1, 0.3, 0.5, 0.9], groups=groups), "b": table([0.0] * 4)}
    scores = read_scores(frames, "dice")
    assert (scores.blocks, scores.grouped) == (3, True)
    means = block_means(scores)
    assert sorted(means["a"]) == pytest.approx([0.2, 0.5, 0.9])


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (table([0.1, 0.2]), r"^The table of 'b' is not about the cases of the first table: 1 differ"),
        (table([0.1, 0.2, np.inf]), r"^The column 'dice' of 'b' holds an infinite value\.$"),
        (table(["x", "y", "z"]), r"^The column 'dice' of 'b' must hold numbers\.$"),
        (table([0.1, 0.2, 0.3], score="iou"), r"^The table of 'b' has no column 'dice'\."),
        (table([np.nan] * 3), r"^No case has the score 'dice' in every table\.$"),
        (pd.concat([table([0.1, 0.2, 0.3])] * 2), r"^A table of 'b' holds the case 'c000' twice; choose one"),
        (table([]), r"^A table of 'b' must have a column 'image_id' and at least one row\.$"),
        (table([1, 2, 3], groups=["p", "q", "q"]), r"gives the case 'c001' the group 'q', another table 'p'"),
        ([], r"^System 'b' has no table; give at least one\.$"),
    ],
)
def test_tables_that_do_not_fit_are_refused(b, message):
    with pytest.raises(InputError, match=message):
        read_scores({"a": table([0.1, 0.2, 0.3], groups=["p", "p", "q"]), "b": b}, "dice")


def test_the_direction_must_be_known():
    frames = {"a": table([1, 2], score="mine"), "b": table([1, 2], score="mine")}
    with pytest.raises(
        InputError, match=r"^Which direction of 'mine' is better is not known; say up or down\.$"
    ):
        read_scores(frames, "mine")
    assert read_scores(frames, "mine", better="down").better == "down"


# Comparisons.


def test_a_clear_difference_is_better_and_seen_from_the_other_side_worse():
    result = compare({"a": table(noisy(40, 0.2, 1)), "b": table(noisy(40, 0.0, 2))}, "dice")
    pair = result.pairs[0]
    assert (pair.verdict, pair.test) == ("better", "wilcoxon")
    assert 0 < pair.low < pair.difference < pair.high
    other = result.between("b", "a")
    assert (other.verdict, other.first, other.second) == ("worse", "b", "a")
    assert (other.low, other.high) == (-pair.high, -pair.low)
    assert (other.rank_biserial, other.cohens_dz) == (-pair.rank_biserial, -pair.cohens_dz)
    assert other.first_mean - other.second_mean == pytest.approx(other.difference)
    assert other.flipped() == pair
    assert pair.sentence().startswith("a is better: difference 0.")


def test_lower_is_better_for_distances():
    near, far = np.linspace(1, 5, 30), np.linspace(2, 9, 30)
    result = compare({"near": table(near, score="hd95"), "far": table(far, score="hd95")}, "hd95")
    assert result.pairs[0].difference < 0
    assert result.pairs[0].verdict == "better"


def test_the_same_table_twice_is_a_tie():
    result = compare({"a": table(noisy(20)), "b": table(noisy(20))}, "dice")
    pair = result.pairs[0]
    assert (pair.difference, pair.low, pair.high, pair.p, pair.t_p) == (0, 0, 0, 1, 1)
    assert (pair.cohens_dz, pair.rank_biserial, pair.verdict) == (0, 0, "tie")
    assert pair.sentence() == "A tie: difference 0.000 (0.000 to 0.000), p = 1.000."


def test_the_interval_is_that_of_one_system_against_zero():
    values = noisy(25)
    pair = compare({"a": table(values), "zero": table(np.zeros(25))}, "dice", resamples=500, seed=3).pairs[0]
    alone = summarise(table(values), resamples=500, seed=3)["dice"]
    assert (pair.difference, pair.low, pair.high) == pytest.approx((alone.mean, alone.low, alone.high))


def test_an_interval_without_zero_is_a_tie_when_the_corrected_p_is_not_small():
    """Five cases that all favour one: the interval is clear of 0, but Wilcoxon cannot go below 0.0625."""
    result = compare({"a": table([0.5, 0.6, 0.7, 0.8, 0.9]), "b": table([0.4, 0.45, 0.5, 0.55, 0.6])}, "dice")
    pair = result.pairs[0]
    assert pair.low > 0
    assert pair.p == pytest.approx(0.0625)
    assert pair.verdict == "tie"
    assert (
        "With 5 independent cases no corrected p-value of 1 pair(s) can be below 0.05" in result.warnings[1]
    )


def test_a_mean_moved_by_few_cases_against_the_many_is_a_tie():
    """Most cases favour b a little, few favour a by far: mean and ranks disagree."""
    difference = np.concatenate([np.full(40, -0.01) - np.arange(40) / 1e4, np.full(8, 0.9)])
    frames = {"a": table(0.05 + difference), "b": table(np.full(48, 0.05))}
    pair = compare(frames, "dice").pairs[0]
    assert pair.difference > 0 > pair.rank_biserial
    assert pair.low > 0
    assert pair.p_holm < 0.05
    assert pair.verdict == "tie"


def test_correction_is_over_all_pairs_or_those_with_one_system():
    frames = {
        name: table(noisy(30, shift, i))
        for i, (name, shift) in enumerate({"a": 0.05, "b": 0, "c": 0.02}.items())
    }
    whole = compare(frames, "dice")
    assert [(p.first, p.second) for p in whole.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [p.p_holm for p in whole.pairs] == pytest.approx(holm_by_definition([p.p for p in whole.pairs]))
    assert [p.t_p_holm for p in whole.pairs] == pytest.approx(
        holm_by_definition([p.t_p for p in whole.pairs])
    )
    part = compare(frames, "dice", against="b")
    assert [(p.first, p.second) for p in part.pairs] == [("a", "b"), ("c", "b")]
    assert part.pairs[0].p == whole.pairs[0].p
    assert [p.p_holm for p in part.pairs] == pytest.approx(holm_by_definition([p.p for p in part.pairs]))


def test_two_data_sets_are_corrected_together():
    first = compare({"a": table(noisy(30, 0.06, 1)), "b": table(noisy(30, 0, 2))}, "dice")
    second = compare({"a": table(noisy(12, 0.02, 3)), "b": table(noisy(12, 0, 4))}, "dice")
    both = correct_together([first, second])
    assert [c.pairs[0].p_holm for c in both] == pytest.approx(
        holm_by_definition([first.pairs[0].p, second.pairs[0].p])
    )
    other = compare({"a": table([1, 2]), "b": table([1, 3])}, "dice", alpha=0.1)
    with pytest.raises(InputError, match=r"must have one alpha, got \[0.05, 0.1\]"):
        correct_together([first, other])


def test_groups_are_one_piece_of_evidence_each():
    """Twenty frames of four videos: frames alone would be significant, four videos never are."""
    values = np.repeat([0.3, 0.2, 0.1, 0.25], 5) + np.arange(20) / 1e3
    videos = np.repeat(["v1", "v2", "v3", "v4"], 5)
    frames = {"a": table(0.5 + values, groups=videos), "b": table(np.full(20, 0.5), groups=videos)}
    grouped = compare(frames, "dice").pairs[0]
    single = compare({name: frame.drop(columns="group") for name, frame in frames.items()}, "dice").pairs[0]
    assert (grouped.n, grouped.blocks, grouped.p) == (20, 4, pytest.approx(0.125))
    assert (single.blocks, single.verdict, grouped.verdict) == (20, "better", "tie")
    assert grouped.high - grouped.low > single.high - single.low


def test_frame_has_a_row_per_pair():
    frame = compare({name: table(noisy(10, 0, i)) for i, name in enumerate("abcd")}, "dice").to_frame()
    assert len(frame) == 6
    assert {"first", "second", "difference", "low", "high", "p_holm", "cohens_dz", "verdict"} <= set(frame)


def test_one_case_gives_no_interval():
    pair = compare({"a": table([0.9]), "b": table([0.1])}, "dice").pairs[0]
    assert (pair.low, pair.high, pair.p, pair.t_p, pair.cohens_dz, pair.verdict) == (
        None,
        None,
        1,
        1,
        None,
        "tie",
    )
    assert pair.sentence() == "A tie: difference 0.800, p = 1.000."


def test_bad_options_are_refused():
    frames = {"a": table([0.1, 0.2]), "b": table([0.2, 0.3])}
    with pytest.raises(InputError, match=r"^A comparison needs at least two systems, got 1\.$"):
        compare({"a": frames["a"]}, "dice")
    with pytest.raises(InputError, match=r"^alpha and confidence must be between 0 and 1 and resamples"):
        compare(frames, "dice", resamples=0)
    with pytest.raises(InputError, match=r"^Unknown system 'c'\."):
        compare(frames, "dice", against="c")
    with pytest.raises(InputError, match=r"^Unknown pair 'a and c'\."):
        compare(frames, "dice").between("a", "c")
