import csv

import numpy as np
import pytest
import torch
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.inference.predictor import Predictor
from delineate.models.checkpoint import ModelInfo
from delineate.models.fcpnet import build_fcpnet
from delineate.study.analyses import attention_stability
from delineate.study.analyses.attention_stability import (
    gates,
    mean_deviation,
    measure_stability,
    write_attention_stability,
)

BUILD = {"classes": 1, "labels": 0, "encoder": "test_resnet", "pretrained": False, "width": 8}


def info(model="fcp-net"):
    return ModelInfo(
        model=model,
        encoder="test_resnet",
        options={},
        classes=("lesion",),
        labels=(),
        size=(64, 64),
        normalisation="unit",
        threshold=0.5,
        recipe="test",
        recipe_sha256="",
        weights_sha256="",
        delineate="0",
    )


def predictor(seed=0, **options):
    torch.manual_seed(seed)
    return Predictor(build_fcpnet(**BUILD, **options), info(), device="cpu")


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (100, 80, 3), dtype=np.uint8)).save(path)
    return [Case(id=path.stem, image=path) for path in paths]


def runs_in_memory(monkeypatch, models):
    """Stand in for run folders: their name decides which model is loaded."""
    monkeypatch.setattr(
        attention_stability.Predictor, "load", classmethod(lambda cls, run, device="auto": models[run.name])
    )


def test_mean_deviation_by_hand():
    weights = torch.tensor([[0.0, 0.5], [1.0, 0.5]])
    assert mean_deviation(weights) == 0.25  # deviations 0.5 and 0


def test_gates_are_the_factors_that_the_sme_blocks_apply():
    model = predictor().model
    efe = model.branches[2][0]
    seen = {}
    efe.attend.register_forward_hook(lambda m, inputs, output: seen.update(x=inputs[0], y=output))
    found = gates(model, [efe], torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(found[0][None, :, None, None] * seen["x"], seen["y"])
    assert len(efe.attend.gate._forward_hooks) == 0


def test_equal_scales_differ_by_nothing_and_others_by_something(images):
    rows = measure_stability(predictor(), images, (1.0, 1.0), "run")
    assert [row.rate for row in rows] == [1, 6, 12, 18]
    assert [row.msd for row in rows] == [0, 0, 0, 0]
    assert all(row.images == 2 and row.dropout == 0.1 for row in rows)
    assert all(0 < row.msd < 0.5 for row in measure_stability(predictor(), images, (1.0, 2.0), "run"))


def test_images_are_averaged(images):
    both, first, second = (
        measure_stability(predictor(), part, (1.0, 1.5), "run") for part in (images, images[:1], images[1:])
    )
    for mean, a, b in zip(both, first, second, strict=True):
        assert mean.msd == pytest.approx((a.msd + b.msd) / 2)


def test_two_runs_side_by_side(images, tmp_path, monkeypatch):
    models = {"with": predictor(), "without": predictor(1, efe_dropout=0.0)}
    runs_in_memory(monkeypatch, models)
    path = write_attention_stability([tmp_path / name for name in models], images, tmp_path / "out")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["rate"], row["dropout"]) for row in rows] == [
        (run, rate, dropout)
        for run, dropout in (("with", "0.1"), ("without", "0"))
        for rate in ("1", "6", "12", "18")
    ]
    expected = measure_stability(models["with"], images, (1.0, 1.5, 2.0), "with")[0].msd
    assert float(rows[0]["msd"]) == pytest.approx(expected, rel=1e-4)
    with Image.open(tmp_path / "out" / "attention_stability.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 400


@pytest.mark.parametrize(
    ("runs", "shown", "scales", "message"),
    [
        ([], ["a.png"], (1.0, 2.0), "needs at least one run folder and one image"),
        (["run"], [], (1.0, 2.0), "needs at least one run folder and one image"),
        (["run"], ["a.png"], (1.0,), r"needs at least two scales above 0, got \[1.0\]"),
        (["run"], ["a.png"], (0, 1.0), "needs at least two scales above 0"),
    ],
)
def test_refuses_too_little(runs, shown, scales, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_attention_stability(
            [tmp_path / r for r in runs], [tmp_path / s for s in shown], tmp_path, scales=scales
        )


def test_refuses_a_model_without_efe(images, tmp_path, monkeypatch):
    runs_in_memory(monkeypatch, {"plain": predictor(efe=False)})
    with pytest.raises(InputError, match="Run plain has no EFE branch to measure; give runs of"):
        write_attention_stability([tmp_path / "plain"], images, tmp_path)
    assert not (tmp_path / "attention_stability.csv").exists()
