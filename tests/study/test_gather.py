"""The tables of a study against numbers that follow from its runs' scores by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from delineate.metrics import as_json, summarise
from delineate.study.gather import gather
from delineate.study.plan import parse_study, plan_runs
from delineate.study.study_state import open_study


@pytest.fixture
def finished(make_run):
    """A function that writes what a run of a system leaves behind; `dice` of its cases is given."""
    template = make_run(count=6, labels=()).path

    def write(folder, dice, cases):
        folder.mkdir(parents=True)
        table = pd.DataFrame({"split": "test", "image_id": cases, "group": "", "dice": dice})
        table.to_csv(folder / "scores.csv", index=False)
        summary = {"test": as_json(summarise(table, resamples=20))}
        (folder / "summary.json").write_text(json.dumps(summary))
        for name in ("recipe.yaml", "record.json"):
            (folder / name).write_bytes((template / name).read_bytes())

    return write


def test_tables_of_folds_and_seeds_by_hand(finished, tmp_path):
    """Two systems, two folds of three cases, three seeds; every number follows from the scores below."""
    content = {
        "name": "folds",
        "systems": [{"name": "a", "recipe": "demo"}, {"name": "b", "recipe": "demo"}],
        "data": [{"name": "d", "root": "d", "protocol": "k-fold", "number_of_folds": 2}],
        "seeds": [0, 1, 2],
        "compare": {"scores": ["dice", "iou"], "baseline": "b"},
    }
    study = parse_study(content, where="STUDY.yaml", folder=tmp_path)
    runs = plan_runs(study)
    paths = open_study(study, runs, tmp_path / "out", resume=False)
    generator = np.random.default_rng(0)
    dice = {}
    for planned in runs:
        if planned.key != "b__d__fold1__seed2":  # this one failed
            dice[planned.key] = generator.uniform(0.5, 0.9, 10) + (0.1 if planned.system == "a" else 0)
            names = [f"case{10 * planned.fold + i}" for i in range(10)]
            finished(paths.run(planned.key).root, dice[planned.key], names)

    found = gather(study, paths, runs)
    scores = pd.read_csv(paths.scores)
    assert list(scores.columns) == ["system", "data", "fold", "seed", "split", "image_id", "group", "dice"]
    assert len(scores) == 110
    results = pd.read_csv(paths.results).set_index(["system", "score"])
    a, b = results.loc[("a", "dice")], results.loc[("b", "dice")]
    of_a = [values.mean() for key, values in dice.items() if key.startswith("a")]
    of_b = [values.mean() for key, values in dice.items() if key.startswith("b") and "seed2" not in key]
    assert a["mean"] == pytest.approx(np.mean(of_a))
    assert a["sd"] == pytest.approx(np.std(of_a, ddof=1))
    assert b["mean"] == pytest.approx(np.mean(of_b))  # the seed that lacks a fold is in no mean
    assert (a["n"], a["runs"], b["n"], b["runs"]) == (20, 6, 20, 4)
    assert a["low"] < a["mean"] < a["high"]
    assert "b on d: 1 of 3 repetition(s) lack a run and enter no mean." in found.warnings
    assert "iou on d: too few systems have it; nothing is compared." in found.warnings

    (pair,) = pd.read_csv(paths.comparisons).to_dict("records")
    assert (pair["data"], pair["first"], pair["second"], pair["n"]) == ("d", "a", "b", 20)
    assert (pair["first_runs"], pair["second_runs"]) == (3, 2)
    per_case = {
        name: np.mean(
            [np.r_[dice[f"{name}__d__fold0__seed{s}"], dice[f"{name}__d__fold1__seed{s}"]] for s in seeds],
            axis=0,
        )
        for name, seeds in (("a", (0, 1, 2)), ("b", (0, 1)))
    }
    difference = per_case["a"] - per_case["b"]
    assert pair["difference"] == pytest.approx(difference.mean())
    assert pair["p"] == pytest.approx(stats.wilcoxon(difference).pvalue)
    assert pair["p_holm"] == pytest.approx(pair["p"])  # one row, so nothing to correct


def test_all_comparisons_are_one_family(finished, tmp_path):
    """Three systems on two data sets: six p-values, Holm's factors 6 to 1 by hand."""
    content = {
        "name": "family",
        "systems": [{"name": name, "recipe": "demo"} for name in "abc"],
        "data": [{"name": "one", "root": "1"}, {"name": "two", "root": "2"}],
    }
    study = parse_study(content, where="STUDY.yaml", folder=tmp_path)
    runs = plan_runs(study)
    paths = open_study(study, runs, tmp_path / "out", resume=False)
    generator = np.random.default_rng(0)
    for i, planned in enumerate(runs):
        dice = generator.uniform(0.3, 0.6, 30) + 0.02 * i
        finished(paths.run(planned.key).root, dice, [f"case{k}" for k in range(30)])
    gather(study, paths, runs)
    table = pd.read_csv(paths.comparisons)
    assert len(table) == 6
    order = table["p"].sort_values().index
    expected = (table.loc[order, "p"] * [6, 5, 4, 3, 2, 1]).cummax().clip(upper=1)
    assert table.loc[order, "p_holm"].tolist() == pytest.approx(expected.tolist())
