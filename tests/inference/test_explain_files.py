"""Maps of files on disk, and the table beside them."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from delineate.checks import InputError
from delineate.cli import app
from delineate.data.case import Case
from delineate.explain.explanation import explanation_map
from delineate.inference.explain_files import Question, explain_files, mean_figures
from delineate.inference.predictor import Predictor
from delineate.inference.writers.pictures import COLOURS
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction


class Bright(nn.Module):
    """Bright pixels are lesion; the label asks whether the mean brightness is above `level`."""

    def __init__(self, level=0.2):
        super().__init__()
        self.level = level
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.layer.weight)

    def activation_layers(self):
        return (self.layer,)

    def forward(self, image):
        x = self.layer(image)
        grey = x.mean(1, keepdim=True)
        return Prediction(mask=20 * (grey - 0.5), label=20 * (grey.mean((2, 3)) - self.level))


class Eye(Bright):
    """Red pixels are the rim, green ones the cup."""

    def forward(self, image):
        x = self.layer(image)
        return Prediction(mask=20 * torch.cat([torch.full_like(x[:, :1], 0.5), x[:, :2]], 1))


def loaded(network, **changes):
    info = {
        "model": "unet",
        "encoder": None,
        "options": {},
        "classes": ("lesion",),
        "labels": ("good", "bad"),
        "size": (32, 32),
        "normalisation": "unit",
        "threshold": 0.5,
        "recipe": "toy",
        "recipe_sha256": "",
        "weights_sha256": "0" * 64,
        "delineate": "0",
    }
    return Predictor(network, ModelInfo(**info | changes), device="cpu")


@pytest.fixture
def predictor():
    return loaded(Bright())


@pytest.fixture
def cases(tmp_path):
    pixels = np.full((48, 64, 3), 20, np.uint8)
    pixels[6:18, 8:24] = 230
    pixels[30:36, 40:50] = 230
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return {name: Case(name, tmp_path / f"{name}.png") for name in ("a", "bad")}


def test_pictures_and_table(predictor, cases, tmp_path):
    report = explain_files(
        predictor,
        cases,
        tmp_path / "out",
        methods=["gradcam", "occlusion"],
        question=Question("label", "bad"),
        measure=True,
    )
    assert list(report.failed) == [str(cases["bad"].image)]
    assert list(report.table["method"]) == ["gradcam", "occlusion"]
    assert set(report.table["explained"]) == {"bad"}
    table = pd.read_csv(tmp_path / "out" / "explanations.csv")
    assert table["gain"].notna().all()
    for method in ("gradcam", "occlusion"):
        assert Image.open(tmp_path / "out" / f"a.{method}.png").size == (64, 48)
        values = np.asarray(Image.open(tmp_path / "out" / f"a.{method}.map.png"))
        assert values.shape == (48, 64)
        assert values.max() > 200  # 255, less what resizing takes


def test_one_region_of_a_mask(predictor, cases, tmp_path):
    cases = {"a": cases["a"]}

    def bright_at(place):
        question = Question("mask", "lesion", place)
        explain_files(predictor, cases, tmp_path / "out", methods=["occlusion"], question=question)
        return np.asarray(Image.open(tmp_path / "out" / "a.occlusion.map.png")) / 255

    large, small = bright_at("largest"), bright_at("32,45")
    assert large[8:16, 10:22].mean() > 5 * large[30:36, 40:50].mean()
    assert small[30:36, 40:50].mean() > 5 * small[8:16, 10:22].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["gradcan"]}, "Unknown explanation 'gradcan'"),
        ({"question": Question("label", "ugly")}, "Unknown label 'ugly'. Choose from: bad, good."),
        ({"question": Question("mask", "lesoin")}, "Unknown mask 'lesoin'. Did you mean 'lesion'?"),
    ],
)
def test_refused(predictor, cases, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        explain_files(predictor, cases, tmp_path / "out", **options)
    with pytest.raises(InputError, match="There is no image to explain"):
        explain_files(predictor, {}, tmp_path / "out")


def test_what_no_image_can_answer_is_refused_before_the_first(predictor, cases, tmp_path):
    cases = {"a": cases["a"]}
    only_masks, only_labels = loaded(Bright(), labels=()), loaded(Bright(), classes=())
    exported = Predictor(SimpleNamespace(name="onnx-fp32", info=predictor.info))
    for asked, question, message in (
        (predictor, Question(region="largest"), "use --target mask, or leave --region out"),
        (predictor, Question("mask", region="middle"), "all, largest, or ROW,COLUMN .* got 'middle'"),
        (only_masks, Question("label"), "no labels to explain; use --target mask"),
        (only_labels, Question("mask"), "no mask to explain; use --target label"),
        (exported, Question(), "but onnx-fp32 runs it; load the run itself"),
    ):
        with pytest.raises(InputError, match=message):
            explain_files(asked, cases, tmp_path / "out", question=question)


def test_the_threshold_decides_what_is_explained(tmp_path):
    """At p = 0.38 nothing is found by 0.5: the whole image and the label "good" would be explained."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[4:10, 4:10] = 121  # p = 0.38
    pixels[20:, 20:] = 60  # a more likely place for occlusion of the whole image
    Image.fromarray(pixels).save(tmp_path / "a.png")
    predictor = loaded(Bright(pixels.mean() / 255 + 0.0245), threshold=0.3)  # p of "bad" is 0.38 too
    found = predictor(pixels)
    assert (int(found.mask.sum()), found.chosen_label) == (36, "bad")

    def row(target):
        question = Question(target)
        return explain_files(
            predictor, {"a": Case("a", tmp_path / "a.png")}, tmp_path / "out", question=question
        ).table.iloc[0]

    assert row("label")["explained"] == "bad"
    assert row("label")["score"] == pytest.approx(0.38, abs=0.005)
    assert row("mask")["score"] == pytest.approx(0.38, abs=0.005)  # the mean over the 36 pixels alone

    batch, region = predictor.prepare(pixels), torch.from_numpy(found.mask > 0)
    expected = explanation_map(
        predictor.model, batch, method="occlusion", target="mask", index=1, region=region
    )
    whole = explanation_map(predictor.model, batch, method="occlusion", target="mask", index=1)
    assert not np.array_equal(expected, whole)
    np.testing.assert_array_equal(found.explain("occlusion", "mask"), expected)
    np.testing.assert_array_equal(predictor.explain(pixels, method="occlusion", target="mask"), expected)
    bad = explanation_map(predictor.model, batch, method="gradcam", index=1)
    np.testing.assert_array_equal(predictor.explain(pixels, method="gradcam"), bad)
    assert bad.any()


def test_a_named_class_is_explained_and_outlined_alone(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[2:20, 2:20, 0] = 255  # the rim is the larger one
    pixels[24:30, 24:30, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    predictor = loaded(Eye(), classes=("rim", "cup"), labels=())

    def explained(region, name="cup"):
        report = explain_files(
            predictor,
            {"a": Case("a", tmp_path / "a.png")},
            tmp_path / "out",
            methods=["occlusion"],
            question=Question("mask", name, region),
        )
        if report.failed:
            return next(iter(report.failed.values()))
        shown = np.asarray(Image.open(tmp_path / "out" / "a.occlusion.png"))
        rim, cup = ((shown == colour).all(2) for colour in COLOURS[:2])
        assert not rim.any()
        assert cup.sum() == 20  # the border of 6 x 6 pixels
        return report.table.iloc[0]["explained"]

    for region in ("all", "largest", "25,25"):
        assert explained(region) == "cup"
    assert explained("25,25", None) == "cup"
    assert "must be one of those found of what is explained" in explained("5,5")


def test_the_command_prints_figures_of_masks(predictor, cases, tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "load", lambda *_: predictor)
    files = [str(case.image) for case in cases.values()]
    arguments = [
        "explain",
        "run",
        *files,
        "--out",
        str(tmp_path / "out"),
        "--target",
        "mask",
        "--faithfulness",
    ]
    shown = CliRunner().invoke(app, [*arguments, "--json"])
    assert shown.exit_code == 1  # one file is damaged
    (means,) = json.loads(shown.stdout)["means"]
    (row,) = json.loads(shown.stdout)["explanations"]
    assert (row["target"], row["explained"], means["images"]) == ("mask", "lesion", 1)
    assert means["gain"] == row["gain"] > 0
    assert row["fill"] == "mean"  # a blurred lesion would be found all the same
    table = CliRunner().invoke(app, arguments).stdout
    assert "mean of 1 image(s)" in table
    assert f"{row['gain']:.4f}" in table


def test_a_region_that_is_none_is_reported(predictor, cases, tmp_path):
    report = explain_files(
        predictor, {"a": cases["a"]}, tmp_path / "out", question=Question("mask", None, "0,0")
    )
    assert "must be one of those found of what is explained" in next(iter(report.failed.values()))
    assert not (tmp_path / "out" / "explanations.csv").exists()


def test_means():
    table = pd.DataFrame(
        {"method": ["a", "a", "b"], "score": [0.5, 0.7, 0.9], "deletion": 0.2, "gain": [0.1, 0.3, 0.4]}
    )
    one, two = mean_figures(table)
    assert one["score"] == pytest.approx(0.6)
    assert one["gain_low"] == pytest.approx(0.1)
    assert one["gain_high"] == pytest.approx(0.3)
    assert (two["images"], two["gain_low"]) == (1, None)
