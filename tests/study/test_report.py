"""The report of a run: whole, self-contained, escaped, for every kind of task."""

import json
from html.parser import HTMLParser

import pytest

from delineate.checks import InputError
from delineate.data.images import read_case_mask
from delineate.metrics.histograms import Histograms, image_histograms
from delineate.study.page import duration, moment, number
from delineate.study.report import Subject, write_report, write_scores_report

VOID = {"meta", "link", "br", "img", "input", "hr"}
SECTIONS = ["scores", "overlays", "activations", "labels", "distributions", "learning", "record", "recipe"]


class Page(HTMLParser):
    """Collects what the tests ask for, and checks that elements are nested rightly."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.tags, self.links, self.data, self.open, self.misnested = [], [], [], [], [], []
        self.ids = []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.data).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.sections.append(attributes["id"])
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [
            attributes[key] for key in ("href", "src", "xlink:href", "srcset") if key in attributes
        ]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.misnested.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.data.append(data)


def report(run):
    path = write_report(run.path, split="test", predictor=run.predictor, cases=run.cases)
    assert path == run.path / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.misnested
    assert not page.open
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith(("#", "data:image/")), link[:80]
    assert {link for link in page.links if link.startswith("#")} <= {f"#{name}" for name in page.ids}
    for outside in ("http://", "https://", "url(h", "@import", "<script", "<link", "<iframe"):
        assert outside not in text, outside
    assert "nan" not in page.text.lower().replace("resnet", "").split()
    assert "For research, not for diagnosis." in page.text
    return page, text


def test_mask_and_label(make_run):
    run = make_run(count=14)
    page, text = report(run)
    assert page.sections == SECTIONS
    assert text.startswith("<!doctype html>")
    assert len(text) < 4_000_000
    # Twelve in the three tiers, of which one has an empty reference, and one more of the medium size.
    assert text.count('class="reference"') == 12 - 1 + 1
    for words in (
        "demo",
        "Data set discs , split test , 14 cases",
        "Dice (F1): 2 tp / (2 tp + fp + fn).",
        "Images whose reference has no object pixel 1 of 14",
        "Cases without a label 1 of 14",
        "Best by dice",
        "Median by dice",
        "Worst by dice",
        "Wrongly classified, the most certain first",
        "selected: 6",
        "AUC",
        "malignant is predicted above the probability 0.5.",
        "0 errors, 2 warnings, 1 info",
        "3 min 20 s, resumed 1 time",
        "8 trained, epoch 6 selected",
        "f" * 64,
        "a" * 64,
        "nesterov: false",
    ):
        assert words in page.text, words
    mean = json.loads((run.path / "summary.json").read_text())["test"]["dice"]["mean"]
    assert f"{mean:.3f}" in page.text
    figures = sorted(path.name for path in (run.path / "figures").iterdir())
    assert figures == [
        "test-dice-by-size-class.svg",
        "test-dice-by-size.svg",
        "test-distance.svg",
        "test-label-probability.svg",
        "test-label-reliability.svg",
        "test-loss.svg",
        "test-overlap.svg",
        "test-rate.svg",
        "test-roc.svg",
        "test-validation.svg",
    ]


def test_masks_only(make_run):
    page, _ = report(make_run(labels=()))
    assert page.sections == [name for name in SECTIONS if name != "labels"]
    assert "mask: lesion" in page.text
    assert "Wrongly classified" not in page.text


def test_labels_only(make_run):
    page, text = report(make_run(classes=()))
    assert page.sections == [name for name in SECTIONS if name not in ("overlays", "distributions")]
    assert "Best by probability of the true label" in page.text
    assert 'class="reference"' not in text


def test_several_classes_and_labels(make_run):
    page, _ = report(make_run(classes=("inner", "outer"), labels=("a", "b", "c")))
    assert page.sections == SECTIONS
    for words in (
        "Scores of each class",
        "dice[outer]",
        "The outlines of all classes: inner, outer.",
        "ROC curves, each label against the rest.",
        "The most probable label is predicted.",
    ):
        assert words in page.text, words


@pytest.mark.parametrize("options", [{}, {"classes": ()}, {"labels": ()}, {"empty": "skip"}])
def test_one_case_only(make_run, options):
    page, _ = report(make_run(count=1, **options))
    assert "split test , 1 case;" in page.text
    assert "–" in page.text  # no interval from one case


def test_undefined_scores(make_run):
    undefined = {"mean": None, "low": None, "high": None, "n": 0}
    page, _ = report(
        make_run(count=3, empty_reference=3, empty="skip", summary={"dice": undefined, "auc": undefined})
    )
    assert "none is defined on this split" in page.text


def test_everything_is_escaped(make_run):
    evil = '<script>alert("x")</script>&\'$y_1$'
    run = make_run(count=3, ids=[evil, "NA", "007"], labels=("a<b>", "</style><script>"), classes=("<i>",))
    page, text = report(run)
    assert "&lt;script&gt;alert(" in text
    assert "script" not in page.tags
    assert "i" not in page.tags
    for name in (evil, "NA", "007"):
        assert name in page.text


def test_the_calibration_of_pixels_needs_the_histograms(make_run):
    run = make_run(count=4)
    assert "calibration" not in report(run)[0].sections
    kept = Histograms(("lesion",))
    for case in run.cases:
        reference = read_case_mask(case)
        kept.add(case.id, image_histograms(reference, run.predictor(case).probability, classes=("lesion",)))
    kept.save(run.path / "histograms" / "test.npz")
    page, _ = report(run)
    assert "calibration" in page.sections
    assert "Calibration of the pixels of all images together." in page.text
    assert (run.path / "figures" / "test-pixel-reliability.svg").is_file()
    (run.path / "histograms" / "test.npz").write_bytes(b"")
    with pytest.raises(InputError, match="test.npz is damaged"):
        report(run)


@pytest.mark.parametrize(
    ("labels", "axis"),
    [(("benign", "malignant"), "share of malignant"), (("a", "b", "c"), "share predicted rightly")],
)
def test_the_calibration_of_labels(make_run, labels, axis):
    page, _ = report(make_run(count=14, labels=labels))
    assert axis in page.text


def test_low_scores_by_size(make_run):
    page, _ = report(make_run(count=40))
    assert "Other low scores of small references, " in page.text
    assert "Dice of small, medium and large references" in page.text


def test_scores_without_a_model(make_run):
    run = make_run(count=14, labels=())
    facts = {"read as": "masks"}
    subject = Subject("their <masks>", "Predictions of somebody.", "discs", ("lesion",), facts=facts)
    for name in ("recipe.yaml", "record.json", "history.csv"):
        (run.path / name).unlink()
    for predict, outlined in ((run.predictor, True), (None, False)):
        path = write_scores_report(run.path, split="test", subject=subject, cases=run.cases, predict=predict)
        page = Page(path.read_text(encoding="utf-8"))
        assert not page.misnested
        expected = ["scores", "overlays", "distributions", "record"]
        assert page.sections == [name for name in expected if outlined or name != "overlays"]
        for words in ("their <masks>", "read as masks", "For research, not for diagnosis."):
            assert words in page.text


def test_without_history(make_run):
    page, _ = report(make_run(history=False))
    assert "learning" not in page.sections


def test_a_model_without_a_layer_to_explain(make_run):
    run = make_run()
    run.predictor.model = run.predictor.model.features
    page, _ = report(run)
    assert "activations" not in page.sections


def test_the_same_run_gives_the_same_report(make_run):
    run = make_run(count=4)
    assert report(run)[1] == report(run)[1]


def test_a_failure_leaves_the_old_report(make_run):
    run = make_run(count=3)
    (run.path / "report.html").write_text("old")
    run.cases[1].image.write_bytes(b"")
    with pytest.raises(InputError, match="1.png is an empty file"):
        write_report(run.path, split="test", predictor=run.predictor, cases=run.cases)
    assert (run.path / "report.html").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.csv", None, "scores.csv is missing or damaged; run `delineate evaluate` again."),
        ("scores.csv", "a,b\n1,2\n", "scores.csv lacks the column split or image_id"),
        ("scores.csv", "split,image_id\nval,x\n", "scores.csv holds no case of the split 'test'"),
        ("summary.json", "{}", "summary.json is damaged or lacks the split 'test'"),
        ("summary.json", "{", "summary.json is damaged or lacks the split 'test'"),
        ("summary.json", '{"test": {"dice": 1}}', "summary.json is damaged or lacks the split 'test'"),
        ("history.csv", "", "history.csv is damaged; delete it to write a report without learning curves."),
        ("record.json", None, "record.json is missing"),
    ],
)
def test_damaged_runs(make_run, name, content, message):
    run = make_run(count=3)
    path = run.path / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        write_report(run.path, split="test", predictor=run.predictor, cases=run.cases)
    assert not (run.path / "report.html").exists()


def test_formats():
    assert [
        number(0.12345),
        number(12.34, "px"),
        number(3.0, "cases"),
        number(None),
        number(float("nan")),
    ] == [
        "0.123",
        "12.3",
        "3",
        "–",
        "–",
    ]
    assert [duration(4.04), duration(200), duration(7260)] == ["4.0 s", "3 min 20 s", "2 h 1 min"]
    assert moment("2026-01-31T10:00:00+00:00") == "2026-01-31 10:00:00 UTC"
