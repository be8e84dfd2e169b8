"""STUDY.yaml: what it may hold, what it expands to, and what counts as the same study."""

import re
from pathlib import Path

import pytest
import yaml

from delineate.checks import InputError
from delineate.models.checkpoint import build_model
from delineate.study.plan import difference, dump_study, load_study, parse_study, plan_runs

SMALL = {"name": "small", "systems": [{"recipe": "demo"}], "data": [{"name": "discs", "root": "discs"}]}


def parse(tmp_path, **changes):
    return parse_study(SMALL | changes, where="STUDY.yaml", folder=tmp_path)


def test_expands_systems_data_folds_and_seeds(tmp_path):
    study = parse(
        tmp_path,
        systems=[{"recipe": "demo"}, {"name": "slow", "recipe": "demo", "set": {"optimiser.rate": 1e-5}}],
        data=[
            {"name": "a", "root": "a"},
            {"name": "b", "protocol": "k-fold", "number_of_folds": 3, "folds": [0, 2]},
        ],
        seeds=[5, 7],
    )
    runs = plan_runs(study)
    # 2 systems x (1 split + 2 folds) x 2 seeds; the first seed sees everything before the second begins
    assert [run.key for run in runs[:6]] == [
        "demo__a__seed5",
        "slow__a__seed5",
        "demo__b__fold0__seed5",
        "slow__b__fold0__seed5",
        "demo__b__fold2__seed5",
        "slow__b__fold2__seed5",
    ]
    assert len(runs) == 12
    assert {run.recipe.training.seed for run in runs[6:]} == {7}
    assert [run.recipe.optimiser.rate for run in runs[:2]] == [3e-3, 1e-5]
    assert runs[0].split is None
    assert str(runs[4].split) == "k-fold, fold 2 of 3"
    row = runs[2].row()
    assert (row["key"], row["fold"], row["run"]) == (runs[2].key, 0, "runs/demo__b__fold0__seed5")
    assert row["recipe_sha256"] == runs[2].recipe.sha256()


def test_later_changes_win_and_data_decides_the_classes(tmp_path):
    study = parse(
        tmp_path,
        set={"training.epochs": 1, "training.batch_size": 2, "data.size": [32, 48]},
        systems=[{"recipe": "demo", "set": {"training.epochs": 2, "training.monitor": "dice"}}],
        data=[
            {
                "name": "polyps",
                "root": "p",
                "set": {"task.classes": ["polyp"], "task.labels": {}, "loss.label": []},
            },
            {"name": "discs", "root": "d", "set": {"training.epochs": 3}},
        ],
    )
    polyps, discs = plan_runs(study)
    assert polyps.recipe.task.classes == ("polyp",)
    assert not polyps.recipe.task.labels
    assert discs.recipe.task.classes == ("lesion",)
    assert (polyps.recipe.training.epochs, discs.recipe.training.epochs) == (2, 3)
    assert discs.recipe.training.batch_size == 2
    assert discs.recipe.data.size == (32, 48)


def test_all_folds_are_meant_when_none_are_named(tmp_path):
    for folds in (None, "all"):
        entry = {"name": "busi", "root": "b", "dataset": "busi", "protocol": "busi.4-fold", "folds": folds}
        assert [run.fold for run in plan_runs(parse(tmp_path, data=[entry]))] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": []}, "STUDY.yaml: unknown key 'system'. Did you mean 'systems'?"),
        ({"data": [{"name": "a", "rot": "x"}]}, "unknown key 'data.0.rot'. Did you mean 'root'?"),
        ({"systems": [{"name": "a"}]}, "the key 'systems.0.recipe' is missing"),
        ({"seeds": []}, "seeds: "),
        ({"seeds": ["1"]}, "seeds.0: it should be a valid integer, got '1'"),
        ({"seeds": [1, 1]}, "the seeds must differ from each other"),
        ({"systems": [{"name": "a/b", "recipe": "demo"}]}, "the system 'a/b' needs a name that"),
        ({"systems": [{"name": "a__b", "recipe": "demo"}]}, "the system 'a__b' needs a name"),
        (
            {"systems": [{"name": "A", "recipe": "demo"}, {"name": "a", "recipe": "demo"}]},
            "two of kind system are called 'A'",
        ),
        ({"compare": {"baseline": "demos"}}, "compare.baseline 'demos' is not in the study. Did you mean"),
        ({"compare": {"scores": ["dicee"]}}, "'dicee' is no score that can be better or worse"),
        ({"compare": {"scores": ["predicted_pixels"]}}, "is no score that can be better or worse"),
        ({"compare": {"scores": ["pranet_maxDic"]}}, "cannot be compared case by case"),
        ({"evaluate": {"metrics": ["pranett"]}}, "Unknown metric or group 'pranett'. Did you mean 'pranet'?"),
        ({"data": [{"name": "a", "dataset": "busy"}]}, "Unknown data set 'busy'. Did you mean 'busi'?"),
        ({"set": {"training.seed": 3}}, "training.seed comes from the list seeds"),
        (
            {"published": [{"system": "demo", "data": "discs", "paper": "m2snet", "table": "99",
                            "dataset": "x", "method": "y"}]},
            "Unknown table of m2snet '99'",
        ),
    ],
)  # fmt: skip
def test_names_what_is_wrong_in_the_file(tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        parse(tmp_path, **changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("STUDY.yaml: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"set": {"training.epoch": 3}},
            "System 'demo' on 'discs': demo.yaml with --set: unknown key 'training.epoch'",
        ),
        ({"systems": [{"recipe": "demmo"}]}, "Unknown recipe 'demmo'"),
        ({"data": [{"name": "a", "folds": "all"}]}, "Data entry 'a': folds belong to a protocol"),
        ({"data": [{"name": "a", "protocol": "70-15-15", "folds": [0]}]}, "protocol 70-15-15 has no folds"),
        (
            {"data": [{"name": "a", "protocol": "busi.4-fold", "folds": [4]}]},
            "Data entry 'a': folds must be some of 0 to 3, each once, or all, got [4]",
        ),
        (
            {"data": [{"name": "a", "protocol": "busi.5-fold"}]},
            "Data entry 'a': Unknown protocol 'busi.5-fold'",
        ),
        (
            {
                "compare": {"scores": ["auc"]},
                "set": {"task.labels": {}, "loss.label": [], "training.monitor": "dice"},
            },
            "'auc' needs task.labels, and no system has any",
        ),
    ],
)
def test_names_what_does_not_fit_in_the_plan(tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        plan_runs(parse(tmp_path, **changes))
    assert message in str(caught.value)


def test_paths_are_seen_from_the_file_and_may_be_given_instead(tmp_path):
    file = tmp_path / "studies" / "STUDY.yaml"
    file.parent.mkdir()
    content = SMALL | {"data": [{"name": "discs", "root": "../discs"}, {"name": "other"}]}
    file.write_text(yaml.safe_dump(content))
    study = load_study(file, {"other": tmp_path / "elsewhere"})
    assert [Path(entry.root).resolve() for entry in study.data] == [
        tmp_path / "discs",
        tmp_path / "elsewhere",
    ]
    with pytest.raises(InputError, match=r"Unknown data entry of .* 'othr'. Did you mean 'other'\?"):
        load_study(file, {"othr": tmp_path})


def test_the_written_study_is_complete_and_reads_back_equal(tmp_path):
    study = parse(tmp_path, systems=[{"recipe": "mine.yaml"}, {"recipe": "demo"}])
    assert [system.name for system in study.systems] == ["mine", "demo"]
    out = tmp_path / "out"
    out.mkdir()
    text = dump_study(study, out)
    content = yaml.safe_load(text)
    assert content["data"][0]["root"] == "../discs"  # not where this machine has it
    assert content["compare"] == {"scores": ["dice"], "baseline": None, "alpha": 0.05}
    (out / "study.yaml").write_text(text)
    again = load_study(out / "study.yaml")
    assert difference(study, again) is None
    assert [Path(entry.root).resolve() for entry in again.data] == [tmp_path / "discs"]
    assert dump_study(again, out) == text


def test_the_difference_of_two_studies_is_named(tmp_path):
    one = parse(tmp_path)
    assert difference(one, parse(tmp_path, data=[{"name": "discs", "root": "moved"}])) is None
    assert difference(one, parse(tmp_path, seeds=[0, 1])) == "seeds was [0], now [0, 1]"
    labels = {"good": ["good"], "bad": ["bad"]}
    two = [
        parse(tmp_path, set={"task.labels": dict(pairs)})
        for pairs in (labels.items(), reversed(labels.items()))
    ]
    assert difference(*two) == "set.task.labels had another order"
    changed = parse(tmp_path, systems=[{"recipe": "demo", "set": {"training.epochs": 9}}])
    assert difference(one, changed) == 'systems.0.set was {}, now {"training.epochs": 9}'


def test_the_study_of_the_how_to_can_be_planned(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "run-a-study.md"
    text = re.search(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)[1]
    (tmp_path / "STUDY.yaml").write_text(text)
    runs = plan_runs(load_study(tmp_path / "STUDY.yaml"))
    assert len(runs) == 3 * (1 + 4) * 3
    for system in {run.system: run for run in runs}.values():
        build_model(system.recipe)
