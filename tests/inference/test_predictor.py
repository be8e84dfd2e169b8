"""Predictions at the image's own size, and models that load whole or not at all."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from delineate.checks import InputError
from delineate.inference.backends import choose_device
from delineate.inference.predict import draw_outline, find_images
from delineate.inference.predictor import Predictor, decide, native_probability


@pytest.fixture(scope="module")
def predictor(trained_run):
    return Predictor.load(trained_run[0], device="cpu")


@pytest.mark.parametrize("size", [(40, 48), (7, 131), (1, 1), (200, 96)])
def test_everything_has_the_images_own_size(predictor, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = predictor(image)
    assert found.mask.shape == size
    assert found.mask.dtype == np.uint8
    assert set(np.unique(found.mask)) <= {0, 1}
    assert found.probability.shape == size
    np.testing.assert_array_equal(found.mask, found.probability > 0.5)
    assert list(found.label) == ["good", "bad"]
    assert sum(found.label.values()) == pytest.approx(1)


def test_batches_files_and_arrays_agree(predictor, trained_run):
    files = sorted((trained_run[1] / "images").iterdir())[:5]
    batched = list(predictor.predict(files, batch_size=3))
    for file, found in zip(files, batched, strict=True):
        alone = predictor(np.array(Image.open(file)))
        np.testing.assert_allclose(found.probability, alone.probability, atol=1e-5)
        assert found.label == pytest.approx(alone.label, abs=1e-5)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_array_of_another_kind_is_refused(predictor, wrong):
    with pytest.raises(InputError, match="must be uint8 RGB"):
        predictor(wrong)


def test_native_probability_by_hand():
    logits = torch.tensor([[[[-2.0, 2.0]]]])
    np.testing.assert_allclose(
        native_probability(logits, (1, 4))[0],
        torch.tensor([-2.0, -1.0, 1.0, 2.0]).sigmoid().numpy(),
        rtol=1e-6,
    )
    several = native_probability(torch.randn(1, 3, 4, 4), (9, 5))
    assert several.shape == (3, 9, 5)
    np.testing.assert_allclose(several.sum(0), 1, rtol=1e-5)
    np.testing.assert_array_equal(decide(several, 0.5), several.argmax(0))


def test_changed_weights_are_refused(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run[0], run)
    weights = run / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(InputError, match="is not the file that model.json names"):
        Predictor.load(run)
    weights.unlink()
    with pytest.raises(InputError, match=r"model.safetensors is missing; .* is not a finished run"):
        Predictor.load(run)


def test_a_damaged_description_is_refused(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run[0], run)
    info = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(info | {"surprise": 1}))
    with pytest.raises(InputError, match="damaged or of another version"):
        Predictor.load(run)


def test_an_unknown_device_is_one_sentence():
    with pytest.raises(InputError, match="The device 'gpu' cannot be used"):
        choose_device("gpu")


def test_find_images_refuses_what_would_overwrite(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "x.png")
    with pytest.raises(InputError, match="would both be written as 'x'"):
        find_images([tmp_path / "a", tmp_path / "b"])
    assert list(find_images([tmp_path / "a"])) == ["x"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        find_images([tmp_path / "empty"])
    with pytest.raises(InputError, match="does not exist"):
        find_images([tmp_path / "nowhere"])


def test_outline_by_hand():
    image = np.zeros((5, 5, 3), np.uint8)
    mask = np.zeros((5, 5), np.uint8)
    mask[1:4, 1:4] = 1
    drawn = draw_outline(image, mask).any(2)
    ring = mask.astype(bool)
    ring[2, 2] = False
    np.testing.assert_array_equal(drawn, ring)
    assert not image.any(), "the image itself stays as it is"
