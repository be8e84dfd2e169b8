"""Published tables: what can be repeated, and measured beside published. Runs are faked but for one test."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from delineate.checks import InputError
from delineate.files import write_json, write_text
from delineate.metrics import as_json, score_image, summarise
from delineate.record import EvaluationRecord, RunRecord, describe_environment, write_record
from delineate.study import reproduce as module
from delineate.study.plan import plan_runs
from delineate.study.published import published_values
from delineate.study.reproduce import COLUMNS, beside, reproduce
from delineate.study.reproduce_measure import Measured, costs, mean_of
from delineate.study.reproduce_plan import plan_table

TABLES = sorted({(value.paper, value.table) for value in published_values()})
SIDE = 12


def plain_folder(root: Path, name: str, ids: dict[str, str], labels=None) -> None:
    """A plain data set: id -> split."""
    (root / name / "images").mkdir(parents=True)
    (root / name / "masks").mkdir()
    for i, case in enumerate(ids):
        pixels = np.random.default_rng(i).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / "images" / f"{case}.png")
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[2 : 5 + i % 4, 3:9] = 255
        Image.fromarray(mask).save(root / name / "masks" / f"{case}.png")
    write_text(
        root / name / "split.csv", "image_id,split\n" + "".join(f"{case},{s}\n" for case, s in ids.items())
    )
    if labels is not None:
        rows = "".join(f"{case},{labels[i % len(labels)]}\n" for i, case in enumerate(ids))
        write_text(root / name / "labels.csv", "image_id,label\n" + rows)


def some_ids(*names: str, test: int = 4) -> dict[str, str]:
    return {f"{name}_{i}": "test" if i < test else "train" for name in names for i in range(test + 2)}


def fake_execute(quality):
    """Stands for the study engine: writes run folders whose predictions are shifted by `quality(run)`."""

    def execute(study, out, **_):
        environment = describe_environment("cpu")
        for run in plan_runs(study):
            folder = out / "runs" / run.key
            rows = []
            for case, split in some_ids(*quality.names).items():
                if split == "test":
                    reference = np.zeros((SIDE, SIDE), dtype=np.uint8)
                    reference[2:8, 2:8] = 1
                    shift = quality(run, case)
                    probability = np.roll(reference, shift, axis=1) * 0.9
                    scores = score_image(reference, probability, classes=["x"], extra=study.evaluate.metrics)
                    rows.append({"split": "test", "image_id": case, "group": None} | scores)
            table = pd.DataFrame(rows)
            folder.mkdir(parents=True)
            table.to_csv(folder / "scores.csv", index=False)
            write_json(folder / "summary.json", {"test": as_json(summarise(table))})
            evaluation = EvaluationRecord(
                finished="2031-01-01T00:00:00+00:00",
                wall_seconds=1.0,
                data_fingerprint="0",
                cases=len(table),
                weights_sha256="0",
                environment=environment,
            )
            record = RunRecord(
                recipe=run.recipe.name,
                recipe_sha256=run.recipe.sha256(),
                data_root="/data",
                dataset="folder",
                data_fingerprint="0",
                cases={"train": 1, "val": 0, "test": len(table)},
                seed=run.seed,
                started="2031-01-01T00:00:00+00:00",
                finished="2031-01-01T00:00:00+00:00",
                wall_seconds=1.0,
                epochs=17 + run.seed,
                selected_epoch=1,
                resumed=0,
                gate={"error": 0, "warning": 0, "info": 0},
                gate_overridden=False,
                environment=environment,
                evaluations={"test": evaluation},
            )
            write_record(folder / "record.json", record)
        done = type("State", (), {"state": "done", "reason": None})()
        return type("Record", (), {"runs": {run.key: done for run in plan_runs(study)}})()

    return execute


@pytest.fixture
def faked(monkeypatch):
    def fake(names, quality):
        quality.names = names
        monkeypatch.setattr(module, "execute", fake_execute(quality))

    return fake


@pytest.mark.parametrize(("paper", "table"), TABLES)
def test_without_data_every_row_says_why(tmp_path, paper, table):
    plan = plan_table(paper, table, tmp_path)
    assert plan.entries
    for entry in plan.entries:
        assert entry.state in ("cost", "data", "cannot")
        assert bool(entry.reason) == (entry.state != "cost")
    assert plan.runs == 0
    needed = {p.folder.name for p in plan.places.values() if not p.source.hidden}
    assert needed == {Path(p.reason.split(" at ")[1].split(".")[0]).name for p in plan.places.values()
                      if not p.source.hidden}  # fmt: skip


def test_data_that_does_not_fit_the_protocol_is_named(tmp_path):
    plain_folder(tmp_path, "busi", some_ids("a"))
    entry = plan_table("chnet", "2", tmp_path).entry("CHNet (ours)", "busi")
    assert entry.state == "data"
    assert "divides 780 cases, but 6 were found" in entry.reason

    plain_folder(tmp_path, "isic2017", dict.fromkeys(("x", "y"), "train"))
    entry = plan_table("clnet", "2", tmp_path, protocol="own").entry("UNet", "isic2017")
    assert "has no test part" in entry.reason


def test_what_is_to_be_made_names_the_command(tmp_path):
    plan = plan_table("fcp-net", "IX", tmp_path)
    reason = plan.entry("FCP-Net (ours)", "refuge").reason
    assert "Write it with: delineate data convert REFUGE refuge-disc --dataset refuge:disc" in reason


def test_hidden_test_masks_cannot_be_scored(tmp_path):
    plan = plan_table("m2snet", "5", tmp_path)
    assert {entry.state for entry in plan.entries} == {"cannot"}
    with pytest.raises(InputError, match="Nothing of table 5 of m2snet can be run here: .*not public"):
        reproduce(plan, tmp_path / "out")


def test_measured_stands_beside_published(tmp_path, faked):
    """Shift 3 of a 6x6 square: Dice 1/2, and of 4 cases two are perfect: mean 0.75."""
    names = ("case",)
    faked(names, lambda run, case: 0 if case in ("case_0", "case_1") else 3)
    plain_folder(tmp_path / "data", "busi", some_ids(*names))
    plan = plan_table("chnet", "2", tmp_path / "data", rows=["chnet", "NU-Net"], protocol="own")
    assert plan.runs == 1

    result = reproduce(plan, tmp_path / "out")

    table = pd.read_csv(tmp_path / "out" / "reproduction.csv", keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    ours = result.table[result.table["method"] == "CHNet (ours)"].set_index("metric")
    published = next(
        v.mean for v in published_values("chnet", "2") if v.method == "CHNet (ours)" and v.metric == "dice"
    )
    dice = ours.loc["dice"]
    assert (dice["measured"], dice["n"], dice["runs"]) == (0.75, 4, 1)
    assert dice["gap"] == pytest.approx(0.75 - published)
    assert dice["low"] <= 0.75 <= dice["high"]
    assert dice["inside"] == (round(dice["low"], 12) <= published <= round(dice["high"], 12))
    other = result.table[result.table["method"] == "NU-Net"]
    assert set(other["state"]) == {"cannot be run"}
    assert other["note"].str.contains("no code here").all()
    page = result.report.read_text(encoding="utf-8")
    assert "divided by the protocol own, not as the paper says" in page
    assert "0.7500" in page
    assert json.loads((tmp_path / "out" / "reproduction.json").read_text())["finished"]


def test_one_training_serves_every_test_set(tmp_path, faked):
    """The five columns of M2SNet's table 1 are five parts of one test split, told apart by their ids."""
    sets = {"CVC-300": 0, "CVC-ClinicDB": 1, "CVC-ColonDB": 2, "ETIS-LaribPolypDB": 3, "Kvasir": 6}
    faked(tuple(sets), lambda run, case: sets[case.rpartition("_")[0]])
    plain_folder(tmp_path / "data", "pranet", some_ids(*sets))
    plan = plan_table("m2snet", "1", tmp_path / "data", rows=["M2SNet"], protocol="own")
    assert plan.runs == 1

    table = reproduce(plan, tmp_path / "out").table
    dice = table[table["score"] == "dice"].set_index("dataset")["measured"]
    expected = {"CVC-T": 1, "ClinicDB": 5 / 6, "ColonDB": 4 / 6, "ETIS": 3 / 6, "Kvasir": 0}
    assert dice.to_dict() == pytest.approx(expected)
    assert set(table["score"]) >= {"msnet_mdice", "pranet_meanDic", "dice"}
    assert table[table["score"] == "pranet_maxEm"]["measured"].isna().all()  # the fake keeps no histograms


def test_seeds_give_mean_and_deviation_and_epochs_come_from_the_records(tmp_path, faked):
    faked(("case",), lambda run, case: 0 if run.seed else 3)
    plain_folder(tmp_path / "data", "isic2017", some_ids("case"), labels=["nevus", "melanoma"])
    where = {"protocol": "own", "seeds": (0, 1), "rows": ["EFE full"]}
    plan = plan_table("fcp-net", "III", tmp_path / "data", **where)
    table = reproduce(plan, tmp_path / "out").table
    f1 = table[table["score"] == "dice"].iloc[0]
    assert (f1["measured"], f1["runs"]) == (0.75, 2)
    assert f1["sd"] == pytest.approx(np.std([0.5, 1], ddof=1))

    epochs = plan_table("fcp-net", "text IV.B.1", tmp_path / "data", **where)
    assert reproduce(epochs, tmp_path / "epochs").table["measured"].tolist() == [17.5]


def test_columns_that_average_two_networks(tmp_path, faked):
    """CLNet's table 2 averages the networks of both tasks; its U-Net is trained once."""
    faked(("case",), lambda run, case: 3 if "keratosis" in run.system else 0)
    plain_folder(tmp_path / "data", "isic2017", some_ids("case"), labels=["nevus", "melanoma"])
    plan = plan_table("clnet", "2", tmp_path / "data", protocol="own")
    assert plan.runs == 6
    table = reproduce(plan, tmp_path / "out").table
    dice = table[table["score"] == "dice"].set_index("method")["measured"]
    assert dice["ResNet50 + ResUNet (Ours)"] == 0.75
    assert dice["UNet"] == 1


def test_p_values_are_of_paired_t_tests(tmp_path, faked):
    from scipy.stats import ttest_rel

    shifts = {"case_0": 1, "case_1": 2, "case_2": 1, "case_3": 0}
    faked(("case",), lambda run, case: shifts[case] if "w-o-HLF" in run.system else 0)
    plain_folder(tmp_path / "data", "isic2017", some_ids("case"), labels=["nevus", "melanoma"])
    row = "w/o HLF vs full"
    plan = plan_table("fcp-net", "II", tmp_path / "data", protocol="own", rows=[row])
    assert plan.runs == 2
    table = reproduce(plan, tmp_path / "out").table
    found = table[table["score"] == "dice"]["measured"].iloc[0]
    assert found == pytest.approx(ttest_rel([5 / 6, 4 / 6, 5 / 6, 1], [1, 1, 1, 1]).pvalue)


@pytest.mark.parametrize("fails", [False, True])
def test_a_network_is_tested_on_another_data_set(tmp_path, faked, monkeypatch, fails):
    """ULFFN's table 3: trained on ISIC 2016, tested on ISIC 2017; a refusal costs that row only."""
    faked(("case",), lambda run, case: 0)
    for name in ("isic2016", "isic2017"):
        plain_folder(tmp_path / "data", name, some_ids("case"))

    def elsewhere(run, *, root, dataset, split):
        assert (root.name, dataset, split) == ("isic2017", "folder", "test")
        if fails:
            raise InputError("3 image(s) were used to train this run.")
        table = pd.read_csv(run / "scores.csv")
        table = pd.concat([table, table.assign(split="isic2017/test", dice=0.25)])
        table.to_csv(run / "scores.csv", index=False)
        summary = json.loads((run / "summary.json").read_text())
        write_json(run / "summary.json", summary | {"isic2017/test": summary["test"]})

    monkeypatch.setattr("delineate.inference.evaluate.evaluate", elsewhere)
    plan = plan_table("ulffn", "3", tmp_path / "data", rows=["ULFFN"], protocol="own")
    result = reproduce(plan, tmp_path / "out")

    dice = result.table[result.table["score"] == "dice"].iloc[0]
    if fails:
        assert result.failed == {
            "isic2016/ULFFN__isic2016__seed0 on isic2017": "3 image(s) were used to train this run."
        }
        assert dice["state"] == "not measured"
        assert "3 image(s) were used" in result.report.read_text(encoding="utf-8")
    else:
        assert result.failed == {}
        assert dice["measured"] == 0.25


def test_costs_need_no_data(tmp_path):
    plan = plan_table("m2snet", "6", tmp_path, rows=["M2SNet"])
    table = reproduce(plan, tmp_path / "out").table.set_index("metric")
    assert table.loc["params_m", "measured"] == pytest.approx(27.69, abs=0.01)  # 27.7 in the paper
    assert table.loc["gmacs", "published"] == 9.0
    assert table.loc["gmacs", "measured"] == pytest.approx(9.0, abs=0.1)


def test_costs_in_a_table_of_scores_are_measured_though_the_data_is_missing(tmp_path):
    plan = plan_table("fcp-net", "XII", tmp_path, rows=["DeepLabv3+"])
    table = reproduce(plan, tmp_path / "out").table.set_index("metric")
    assert table.loc["params_m", "measured"] == pytest.approx(41, abs=0.5)
    assert table.loc["auc_ph2", "state"].tolist() == ["data is missing"] * 2
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "one reading only" in page


def test_a_reproduction_is_resumed_only_when_asked_and_only_its_own(tmp_path):
    out = tmp_path / "out"
    reproduce(plan_table("m2snet", "6", tmp_path, rows=["M2SNet"]), out)
    with pytest.raises(InputError, match="already repeats this table; go on with --resume"):
        reproduce(plan_table("m2snet", "6", tmp_path, rows=["M2SNet"]), out)
    with pytest.raises(InputError, match="repeats table 6 of m2snet; choose another --out"):
        reproduce(plan_table("chnet", "5", tmp_path), out, resume=True)
    reproduce(plan_table("m2snet", "6", tmp_path, rows=["M2SNet"]), out, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="holds no reproduction"):
        reproduce(plan_table("chnet", "5", tmp_path), tmp_path / "mine", resume=True)


@pytest.mark.parametrize(
    ("paper", "table", "options", "message"),
    [
        ("chnett", "2", {}, "Unknown paper 'chnett'. Did you mean 'chnet'"),
        ("chnet", "9", {}, "Unknown table of chnet '9'"),
        ("chnet", "2", {"rows": ["UNett"]}, "Unknown row of table 2 of chnet 'UNett'. Did you mean 'U"),
        ("m2snet", "1", {"rows": ["U-N"]}, "Unknown row of table 1 of m2snet 'U-N'."),
        ("chnet", "2", {"overrides": ["training.epochs"]}, "--set needs the form section.key=value"),
        ("chnet", "2", {"overrides": ["training.epoch=1"]}, "training.epoch"),
    ],
)
def test_wrong_names_are_one_sentence(tmp_path, paper, table, options, message):
    plain_folder(tmp_path, "busi", some_ids("a"))
    with pytest.raises(InputError, match=message):
        plan_table(paper, table, tmp_path, protocol="own", **options)


def test_means_over_parts_need_all_of_them():
    assert mean_of([Measured(0.5, n=3), Measured(1.0, n=4)]) == Measured(0.75, n=7, runs=2)
    assert mean_of([Measured(0.5), None]) is None


def test_costs_load_no_weights(monkeypatch):
    from delineate.recipe_io import load_recipe

    recipe = load_recipe("chnet.polyp.paper")
    assert recipe.model.pretrained is True  # loading would ask for the network
    found = costs(recipe, (256, 256), latency=False)
    assert found["params_m"].mean == pytest.approx(8.82, abs=0.01)
    assert "inference_ms" not in found


def test_figures_that_no_score_answers_say_so(tmp_path):
    plan = plan_table("chnet", "6", tmp_path)
    table = beside(plan, tmp_path / "out")
    lost = table[table["metric"] == "second column (header lost)"]
    assert set(lost["score"]) == {""}
    assert lost["reason"].str.contains("header is lost").all()
    assert dataclasses.asdict(plan.entries[0])["state"] == "data"


@pytest.mark.slow
def test_a_row_is_trained_and_stands_beside_the_paper(tmp_path):
    """The whole way with the real study engine, on a few tiny pictures."""
    plain_folder(tmp_path / "data", "busi", some_ids("case"))
    small = ["data.size=[32,32]", "training.epochs=1", "training.batch_size=2", "data.workers=0",
             "model.pretrained=false", "model.encoder=test_resnet", "evaluation.saliency=false",
             "evaluation.surface=false"]  # fmt: skip
    plan = plan_table("chnet", "2", tmp_path / "data", rows=["CHNet (ours)"], protocol="own", overrides=small)
    result = reproduce(plan, tmp_path / "out")
    assert result.failed == {}
    assert result.table["measured"].notna().all()
    assert 0 <= result.table["measured"].min() <= result.table["measured"].max() <= 1
