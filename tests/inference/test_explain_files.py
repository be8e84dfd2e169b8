"""Maps of files on disk, and the table beside them."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.inference.explain_files import Question, _at_network_size, explain_files, mean_figures
from delineate.inference.predictor import Predictor
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction


class Bright(nn.Module):
    """Bright pixels are lesion; the label asks for the mean brightness."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.layer.weight)

    def activation_layers(self):
        return (self.layer,)

    def forward(self, image):
        x = self.layer(image)
        grey = x.mean(1, keepdim=True)
        return Prediction(mask=20 * (grey - 0.5), label=20 * (grey.mean((2, 3)) - 0.2))


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    info = ModelInfo(
        model="unet",
        encoder=None,
        options={},
        classes=("lesion",),
        labels=("good", "bad"),
        size=(32, 32),
        normalisation="unit",
        threshold=0.5,
        recipe="toy",
        recipe_sha256="",
        weights_sha256="0" * 64,
        delineate="0",
    )
    return Predictor(Bright(), info, device="cpu")


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


def test_a_region_that_is_none_is_reported(predictor, cases, tmp_path):
    report = explain_files(
        predictor, {"a": cases["a"]}, tmp_path / "out", question=Question("mask", None, "0,0")
    )
    assert "must be 'largest' or ROW,COLUMN of a pixel that was found" in next(iter(report.failed.values()))
    assert not (tmp_path / "out" / "explanations.csv").exists()


def test_small_regions_survive_shrinking():
    region = np.zeros((400, 300), np.uint8)
    region[123, 45] = 1
    small = _at_network_size(region, (32, 32))
    assert small.sum() == 1
    assert small[123 * 32 // 400, 45 * 32 // 300]
    grown = _at_network_size(np.eye(4, dtype=np.uint8), (8, 8))
    np.testing.assert_array_equal(grown, np.kron(np.eye(4), np.ones((2, 2))) > 0)


def test_means():
    table = pd.DataFrame(
        {"method": ["a", "a", "b"], "score": [0.5, 0.7, 0.9], "deletion": 0.2, "gain": [0.1, 0.3, 0.4]}
    )
    one, two = mean_figures(table)
    assert one["score"] == pytest.approx(0.6)
    assert one["gain_low"] == pytest.approx(0.1)
    assert one["gain_high"] == pytest.approx(0.3)
    assert (two["images"], two["gain_low"]) == (1, None)
