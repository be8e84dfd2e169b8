"""Which cases a report shows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from delineate.study.evidence import activation_tiers, overlay_tiers, tiers, with_decisions


def series(values):
    return pd.Series(values, index=[f"c{i:02d}" for i in range(len(values))], dtype=float)


def test_twelve_cases_fill_three_tiers_of_four():
    found = tiers(series(np.linspace(1, 0, 12)))
    assert list(found) == ["Best", "Median", "Worst"]
    assert sum(found.values(), []) == [f"c{i:02d}" for i in range(12)]


def test_the_median_lies_in_the_middle_of_many():
    found = tiers(series(np.linspace(0, 1, 101)), count=1)
    assert found == {"Best": ["c100"], "Median": ["c50"], "Worst": ["c00"]}


@pytest.mark.parametrize("count", range(3, 30))
def test_no_case_stands_twice(count):
    shown = sum(tiers(series([0.5] * count)).values(), [])
    assert len(shown) == len(set(shown)) == 3 * min(4, count // 3)


def test_few_cases_and_undefined_scores():
    assert tiers(series([])) == {}
    assert tiers(series([np.nan, np.nan])) == {}
    assert tiers(series([0.2, np.nan, 0.9])) == {"All cases": ["c02", "c00"]}


def test_ties_are_broken_by_the_id():
    assert tiers(pd.Series({"b": 1.0, "a": 1.0, "c": 1.0})) == {
        "Best": ["a"],
        "Median": ["b"],
        "Worst": ["c"],
    }


def probabilities(rows, names):
    table = pd.DataFrame(rows, columns=[f"label_probability[{name}]" for name in names])
    return table.assign(label=[0, 1, -1])


def test_decisions_of_two_labels_use_the_threshold():
    table = probabilities([[0.7, 0.3], [0.65, 0.35], [0.1, 0.9]], ["no", "yes"])
    found = with_decisions(table, ("no", "yes"), 0.3)
    assert found["predicted"].tolist() == ["no", "yes", "yes"]  # 0.3 is not above 0.3
    assert found["truth"].isna().tolist() == [False, False, True]
    np.testing.assert_allclose(found["confidence"], [0.7, 0.35, 0.9])
    np.testing.assert_allclose(found["true_probability"], [0.7, 0.35, np.nan])
    assert found["wrong"].tolist() == [False, False, False]


def test_decisions_of_three_labels_take_the_largest():
    table = probabilities([[0.2, 0.5, 0.3], [0.4, 0.35, 0.25], [0, 0, 1]], "abc")
    found = with_decisions(table, ("a", "b", "c"), 0.5)
    assert found["predicted"].tolist() == ["b", "a", "c"]
    assert found["wrong"].tolist() == [True, True, False]


def test_tables_without_labels_stay_as_they_are():
    table = pd.DataFrame({"dice": [1.0]})
    assert with_decisions(table, (), 0.5) is table
    assert with_decisions(table, ("a", "b"), 0.5) is table


def scores_of(run):
    table = pd.read_csv(run.path / "scores.csv", converters={"image_id": str})
    return with_decisions(table, run.predictor.info.labels, 0.5), {case.id: case for case in run.cases}


def test_wrongly_classified_cases_show_both_maps(make_run):
    run = make_run(count=14)
    table, cases = scores_of(run)
    found = activation_tiers(table, cases, run.predictor, "clnet")
    assert found[0].title == "Wrongly classified, the most certain first"
    wrong = table[table["wrong"]].sort_values("confidence", ascending=False)["image_id"].tolist()
    assert [view.id for view in found[0].views] == wrong[:4]
    view = found[0].views[0]
    assert view.wrong
    assert [panel.note.split(" (")[0] for panel in view.panels] == [
        "image",
        f"true: {view.truth}",
        f"predicted: {view.predicted}",
    ]
    ids = [view.id for tier in found for view in tier.views]
    assert len(ids) == len(set(ids))


def test_a_case_without_a_label_explains_the_prediction(make_run):
    run = make_run(count=2)
    table, cases = scores_of(run)
    views = {
        view.id: view
        for tier in activation_tiers(table, cases, run.predictor, "gradcam")
        for view in tier.views
    }
    view = views["case001"]
    assert view.truth is None
    assert [panel.note.split(" (")[0] for panel in view.panels] == ["image", f"predicted: {view.predicted}"]


def test_cases_without_a_mask_or_a_file_are_not_drawn(make_run):
    run = make_run(count=3)
    table, cases = scores_of(run)
    del cases["case001"]
    cases["case000"] = replace(cases["case000"], mask=None)
    (found,) = overlay_tiers(table, cases, run.predictor)
    assert (found.title, [view.id for view in found.views]) == ("All cases by dice", ["case002"])
