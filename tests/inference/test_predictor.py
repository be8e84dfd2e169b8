"""Predictions at the image's own size, and models that load whole or not at all."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.explain.activation import activation_map
from delineate.inference.backends import choose_device
from delineate.inference.predict import draw_outline, find_images
from delineate.inference.predictor import ImagePrediction, Predictor, _stem, decide, native_probability


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


def test_a_result_reads_its_image_again(predictor, trained_run):
    file = sorted((trained_run[1] / "images").iterdir())[0]
    found = predictor(file)
    pixels = np.array(Image.open(file))
    np.testing.assert_array_equal(found.image, pixels)
    array = predictor(pixels)
    assert array.image is pixels
    assert found.spacing is array.spacing is None
    assert predictor(Case(id="x", image=file, spacing=(0.5, 0.25))).spacing == (0.5, 0.25)
    assert found.chosen_label == predictor.choose_label(found.label)


def test_a_result_measures_in_the_spacing_of_its_case(toys, tmp_path):
    image = np.zeros((32, 32, 3), np.uint8)
    image[4:12, 4:20] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    predictor = Predictor(toys.Toy(toys.info(size=(32, 32), labels=())))
    found = predictor(Case(id="x", image=tmp_path / "x.png", spacing=(0.5, 0.25)))
    (lesion,) = found.measure()
    assert lesion.values["area_px"] == 8 * 16
    assert lesion.values["area_mm2"] == pytest.approx(8 * 16 * 0.125)
    assert found.measure(spacing=(1, 1))[0].values["area_mm2"] == pytest.approx(128)
    assert predictor(image).measure()[0].values["area_mm2"] is None
    with pytest.raises(InputError, match="only classifies, so there is no mask"):
        Predictor(toys.Toy(toys.info(classes=())))(image).measure()


def test_a_result_explains_itself(predictor, toys):
    image = toys.picture(40, 48)
    found = predictor(image)
    expected = activation_map(predictor.model, predictor.prepare(image), method="clnet", size=(40, 48))
    np.testing.assert_array_equal(found.explain(), expected)
    of_mask = found.explain("gradcam", "mask")
    assert of_mask.shape == (40, 48)
    assert not np.array_equal(of_mask, expected)
    with pytest.raises(InputError, match="Unknown explanation 'gradcam2'. Did you mean"):
        found.explain("gradcam2")


def test_a_result_writes_itself(predictor, trained_run, tmp_path):
    file = sorted((trained_run[1] / "images").iterdir())[0]
    found = predictor(file)
    found.save(tmp_path / "out")
    names = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert names == [f"masks/{file.stem}.png", f"overlays/{file.stem}.png"]
    written = np.array(Image.open(tmp_path / "out" / names[0]))
    np.testing.assert_array_equal(written, found.mask * 255)
    predictor(found.image).save(tmp_path / "array", id="seen", writers=["probabilities"])
    assert (tmp_path / "array" / "probabilities" / "seen.png").is_file()
    with pytest.raises(InputError, match="Unknown writer 'mask'. Did you mean 'masks'"):
        found.save(tmp_path / "none", writers=["mask"])
    with pytest.raises(InputError, match=r"The id '\.\./x' must be a plain file name"):
        found.save(tmp_path / "none", id="../x")
    assert not (tmp_path / "none").exists()


def test_a_result_travels_without_its_network(predictor, toys):
    image = toys.picture()
    found = predictor(image)
    content = pickle.dumps(found)
    assert len(content) < 3 * (found.mask.nbytes + found.probability.nbytes + image.nbytes) + 5000
    arrived = pickle.loads(content)
    np.testing.assert_array_equal(arrived.image, image)
    np.testing.assert_array_equal(arrived.probability, found.probability)
    assert arrived.origin.identity == predictor.identity
    with pytest.raises(InputError, match="came from another process without its network"):
        arrived.explain()


def test_a_result_holds_nothing_of_its_batch(predictor, toys):
    """Each array owns just its own memory, or views a tensor that is no larger."""
    for found in predictor.predict([toys.picture(40, 48, seed) for seed in range(4)]):
        for array in (found.mask, found.probability):
            shared = array.base
            assert shared is None or torch.from_numpy(array).untyped_storage().nbytes() == array.nbytes


def test_a_result_made_by_hand_has_no_image():
    made = ImagePrediction(np.zeros((2, 2), np.uint8), None, None)
    for ask in (lambda: made.image, lambda: made.spacing, made.measure, made.explain, made.plot):
        with pytest.raises(InputError, match="does not know its image; take one that a Predictor made"):
            ask()


@pytest.mark.parametrize(
    ("name", "case"), [("a.b.png", "a.b"), ("scan.JPEG", "scan"), ("scan.nii.gz", "scan")]
)
def test_the_id_of_a_file_is_its_name_without_the_ending(name, case):
    assert _stem(Path(name)) == case
