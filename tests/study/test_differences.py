import csv

import numpy as np
import pytest
import torch
from PIL import Image

from delineate.checks import InputError
from delineate.inference.predictor import Predictor
from delineate.models.checkpoint import ModelInfo
from delineate.models.msnet import build_msnet
from delineate.study.analyses.differences import differences, write_differences


def predictor(order=4):
    torch.manual_seed(0)
    model = build_msnet(classes=1, labels=0, encoder="test_resnet", pretrained=False, width=8, order=order)
    info = ModelInfo(
        model="msnet",
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
    return Predictor(model, info, device="cpu")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / f"images/{i}.png")
    mask = np.zeros((70, 90), np.uint8)
    mask[20:40, 30:60] = 255
    Image.fromarray(mask).save(tmp_path / "masks/0.png")
    return tmp_path


def load(monkeypatch, made):
    monkeypatch.setattr(Predictor, "load", classmethod(lambda cls, run, device="auto": made))


def test_differences_are_the_channel_means_of_the_triangle(folder):
    p = predictor(order=2)
    image = np.asarray(Image.open(folder / "images/0.png"))
    found, mask = differences(p, image)
    assert [(d.order, d.level) for d in found] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)]
    with torch.inference_mode():
        rows = p.model.triangle(p.model.encode(p.prepare(image)))
        expected = torch.nn.functional.interpolate(
            rows[2][1].mean(1, keepdim=True), (70, 90), mode="bilinear"
        )
    np.testing.assert_allclose(found[5].values, expected[0, 0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mask, p(image).mask)


def test_table_and_pictures(folder, monkeypatch):
    made = predictor()
    load(monkeypatch, made)
    out = folder / "out"
    table = write_differences(folder, [folder / "images"], out, masks=folder / "masks", device="cpu")
    assert sorted(f.name for f in out.iterdir()) == ["0.png", "1.png", "differences.csv"]
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "order", "level", "inside", "outside"]
    assert len(rows) == 2 * 10
    found, mask = differences(made, np.asarray(Image.open(folder / "images/1.png")))
    last = found[-1].values
    for column, region in (("inside", mask > 0), ("outside", mask == 0)):
        expected = f"{last[region].mean(dtype=np.float64):.6g}" if region.any() else ""
        assert rows[-1][column] == expected
    # The reference has a panel of its own, the second of the first row; without one its place stays white.
    blank = []
    for name in ("0.png", "1.png"):
        picture = np.asarray(Image.open(out / name).convert("L"))
        blank.append(
            (picture[picture.shape[0] // 10, picture.shape[1] // 4 : picture.shape[1] // 2] > 250).mean()
        )
    assert blank[0] < 0.5
    assert blank[1] > 0.9


def test_a_network_without_differences_is_refused(folder, monkeypatch):
    load(monkeypatch, predictor(order=0))
    with pytest.raises(
        InputError, match="A run of msnet has no feature differences; give one of msnet or m2s"
    ):
        write_differences(folder, [folder / "images"], folder / "out")


def test_mask_of_another_size_is_refused(folder, monkeypatch):
    load(monkeypatch, predictor())
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "masks/0.png")
    with pytest.raises(InputError, match="is 5 x 5 pixels, its image 90 x 70; give masks at the size"):
        write_differences(folder, [folder / "images"], folder / "out", masks=folder / "masks")
