"""Prediction of slices: NIfTI volumes, windows, and what a broken one does."""

import numpy as np
import pytest
from PIL import Image
from tiny_files import nifti

from delineate.inference.predict import find_images, predict_files
from delineate.inference.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(trained_run):
    return Predictor.load(trained_run[0], device="cpu")


def test_every_slice_is_predicted_and_a_broken_volume_reported(predictor, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    values = np.random.default_rng(0).uniform(-1000, 400, (40, 48, 3))
    nifti(values, folder / "scan.nii.gz")
    (folder / "broken.nii.gz").write_bytes(b"not a volume")
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(folder / "plain.png")
    assert sorted(find_images([folder])) == ["broken", "plain", "scan_s000", "scan_s001", "scan_s002"]
    report = predict_files(predictor, [folder], tmp_path / "out")
    assert sorted(report.written) == ["plain", "scan_s000", "scan_s001", "scan_s002"]
    assert list(report.failed) == [str(folder / "broken.nii.gz")]
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "scan_s001.png"))
    assert mask.shape == (48, 40)  # rows run from front to back, the second axis of the volume


def test_every_page_of_a_tiff_is_predicted(predictor, tmp_path):
    import nibabel

    folder = tmp_path / "pages"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 20, 3), dtype=np.uint8)
    first, *others = (Image.fromarray(page) for page in pixels)
    first.save(folder / "loop.tif", save_all=True, append_images=others)
    first.save(folder / "one.TIFF", format="TIFF")
    assert list(find_images([folder])) == ["loop_s000", "loop_s001", "loop_s002", "one"]
    report = predict_files(predictor, [folder], tmp_path / "out", writers=["masks", "nifti"])
    assert (report.written, report.failed) == (["loop_s000", "loop_s001", "loop_s002", "one"], {})
    volume = np.asarray(nibabel.load(tmp_path / "out" / "nifti" / "loop.nii.gz").dataobj)
    assert volume.shape == (20, 30, 3)
    for position, page in enumerate(pixels):
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"loop_s00{position}.png")) > 0
        np.testing.assert_array_equal(mask, volume[..., position].T > 0)
        assert (mask != (predictor(page).mask > 0)).mean() < 0.01  # it passed the network in another batch


@pytest.mark.parametrize(("window", "given"), [((-1250.0, 250.0), False), ((10.0, 200.0), True)])
def test_the_window_of_training_reaches_deep_files_and_fitting_8_bit_ones(predictor, tmp_path, window, given):
    from delineate.data.case import Case

    path = tmp_path / "grey.png"
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(path)
    deep = nifti(np.full((8, 8, 1), 90.0), tmp_path / "deep.nii")
    trained = Predictor(predictor.model, predictor.info.model_copy(update={"window": window}), "cpu")
    assert trained.with_window(Case("a", path)).window == (window if given else None)
    assert trained.with_window(Case("a", deep)).window == window
    assert trained.with_window(Case("a", deep, window=(0.0, 1.0))).window == (0.0, 1.0)
    assert predictor.with_window(Case("a", deep)).window is None
    low, high = window
    expected = round((90 - low) / (high - low) * 255)
    assert (trained.open(deep).pixels == expected).all()


def test_a_large_photograph_is_decoded_as_in_training(predictor, tmp_path):
    from delineate.data.cache import sized_image
    from delineate.data.case import Case

    coarse = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path)
    picture = predictor.open(path)
    assert picture.size == (480, 640)
    assert picture.pixels.shape[0] < 480
    from delineate.data.cache import resize_image

    np.testing.assert_array_equal(
        resize_image(picture.pixels, predictor.info.size), sized_image(Case("a", path), predictor.info.size)
    )
    assert predictor(path).mask.shape == (480, 640)
