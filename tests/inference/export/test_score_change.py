import numpy as np
import pytest
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.inference.export.make import ScoreData
from delineate.inference.export.score_change import LIMITS, measure
from delineate.inference.predictor import Predictor

SIZE = (16, 16)


def write_cases(folder):
    """Two pictures, bright in 8 of 16 rows and dark; the references are the bright rows and nothing."""
    image = np.zeros((*SIZE, 3), np.uint8)
    Image.fromarray(image).save(folder / "b.png")
    Image.fromarray(image[..., 0]).save(folder / "b_mask.png")
    image[:8] = 255
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(image[..., 0]).save(folder / "a_mask.png")
    return [Case(id=name, image=folder / f"{name}.png", mask=folder / f"{name}_mask.png") for name in "ba"]


def predictor(toys, rows):
    """Finds the first `rows` rows of what is bright."""

    def channels(x):
        found = 20 * (x.mean(3, keepdims=True) - 0.5)
        found[:, rows:] = -10
        return found

    return Predictor(toys.Toy(toys.info(labels=(), size=SIZE), channels))


def test_changes_are_per_case_and_in_the_order_of_ids(toys, tmp_path):
    data = ScoreData(write_cases(tmp_path), "folder/here", "test")
    found = measure(predictor(toys, 16), predictor(toys, 4), data)
    # Case a: 64 of 128 pixels are found, Dice 2 * 64 / (64 + 128); case b: nothing to find, nothing found.
    assert found.changes == pytest.approx((2 / 3 - 1, 0), abs=1e-6)
    assert (found.dice_before, found.dice_after) == pytest.approx((1, 5 / 6))
    assert found.mean_change == pytest.approx(-1 / 6)
    assert found.largest_change == pytest.approx(1 / 3, abs=1e-6)
    assert (found.cases, found.dataset, found.split) == (2, "folder/here", "test")


def test_a_loss_beyond_the_limit_is_refused_and_a_gain_is_not(toys, tmp_path):
    data = ScoreData(write_cases(tmp_path), "folder/here", "test")
    with pytest.raises(InputError, match=r"loses 0.1667 of the mean Dice on 2 cases, more than 0.005"):
        measure(predictor(toys, 16), predictor(toys, 4), data, LIMITS["int8"])
    assert measure(predictor(toys, 16), predictor(toys, 4), data, 0.17).mean_change < 0
    assert measure(predictor(toys, 4), predictor(toys, 16), data, LIMITS["int8"]).mean_change > 0


def test_labels_that_change_are_counted_and_limited(toys, tmp_path):
    data = ScoreData(write_cases(tmp_path), "folder/here", "test")

    def labelled(value):
        return Predictor(toys.Toy(toys.info(labels=("a", "b"), size=SIZE), label=value))

    assert measure(labelled(1.0), labelled(-1.0), data).labels_changed == 2
    assert measure(labelled(1.0), labelled(2.0), data, 0.0).labels_changed == 0
    assert measure(predictor(toys, 4), predictor(toys, 4), data).labels_changed is None
    with pytest.raises(InputError, match="gives 2 of 2 cases another label, more than 5%"):
        measure(labelled(1.0), labelled(-1.0), data, 1.0)


def test_cases_without_masks_and_models_without_classes_are_refused(toys, tmp_path):
    cases = write_cases(tmp_path)
    one = predictor(toys, 16)
    with pytest.raises(InputError, match="Case 'b' has no mask"):
        measure(one, one, ScoreData([Case(id="b", image=cases[0].image)], "d", "test"))
    with pytest.raises(InputError, match="no case to measure"):
        measure(one, one, ScoreData([], "d", "test"))
    labels = Predictor(toys.Toy(toys.info(classes=())))
    with pytest.raises(InputError, match="This model only classifies"):
        measure(labels, labels, ScoreData(cases, "d", "test"))
