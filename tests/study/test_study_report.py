"""The report of a study: a synthetic study of discs, its page, tables and figures."""

import csv
import json
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from scipy.special import expit

from delineate.checks import InputError
from delineate.data.readers import index
from delineate.files import write_json
from delineate.inference.predictor import ImagePrediction
from delineate.metrics import as_json, score_image, summarise
from delineate.metrics.histograms import Histograms, image_histograms
from delineate.models.checkpoint import build_model, save_model
from delineate.recipe_io import dump_recipe
from delineate.record import EvaluationRecord, RunRecord, describe_environment, write_record
from delineate.study.gather import gather
from delineate.study.plan import parse_study, plan_runs
from delineate.study.study_costs import system_costs
from delineate.study.study_pictures import OpenRun, choose_cases, galleries
from delineate.study.study_report import write_study_report
from delineate.study.study_results import StudyResults
from delineate.study.study_state import RunState, StudyRecord, open_study, write_study_record

TINY = {
    "model.name": "clnet",
    "model.encoder": "test_resnet",
    "model.options": {"widths": [8, 8, 16, 16, 16]},
    "data.size": [32, 32],
    "evaluation.saliency": False,
    "task.labels": {"good": ["good"], "bad": ["bad"]},
}
QUALITY = {"careful": 0.06, "twin": 0.06, "hasty": 0.35}
"""System -> error of its outlines, as a share of the radius."""


def write_discs(root, count, size=(48, 64), seed=0):
    """Write a plain folder: dark discs of very different sizes on a bright, uneven ground; one is empty."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        radius = size[0] * np.geomspace(0.06, 0.4, count)[number]
        centre = (np.array(size) / 2 + generator.uniform(-0.08, 0.08, 2) * size).astype(int)
        mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
        ground = ndimage.gaussian_filter(generator.normal(0, 60, size), size[0] / 20)
        image = np.stack([205 + ground, 160 + ground, 140 + ground], axis=-1)
        image -= ndimage.gaussian_filter(mask.astype(float), 1.5)[..., None] * [60, 70, 60]
        image += generator.normal(0, 3, image.shape)
        name = f"case{number:02d}"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{name}.png")
        mask = mask & (number > 0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{name}.png")
    for table, column, values in (
        ("labels.csv", "label", [("good", "bad")[i % 2] for i in range(count)]),
        ("split.csv", "split", ["test"] * count),
        ("groups.csv", "group", [f"patient{i // 2}" for i in range(count)]),
    ):
        with (root / table).open("w", newline="") as file:
            csv.writer(file).writerows(
                [("image_id", column), *((f"case{i:02d}", v) for i, v in enumerate(values))]
            )
    return root


def predicted(case, system, seed):
    """Probability map of a system: the reference's disc moved and resized, never by the same amount."""
    mask = np.asarray(Image.open(case.mask)) > 0
    generator = np.random.default_rng([seed, int(case.id[4:]), *system.encode()])
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    error = QUALITY[system.split("_")[0]] * max(np.sqrt(mask.sum() / np.pi), 1.0)
    distance = np.roll(distance, np.rint(generator.normal(0, error, 2)).astype(int), (0, 1))
    return expit(distance + generator.normal(0, error)).astype(np.float32)


@dataclass
class Synthetic:
    root: Path
    study: object
    runs: tuple

    def opener(self, run):
        planned = next(one for one in self.runs if one.key == run.name)
        cases = {case.id: case for case in index(Path(planned.data.root), "folder")}

        def predict(case):
            probability = predicted(case, planned.system, planned.seed)
            return ImagePrediction((probability > 0.5).astype(np.uint8), probability, None)

        return OpenRun(cases, predict)

    def report(self, **options):
        return write_study_report(self.root, opener=self.opener, **options)


def content(systems=("careful", "twin", "hasty"), data=("discs",), seeds=(0, 1, 2), **more):
    return {
        "name": "Discs <b>",
        "summary": "Which of the systems outlines discs best?",
        "systems": [{"name": name, "recipe": "demo"} for name in systems],
        "data": [{"name": name, "root": name} for name in data],
        "seeds": list(seeds),
        "set": TINY,
        "compare": {"scores": ["dice", "hd95", "auc"]},
    } | more


def build(folder, study, *, count=16, size=(48, 64), failed=(), histograms=False, write_model=False):
    """Write a study that was never trained."""
    study = parse_study(study, where="study", folder=folder)
    for number, entry in enumerate(study.data):
        write_discs(Path(entry.root), count, size, seed=number)
    runs = plan_runs(study)
    paths = open_study(study, runs, folder / "out", resume=False)
    for run in runs:
        if run.key not in failed:
            _write_run(paths.run(run.key).root, run, histograms, write_model)
    found = gather(study, paths, runs)
    reason = "Its process was ended by SIGKILL."
    states = {
        run.key: RunState(
            state="failed" if run.key in failed else "done",
            wall_seconds=None if run.key in failed else 75.0,
            reason=reason if run.key in failed else None,
        )
        for run in runs
    }
    write_json(paths.failures, dict.fromkeys(failed, reason))
    record = StudyRecord(
        name=study.name,
        started="2026-01-01T10:00:00+00:00",
        finished="2026-01-01T11:00:00+00:00",
        wall_seconds=3600.0,
        sessions=3,
        engine="local",
        workers=2,
        environment=describe_environment("see the records of the runs"),
        runs=states,
        warnings=found.warnings,
    )
    write_study_record(paths.record, record)
    return Synthetic(paths.root, study, runs)


def _write_run(root, run, histograms, write_model):
    cases = index(Path(run.data.root), "folder")
    names = tuple(run.recipe.task.classes)
    labels = tuple(run.recipe.task.labels)
    rows, kept = [], Histograms(names)
    generator = np.random.default_rng([run.seed, *run.system.encode()])
    for case in cases:
        row = {"split": "test", "image_id": case.id, "group": case.group}
        if labels:
            bad = np.clip(generator.normal(0.65 if case.label == "bad" else 0.35, 0.2), 0.01, 0.99)
            row |= {"label": labels.index(case.label)}
            row |= {f"label_probability[{labels[0]}]": 1 - bad, f"label_probability[{labels[1]}]": bad}
        if names:
            reference = (np.asarray(Image.open(case.mask)) > 0).astype(np.uint8)
            probability = predicted(case, run.system, run.seed)
            row |= score_image(reference, probability, classes=names, saliency=False)
            kept.add(case.id, image_histograms(reference, probability, classes=names))
        rows.append(row)
    root.mkdir(parents=True)
    table = pd.DataFrame(rows)
    table.to_csv(root / "scores.csv", index=False)
    write_json(root / "summary.json", {"test": as_json(summarise(table, resamples=20))})
    if histograms and names:
        kept.save(root / "histograms" / "test.npz")
    (root / "recipe.yaml").write_text(dump_recipe(run.recipe), encoding="utf-8")
    if write_model:
        save_model(root, build_model(run.recipe), run.recipe)
    environment = describe_environment("cpu")
    evaluation = EvaluationRecord(
        finished="2026-01-01T10:04:00+00:00",
        wall_seconds=12.5,
        data_fingerprint="f" * 64,
        cases=len(cases),
        weights_sha256="a" * 64,
        environment=environment,
    )
    record = RunRecord(
        recipe=run.recipe.name,
        recipe_sha256=run.recipe.sha256(),
        data_root=run.data.root,
        dataset="folder",
        data_fingerprint="f" * 64,
        cases={"train": 70, "val": 15, "test": len(cases)},
        seed=run.seed,
        started="2026-01-01T10:00:00+00:00",
        finished="2026-01-01T10:03:20+00:00",
        wall_seconds=62.5,
        epochs=8,
        selected_epoch=6,
        resumed=0,
        gate={"error": 0, "warning": 0, "info": 0},
        gate_overridden=False,
        environment=environment,
        evaluations={"test": evaluation},
    )
    write_record(root / "record.json", record)


class Page(HTMLParser):
    """Collects the text, the ids and the addresses, and checks that elements are nested rightly."""

    def __init__(self, text):
        super().__init__()
        self.data, self.open, self.faults, self.ids, self.links, self.sections = [], [], [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.data).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag != "meta":
            self.open.append(tag)
        if tag == "section":
            self.sections.append(attributes["id"])
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[key] for key in ("href", "src", "xlink:href") if key in attributes]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.data.append(data)


def read(path):
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.faults
    assert not page.open
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith(("#", "data:image/")), link[:80]
    assert {link for link in page.links if link.startswith("#")} <= {f"#{name}" for name in page.ids}
    for outside in ("http://", "https://", "@import", "<script", "<link", "<iframe", "Discs <b>"):
        assert outside not in text, outside
    assert "nan" not in page.text.lower().split()
    return page, text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three systems, one of them bad and one run of it failed; published values, models and histograms."""
    folder = tmp_path_factory.mktemp("study")
    row = {"system": "careful", "data": "discs", "paper": "ulffn", "table": "2"}
    study = content(published=[row | {"dataset": "isic2016", "method": "FCN"}])
    made = build(folder, study, count=24, failed=("hasty__discs__seed2",), histograms=True, write_model=True)
    page, text = read(made.report())
    return made, page, text


def test_the_page_says_who_is_best_and_who_ties(whole):
    made, page, text = whole
    means = pd.read_csv(made.root / "results.csv").query("score == 'dice'").set_index("system")["mean"]
    best, tie = sorted(("careful", "twin"), key=lambda name: -means[name])
    assert f"{best} has the best mean dice: {means[best]:.3f}" in page.text
    assert f"a tie with {tie}; better than hasty." in page.text
    assert f"<b>{means[best]:.3f}</b>" in text
    assert f'<u title="a tie with the best">{means[tie]:.3f}</u>' in text


def test_every_part_of_the_report_is_there(whole):
    _, page, _ = whole
    assert page.sections == ["overview", "data-1", "published", "runs", "record"]
    for words in (
        "Discs <b>",
        "8 of 9 runs done, 1 failed",
        "hasty__discs__seed2 failed. Its process was ended by SIGKILL.",
        "Trained fewer than 3 times: hasty",
        "24 cases of 12 groups, which are resampled whole",
        "Empty references: 1; empty predictions by repetition: careful 1 / 1 / 1",
        "p-values are corrected over all pairs, scores and data sets together; level 0.05.",
        "Stability of the ranks by dice on discs",
        "Friedman's test: p < 0.001",
        "By size of the reference",
        "Lowest mean over all systems",
        "Calibration of the labels over all repetitions",
        "Calibration of the pixels in the first repetition",
        "multiply-adds",
        "ulffn table 2: FCN, isic2016",
        "runs/careful__discs__seed0",
        "1 h 0 min in 3 sessions",
        "For research, not for diagnosis.",
    ):
        assert words in page.text, words


def test_charts_and_tables_are_files_too(whole):
    made, _, _ = whole
    figures = {path.name for path in (made.root / "figures").iterdir()}
    for name in ("dice-intervals", "dice-distribution", "dice-ranks", "dice-careful-twin", "hd95-ranks"):
        assert f"discs-{name}.svg" in figures
    for name in ("label-reliability", "pixel-reliability", "dice-sizes", "cost-macs", "cost-weights"):
        assert f"discs-{name}.svg" in figures
    names = ("overview", "published", "discs-scores", "discs-all", "discs-comparisons", "discs-ranks")
    for name in (*names, "discs-sizes", "discs-costs"):
        for ending in ("csv", "md", "tex"):
            assert (made.root / "tables" / f"{name}.{ending}").is_file()


def test_the_tables_hold_the_numbers_of_the_results(whole):
    made, _, _ = whole
    results = pd.read_csv(made.root / "results.csv").set_index(["score", "system"])
    table = pd.read_csv(made.root / "tables" / "discs-scores.csv").set_index("system")
    for score in ("dice", "hd95", "auc"):
        for end, column in (("mean", score), ("low", f"{score}_low"), ("sd", f"{score}_sd")):
            for system in QUALITY:
                assert table.loc[system, column] == pytest.approx(results.loc[(score, system), end])
    assert table.loc["hasty", "dice_mark"] != "tie"
    differences = pd.read_csv(made.root / "tables" / "discs-comparisons.csv")
    found = differences.set_index(["score", "first, second"])["difference"]
    means = results["mean"]
    assert found["dice", "careful, hasty"] == pytest.approx(
        means["dice", "careful"] - means["dice", "hasty"], abs=1e-6
    )
    ranks = pd.read_csv(made.root / "tables" / "discs-ranks.csv").set_index("system")
    assert ranks.loc["hasty", "rank 3"] == 1
    np.testing.assert_allclose(ranks.sum(axis=0), 1)


def test_costs_are_counted_once_and_kept(whole):
    made, _, _ = whole
    costs = pd.read_csv(made.root / "efficiency.csv")
    model = build_model(made.runs[0].recipe)
    model.remove_training_branches()
    assert costs["parameters"].tolist() == [sum(w.numel() for w in model.parameters())] * 3
    assert costs["milliseconds"].isna().all()
    kept = (made.root / "efficiency.csv").read_text()
    study = StudyResults(made.root)
    (made.root / "efficiency.csv").write_text(kept.replace(str(costs["macs"][0]), "12345"))
    assert {cost.macs for cost in system_costs(study)} == {12345}  # read, not measured
    (made.root / "efficiency.csv").write_text("another file")
    system_costs(study)
    assert (made.root / "efficiency.csv").read_text() == kept
    timed = system_costs(study, latency=True)
    assert all(cost.milliseconds > 0 and cost.device for cost in timed)
    (made.root / "efficiency.csv").write_text(kept)


def test_each_picture_is_embedded_once_and_every_system_is_outlined(whole):
    _, _, text = whole
    shown = re.findall(r"<figcaption><code>(case\d+)</code>", text)
    assert len(shown) == len(set(shown)) >= 4
    assert text.count("data:image/jpeg") == len(shown)
    assert text.count('<use href="#discs-picture-') == 3 * len(shown)
    assert text.count('class="prediction"') == 3 * len(shown)


def test_with_a_real_model_the_pictures_are_its_own(whole):
    made, _, _ = whole
    found = galleries(StudyResults(made.root), "discs", "dice", ())
    assert [gallery.title for gallery in found][0] == "Lowest mean over all systems"
    (*_, last) = found[0].lineups
    assert [panel.note.split()[0] for panel in last.panels] == ["image", *QUALITY]
    assert 'class="reference"' in last.panels[1].picture


def test_without_the_data_the_numbers_stand(tmp_path):
    made = build(tmp_path, content(systems=("careful", "hasty"), seeds=(0,)), count=8)
    (tmp_path / "discs").rename(tmp_path / "gone")
    page, _ = read(write_study_report(made.root))
    assert "Pictures are left out: " in page.text
    assert "careful has the best mean dice" in page.text
    assert "hd95 (px or mm)" in page.text  # nobody can look at the spacing


def test_one_system_alone(tmp_path):
    made = build(tmp_path, content(systems=("careful",), seeds=(0,)), count=8)
    page, text = read(made.report())
    assert "Stability of the ranks" not in page.text
    assert "Differences on" not in page.text
    assert "<u title" not in text
    assert "1 system, 1 data set, 1 seed: 1 of 1 runs done" in page.text


def test_labels_only(tmp_path):
    more = {"task.classes": [], "loss.mask": [], "training.monitor": "loss", "model.name": "clnet"}
    made = build(
        tmp_path,
        content(systems=("careful", "hasty"), compare={"scores": ["auc"]}) | {"set": TINY | more},
        count=12,
    )
    page, text = read(made.report())
    assert "has the best mean auc" in page.text
    assert "Hard cases" not in page.text
    assert "Calibration of the labels" in page.text
    assert "data:image/jpeg" not in text


def test_compared_with_a_baseline_only(tmp_path):
    compare = {"scores": ["dice"], "baseline": "hasty"}
    made = build(tmp_path, content(compare=compare, seeds=(0,)), count=16)
    page, text = read(made.report(pictures=False))
    assert "not compared with" in page.text
    assert "better than hasty" in page.text
    assert "<u title" not in text


def test_the_same_study_gives_the_same_report(whole):
    made, _, text = whole
    assert made.report().read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.csv", "a,b\n", "results.csv lacks the column 'system'; run `delineate study` again"),
        ("results.csv", None, "results.csv is missing or damaged; run `delineate study` again"),
        ("comparisons.csv", "", "comparisons.csv is missing or damaged"),
        ("plan.json", "[{}]", "plan.json is missing or damaged"),
        ("record.json", None, "record.json is missing"),
        ("scores.csv", "system,data,fold,seed,image_id\n", "No run of the study in .* is done"),
    ],
)
def test_damaged_studies(tmp_path, name, text, message):
    made = build(tmp_path, content(systems=("careful",), seeds=(0,)), count=4)
    if text is None:
        (made.root / name).unlink()
    else:
        (made.root / name).write_text(text)
    with pytest.raises(InputError, match=message):
        made.report()
    assert not (made.root / "report.html").exists()


def test_folds_of_a_seed_are_one_repetition(tmp_path):
    made = build(tmp_path, content(systems=("careful", "hasty"), seeds=(0, 1)), count=8)
    scores = pd.read_csv(made.root / "scores.csv")
    half = scores["image_id"].isin([f"case{i:02d}" for i in range(4)])
    scores["fold"] = np.where(half, 0, 1)
    scores.to_csv(made.root / "scores.csv", index=False)
    plan = json.loads((made.root / "plan.json").read_text())
    plan = [row | {"fold": fold, "key": f"{row['key']}-{fold}"} for row in plan for fold in (0, 1)]
    write_json(made.root / "plan.json", plan)
    study = StudyResults(made.root)
    assert [len(table) for table in study.tables("discs")["careful"]] == [8, 8]
    kept = scores[~((scores["seed"] == 1) & (scores["fold"] == 1) & (scores["system"] == "hasty"))]
    kept.to_csv(made.root / "scores.csv", index=False)
    study = StudyResults(made.root)
    assert len(study.tables("discs")["hasty"]) == 1  # the second lacks a fold
    assert study.per_case("discs", "dice").shape == (8, 2)


def test_the_cases_that_are_chosen():
    @dataclass
    class Class:
        name: str
        ids: tuple
        range: str = "1 to 2 %"

    cases = pd.DataFrame(
        {"a": [0.1, 0.2, 0.3, 0.4, 0.9, 0.8, 1.0, 1.0], "b": [0.1, 0.2, 0.3, 0.4, 0.1, 0.8, 1.0, np.nan]},
        index=[f"c{i}" for i in range(8)],
    )
    classes = (Class("small", ("c0", "c3")), Class("large", ("c4", "c5", "c6", "c7")))
    assert choose_cases(cases, classes) == {
        "Lowest mean over all systems": ["c0", "c1", "c2"],
        "Largest difference between systems, mean over repetitions": ["c4"],
        # c3 lies on the median, c5 and c6 above it, c7 has no score of b
    }
    classes = (replace(classes[0], ids=("c1", "c3")), classes[1])
    cases.loc["c8"] = 1.0  # the median is now between c3 and c4
    assert list(choose_cases(cases, classes)) == [
        "Lowest mean over all systems",
        "Largest difference between systems, mean over repetitions",
        "Other low scores of small references, 1 to 2 % of the image",
    ]
