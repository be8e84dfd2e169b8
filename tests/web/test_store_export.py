"""Corrections become a data set that trains."""

import base64
import csv
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image
from store_tools import correction, drawn, encoded, picture
from web_service import Bright, model_info, serving

from delineate.checks import InputError
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.readers import index
from delineate.inference.predictor import Predictor
from delineate.web.store import CorrectionStore
from delineate.web.store.correction import read_index_mask
from delineate.web.store.export import export_corrections, mask_change
from delineate.web.store.router import corrections_router


@pytest.fixture
def store(tmp_path):
    with CorrectionStore(str(tmp_path / "corrections.db")) as made:
        yield made


def plain_folder(root, numbers, splits):
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number in numbers:
        (root / "images" / f"old{number}.png").write_bytes(picture(number))
        (root / "masks" / f"old{number}.png").write_bytes(drawn(7))
    rows = "".join(f"old{n},{s}\n" for n, s in zip(numbers, splits, strict=True))
    (root / "split.csv").write_text("image_id,split\n" + rows)
    (root / "labels.csv").write_text("image_id,label\n" + "".join(f"old{n},good\n" for n in numbers))
    return index(root, "folder")


def test_alone(store, tmp_path):
    store.add(correction(1))
    store.add(correction(2, filename="other.v2.jpeg", label=None))
    done = export_corrections(store, tmp_path / "out")
    assert (done.cases, done.added, done.replaced) == (2, 2, 0)
    cases = {case.id: case for case in index(tmp_path / "out", "folder")}
    assert sorted(cases) == ["image_1", "other_v2"]
    assert (cases["image_1"].label, cases["other_v2"].label) == ("bad", None)
    np.testing.assert_array_equal(read_case_mask(cases["image_1"]), read_index_mask(drawn(1), 1))
    rows = list(csv.DictReader((tmp_path / "out" / "corrections.csv").open()))
    assert [(row["image_id"], row["author"], row["model"]) for row in rows] == [
        ("image_1", "A. Reader", "bright"),
        ("other_v2", "A. Reader", "bright"),
    ]


def test_with_the_data_set_it_came_from(store, tmp_path):
    base = plain_folder(tmp_path / "old", [1, 2, 3], ["train", "test", "train"])
    for number in (1, 2, 5):
        store.add(correction(number))
    store.add(correction(1, mask=drawn(4), label="good"))  # a better one of the same image
    done = export_corrections(store, tmp_path / "out", base=base)
    assert vars(done) == {"cases": 4, "added": 1, "replaced": 1, "kept_out": 1, "superseded": 1}
    cases = {case.id: case for case in index(tmp_path / "out", "folder")}
    assert {name: case.split for name, case in cases.items()} == {
        "old1": "train", "old2": "test", "old3": "train", "image_5": "train"
    }  # fmt: skip
    masks = {name: read_case_mask(case) for name, case in cases.items()}
    np.testing.assert_array_equal(masks["old1"], read_index_mask(drawn(4), 1))
    np.testing.assert_array_equal(masks["old2"], read_index_mask(drawn(7), 1))  # the test reference stays
    np.testing.assert_array_equal(masks["image_5"], read_index_mask(drawn(5), 1))
    assert (cases["old1"].label, cases["image_5"].label) == ("good", "bad")


def test_a_new_image_has_the_contrast_that_the_model_saw(store, tmp_path):
    values = np.random.default_rng(0).integers(0, 3000, (24, 24)).astype(np.uint16)
    content, window = encoded(values), (1000.0, 1400.0)
    predictor = Predictor(Bright(model_info(window=window, size=(24, 24))))
    text = base64.b64encode(content).decode()
    mask = base64.b64encode(drawn(1)).decode()
    body = {"filename": "scan.png", "image": text, "model": "bright", "identity": "x", "mask_png": mask}
    with serving(predictor, routers=[corrections_router(store)]) as client:
        assert client.post("/api/v1/corrections", json=body | {"author": "A. Reader"}).status_code == 201
    assert store.get(1).correction.window == window
    export_corrections(store, tmp_path / "out")
    (case,) = index(tmp_path / "out", "folder")
    (tmp_path / "scan.png").write_bytes(content)
    seen = predictor.open(tmp_path / "scan.png").pixels
    np.testing.assert_array_equal(read_case_image(case), seen)
    expected = ((values.astype(float) - 1000) / 400 * 255).clip(0, 255).mean()
    assert read_case_image(case).mean() == pytest.approx(expected, abs=0.5)


def test_the_correction_that_was_stored_last_counts(store, tmp_path):
    for mask in (drawn(1), drawn(4), drawn(1)):
        store.add(correction(1, mask=mask))
    done = export_corrections(store, tmp_path / "out")
    assert (done.cases, done.superseded) == (1, 2)
    (case,) = index(tmp_path / "out", "folder")
    np.testing.assert_array_equal(read_case_mask(case), read_index_mask(drawn(1), 1))


def test_two_images_of_one_name(store, tmp_path):
    store.add(correction(1, filename="a.png"))
    store.add(correction(2, filename="a.png"))
    export_corrections(store, tmp_path / "out")
    names = sorted(case.id for case in index(tmp_path / "out", "folder"))
    assert names[0] == "a"
    assert names[1].startswith("a_")


def test_choosing(store, tmp_path):
    store.add(correction(1))
    store.add(correction(2, author="B. Reader", model="other"))
    assert export_corrections(store, tmp_path / "a", author="B. Reader").cases == 1
    assert export_corrections(store, tmp_path / "b", model="bright").cases == 1
    future = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(InputError, match="holds no such correction; correct an image first"):
        export_corrections(store, tmp_path / "c", since=future)
    assert not (tmp_path / "c").exists()


def test_classes_that_do_not_fit(store, tmp_path):
    mask = np.full((24, 24), 2, np.uint8)
    Image.fromarray(mask).save(tmp_path / "two.png")
    two = (tmp_path / "two.png").read_bytes()
    store.add(correction(1, classes=("disc", "cup"), mask=two, predicted_mask=None))
    base = plain_folder(tmp_path / "old", [3], ["train"])
    with pytest.raises(InputError, match="export them without the data set"):
        export_corrections(store, tmp_path / "out", base=base)
    assert export_corrections(store, tmp_path / "out").cases == 1
    store.add(correction(2))
    with pytest.raises(InputError, match="choose one model with --model"):
        export_corrections(store, tmp_path / "again")


def test_only_test_images_were_corrected(store, tmp_path):
    base = plain_folder(tmp_path / "old", [1, 2], ["test", "train"])
    store.add(correction(1))
    with pytest.raises(InputError, match="All corrections are of validation or test images"):
        export_corrections(store, tmp_path / "out", base=base)


def test_how_much_was_changed(store):
    key, _ = store.add(correction(0, mask=drawn(0), predicted_mask=drawn(4)))
    a, b = read_index_mask(drawn(0), 1), read_index_mask(drawn(4), 1)
    assert mask_change(store.get(key)) == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    key, _ = store.add(correction(0, mask=None))
    assert mask_change(store.get(key)) is None
