"""Several trainings, scores of the whole set, ranks, and the long-run behaviour of the verdict."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from delineate.checks import InputError
from delineate.metrics.summary import summarise
from delineate.study.statistics import (
    block_means,
    compare,
    critical_difference,
    join_folds,
    over_runs,
    rank_stability,
    read_scores,
    resampled,
    spread,
)


def table(values, *, score="dice", first=0):
    return pd.DataFrame({"image_id": [f"c{first + i:03d}" for i in range(len(values))], score: values})


def noisy(n, shift=0.0, seed=0, spread=0.1):
    base = np.random.default_rng(99).uniform(0.4, 0.9, n)
    return base + shift + np.random.default_rng(seed).normal(0, spread, n)


# Several runs.


def runs_of(effects, n=30, seed=0):
    base = np.random.default_rng(seed).uniform(0.4, 0.8, n)
    return [table(base + effect) for effect in effects]


def test_runs_widen_the_interval_to_their_own_spread():
    """Cases that never differ: what is left is the spread of the runs' means, sd / sqrt(S)."""
    effects = np.array([-0.06, 0.01, 0.05])
    frames = {"a": runs_of(effects), "b": runs_of([0.0])}
    scores = read_scores(frames, "dice")
    draws = resampled(scores, 20_000, 0)
    assert np.std(draws[0] - draws[1]) == pytest.approx(np.std(effects, ddof=1) / np.sqrt(3), rel=0.02)
    one = compare({"a": frames["a"][:1], "b": frames["b"]}, "dice").pairs[0]
    three = compare(frames, "dice").pairs[0]
    assert one.high - one.low < 1e-9
    assert three.low < 0 < three.high
    assert (three.first_runs, three.second_runs) == (3, 1)
    assert three.first_mean == pytest.approx(scores.means[1])  # the effects add up to 0


def test_a_lucky_seed_is_a_tie_once_seeds_are_drawn():
    """One run of a beats one of b on every case; over three runs each, they are alike."""
    a, b = runs_of([0.05, -0.02, -0.02]), runs_of([0.0, 0.01, -0.02])
    assert compare({"a": a[0], "b": b[0]}, "dice").pairs[0].verdict == "better"
    assert compare({"a": a, "b": b}, "dice").pairs[0].verdict == "tie"


def test_few_runs_are_said():
    single = compare({"a": table(noisy(20)), "b": [table(noisy(20, 0, 5))] * 3}, "dice").warnings
    assert single == ("Trained fewer than 3 times: a; the intervals say little about another training.",)
    assert compare({"a": runs_of([0.1, 0, 0.2]), "b": runs_of([0, 0.1, 0.1])}, "dice").warnings == ()


def test_spread_by_hand():
    found = spread([0.8, 0.9, 0.7])
    assert (found.mean, found.sd, found.n, found.warning) == (pytest.approx(0.8), pytest.approx(0.1), 3, "")
    assert str(found) == "0.800 ± 0.100 (3 runs)"


def test_few_or_undefined_runs_are_said():
    one = spread([0.8])
    assert (one.sd, str(one)) == (None, "0.800 (1 run)")
    assert one.warning == "1 run says little about the spread between trainings; 3 are needed."
    lost = spread([0.8, None, math.nan, 0.6])
    assert (lost.mean, lost.n) == (pytest.approx(0.7), 2)
    assert lost.warning.startswith("2 of 4 runs leave it undefined. 2 runs say little")
    assert (spread([None]).mean, str(spread([None]))) == (None, "undefined")
    with pytest.raises(InputError, match="There is no run"):
        spread([])
    with pytest.raises(InputError, match="is infinite"):
        spread([0.1, math.inf])


def test_every_score_of_the_summaries_is_spread():
    summaries = [{"dice": {"mean": m}, "auc": {"mean": None if m == 0.8 else 0.9}} for m in (0.7, 0.8, 0.9)]
    frame = over_runs(summaries)
    assert frame.loc["dice", ["mean", "sd", "n"]].tolist() == pytest.approx([0.8, 0.1, 3])
    assert frame.loc["auc", "n"] == 2
    assert frame.loc["auc", "warning"].startswith("1 of 3 runs leave it undefined.")


def test_folds_join_to_one_run():
    joined = join_folds([table([0.1, 0.2]), table([0.3, 0.4], first=2)])
    assert joined["dice"].tolist() == [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(InputError, match=r"^The case 'c001' was tested in two folds; join those of one"):
        join_folds([table([0.1, 0.2]), table([0.3], first=1)])


# Scores of the whole set.


def counts(rows, suffix=""):
    columns = [f"{kind}{suffix}" for kind in ("tp", "fp", "fn", "tn")]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(image_id=[f"c{i}" for i in range(len(rows))])


def random_counts(seed, n=40):
    drawn = np.random.default_rng(seed).integers(1, 60, (n, 4))
    return counts(drawn)


def test_pooled_scores_are_of_summed_counts():
    frames = {"a": counts([[8, 1, 1, 90], [1, 9, 0, 90]]), "b": counts([[5, 0, 5, 90], [10, 0, 0, 90]])}
    pair = compare(frames, "dice_pooled", resamples=50).pairs[0]
    assert pair.first_mean == pytest.approx(2 * 9 / (2 * 9 + 10 + 1))
    assert pair.second_mean == pytest.approx(2 * 15 / (2 * 15 + 5))
    assert (pair.test, pair.t_p, pair.rank_biserial, pair.cohens_dz) == ("bootstrap", None, None, None)


def test_set_scores_equal_those_of_the_summary():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 3, 60)
    probabilities = generator.dirichlet([1, 1, 1], 60)
    frame = random_counts(1, 60)[["image_id", "tp", "fp", "fn", "tn"]].assign(label=labels)
    frame[[f"label_probability[{name}]" for name in "xyz"]] = probabilities
    frame.loc[3, "label"] = -1
    summary = summarise(frame, resamples=300, seed=2)
    for name in (
        "dice_pooled",
        "iou_pooled",
        "auc",
        "auc[y]",
        "label_accuracy",
        "ece",
        "average_precision[z]",
    ):
        scores = read_scores({"a": frame}, name)
        assert scores.means[0] == pytest.approx(summary[name].mean), name
        draws = resampled(scores, 300, 2)[0]
        low, high = np.percentile(draws[~np.isnan(draws)], [2.5, 97.5])
        assert (low, high) == pytest.approx((summary[name].low, summary[name].high)), name


def test_classes_are_averaged_after_pooling():
    frame = counts([[8, 1, 1, 90]], "[disc]").merge(counts([[1, 9, 0, 90]], "[cup]"), on="image_id")
    scores = read_scores({"a": frame}, "dice_pooled")
    assert scores.means[0] == pytest.approx((16 / 18 + 2 / 11) / 2)
    assert read_scores({"a": frame}, "dice_pooled[cup]").means[0] == pytest.approx(2 / 11)


def test_a_better_classifier_is_found_and_a_like_one_is_a_tie():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 120)

    def scored(signal, seed):
        noise = np.random.default_rng(seed).normal(0, 1, 120)
        positive = 1 / (1 + np.exp(-(signal * (2 * truth - 1) + noise)))
        return pd.DataFrame({"image_id": range(120), "label": truth, "label_probability[yes]": positive})

    frames = {"good": scored(2, 1), "poor": scored(0.3, 2), "also good": scored(2, 3)}
    result = compare(frames, "auc", resamples=999)
    assert result.between("good", "poor").verdict == "better"
    assert result.between("good", "also good").verdict == "tie"
    assert result.between("good", "poor").p == pytest.approx(2 / 1000)
    with pytest.raises(InputError, match=r"^auc\[no\] names no label of 'good'; they are: yes\.$"):
        compare(frames, "auc[no]")


def test_tables_without_what_a_set_score_needs_are_refused():
    frames = {"a": table([0.1, 0.2]), "b": table([0.2, 0.3])}
    with pytest.raises(
        InputError, match=r"^The table of 'a' has no column 'tp', which dice_pooled is made from\.$"
    ):
        compare(frames, "dice_pooled")
    with pytest.raises(InputError, match=r"^The table of 'a' has no columns 'label' and 'label_probability"):
        compare(frames, "auc")
    one_label = pd.DataFrame({"image_id": [1, 2], "label": [1, 1], "label_probability[y]": [0.3, 0.6]})
    with pytest.raises(InputError, match=r"^auc is undefined for 'a'; it cannot be compared\.$"):
        compare({"a": one_label, "b": one_label}, "auc")
    with pytest.raises(InputError, match="is a score of the whole set"):
        block_means(read_scores({"a": random_counts(0)}, "dice_pooled"))


# Ranks.


def test_ranks_by_enumeration():
    """Two cases have four resamples: a has 1, 0.5, 0.5 and 0, b always 0.4."""
    found = rank_stability({"a": table([1.0, 0.0]), "b": table([0.4, 0.4])}, "dice", resamples=20_000)
    assert found.systems == ("a", "b")
    assert found.probability[0] == pytest.approx((0.75, 0.25), abs=0.01)
    assert found.probability[1] == pytest.approx((0.25, 0.75), abs=0.01)


def test_equal_systems_share_their_ranks():
    frames = {"a": table([0.5, 0.7]), "b": table([0.5, 0.7]), "c": table([0.1, 0.2])}
    found = rank_stability(frames, "dice", resamples=100)
    assert found.probability == ((0.5, 0.5, 0), (0.5, 0.5, 0), (0, 0, 1))
    frame = found.to_frame()
    assert frame.columns.tolist() == ["system", "mean", "expected_rank", "rank_1", "rank_2", "rank_3"]
    assert frame["expected_rank"].tolist() == [1.5, 1.5, 3]


def test_low_is_first_where_low_is_better():
    frames = {"far": table([5, 6], score="hd95"), "near": table([1, 2], score="hd95")}
    found = rank_stability(frames, "hd95", resamples=10)
    assert (found.systems, found.probability[0]) == (("near", "far"), (1, 0))


def test_ranks_know_about_other_trainings():
    frames = {"a": runs_of([0.3, 0.0, 0.0]), "b": runs_of([0.05, 0.05, 0.05])}
    drawn = rank_stability(frames, "dice", resamples=20_000)
    # two of three runs are drawn: a holds none of its lucky run with probability 4/9
    assert drawn.systems == ("a", "b")
    assert drawn.probability[0][0] == pytest.approx(5 / 9, abs=0.015)
    with pytest.raises(InputError, match=r"^Rank stability needs at least two systems and one resample"):
        rank_stability({"a": table([1, 2])}, "dice")


@pytest.mark.parametrize(("systems", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_the_published_constants(systems, q):
    """q at 0.05 of Demsar 2006, table 5(a)."""
    scores = pd.DataFrame(np.random.default_rng(0).random((14, systems)))
    found = critical_difference(scores, better="up")
    assert found.critical_difference == pytest.approx(
        q * math.sqrt(systems * (systems + 1) / (6 * 14)), abs=1e-3
    )


def friedman_by_hand(ranks):
    n, k = ranks.shape
    return 12 * n / (k * (k + 1)) * ((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum()


def test_friedman_and_cliques_by_hand():
    # c always third; a and b change places: mean ranks 1.3, 1.7, 3
    rows = [[0.9, 0.8, 0.1]] * 7 + [[0.8, 0.9, 0.1]] * 3
    found = critical_difference(pd.DataFrame(rows, columns=["a", "b", "c"]), better="up")
    assert found.mean_ranks == pytest.approx((1.3, 1.7, 3.0))
    ranks = np.array([[1, 2, 3]] * 7 + [[2, 1, 3]] * 3)
    assert found.friedman_statistic == pytest.approx(friedman_by_hand(ranks))
    assert found.friedman_p == pytest.approx(stats.chi2.sf(friedman_by_hand(ranks), 2))
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(12 / 60), abs=1e-3)  # 1.048
    assert found.cliques == (("a", "b"),)
    assert found.to_frame()["cliques"].tolist() == ["1", "1", ""]


def test_overlapping_cliques_and_low_is_better():
    rows = np.arange(5.0) + np.zeros((12, 5))  # mean ranks 1 to 5; the difference is 1.76
    found = critical_difference(pd.DataFrame(rows, columns=list("abcde")), better="down")
    assert found.systems == tuple("abcde")
    assert found.cliques == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    assert found.to_frame()["cliques"].tolist() == ["1", "1 2", "2 3", "3 4", "4"]


def test_a_clique_within_another_is_not_named():
    rows = [[1, 2, 3, 4], [2, 3, 1, 4], [3, 1, 2, 4]] * 4  # mean ranks 2, 2, 2, 4; the difference is 1.35
    found = critical_difference(pd.DataFrame(rows, columns=list("abcd")), better="down")
    assert found.mean_ranks == (2, 2, 2, 4)
    assert found.cliques == (("a", "b", "c"),)


def test_nothing_is_told_apart_when_friedman_does_not_reject():
    scores = pd.DataFrame(np.random.default_rng(1).random((8, 4)), columns=list("abcd"))
    found = critical_difference(scores, better="up")
    assert found.friedman_p > 0.05
    assert [set(clique) for clique in found.cliques] == [set("abcd")]
    same = critical_difference(pd.DataFrame(np.ones((5, 3))), better="up")
    assert (same.friedman_p, same.mean_ranks) == (1.0, (2, 2, 2))
    two = critical_difference(pd.DataFrame([[1, 2]] * 9, columns=["a", "b"]), better="up")
    assert (two.friedman_p, two.systems, two.cliques) == (None, ("b", "a"), ())


def test_rankings_need_whole_tables():
    with pytest.raises(InputError, match=r"^A ranking needs at least two blocks and two systems and a value"):
        critical_difference(pd.DataFrame([[1.0, np.nan], [1, 2]]), better="up")
    with pytest.raises(InputError, match=r"^alpha must be between 0 and 1, got 1\.$"):
        critical_difference(pd.DataFrame([[1.0, 2], [1, 2]]), better="up", alpha=1)


# Long-run behaviour: the error rate that the words "tie" and "interval" promise.


def test_like_systems_are_rarely_told_apart_and_the_interval_covers():
    wrong = covered = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        difference = 0.1 + generator.normal(0, 0.3, 30)
        frames = {"a": table(difference), "b": table(np.full(30, 0.1))}
        pair = compare(frames, "dice", resamples=200, seed=seed).pairs[0]
        wrong += pair.verdict != "tie"
        covered += pair.low <= 0 <= pair.high
    assert wrong <= 18  # 5 % of 200 is 10; 18 is exceeded with probability below 1 %
    assert 176 <= covered <= 199


def told_apart(runs, times=100):
    """Share of comparisons of two like systems that do not end in a tie; trainings differ by 0.03."""
    wrong = 0
    for seed in range(times):
        generator = np.random.default_rng(seed)
        base = generator.normal(0.7, 0.1, 60)
        frames = {
            name: [
                table(base + generator.normal(0, 0.03) + generator.normal(0, 0.05, 60)) for _ in range(runs)
            ]
            for name in "ab"
        }
        wrong += compare(frames, "dice", resamples=200, seed=seed).pairs[0].verdict != "tie"
    return wrong / times


def test_one_training_each_tells_like_systems_apart_and_three_rarely():
    assert told_apart(1) > 0.5
    assert told_apart(3) < 0.2
