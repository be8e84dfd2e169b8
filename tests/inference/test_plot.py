"""Pictures of a prediction: the panels that belong to it, and a summary that cannot break a page."""

import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from delineate.inference.plot import NOTICE
from delineate.inference.predictor import ImagePrediction, Predictor


@pytest.fixture(scope="module")
def predictor(trained_run):
    return Predictor.load(trained_run[0], device="cpu")


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]


def test_every_part_of_a_prediction_has_its_panel(predictor, trained_run, toys):
    file = sorted((trained_run[1] / "images").iterdir())[0]
    figure = predictor(file).plot()
    assert titles(figure) == ["outline", "probability", "activation map", "label"]
    uncertain = Predictor(predictor.members * 2, uncertainty=True)(file)
    expected = [
        "outline",
        "probability",
        f"entropy, look {uncertain.uncertainty.look:.2f}",
        "standard deviation",
    ]
    assert titles(uncertain.plot(explain=False)) == [*expected, "label"]
    assert titles(Predictor(toys.Toy(toys.info(labels=())))(toys.picture()).plot()) == [
        "outline",
        "probability",
    ]
    classifier = Predictor(toys.Toy(toys.info(classes=())))(toys.picture())
    assert titles(classifier.plot()) == ["image", "label"]
    several = Predictor(toys.Toy(toys.info(classes=("rim", "cup")), lambda x: 9 * x))(toys.picture())
    shown = several.plot().axes[1].images[0].get_array()
    np.testing.assert_allclose(shown, 1 - several.probability[0])


def test_a_figure_is_a_picture_in_a_notebook_without_pyplot(predictor, toys):
    loaded = "matplotlib.pyplot" in sys.modules
    figure = predictor(toys.picture()).plot(explain=False)
    shown = Image.open(io.BytesIO(figure._repr_png_()))
    assert shown.width > 2 * shown.height
    assert ("matplotlib.pyplot" in sys.modules) == loaded
    assert np.asarray(shown.convert("L")).std() > 10


def test_large_images_are_drawn_small(toys):
    found = Predictor(toys.Toy(toys.info(labels=())))(toys.picture(2000, 1500))
    drawn = [axis.images[0].get_array().shape[:2] for axis in found.plot().axes[:2]]
    assert max(max(shape) for shape in drawn) <= 900


def test_the_summary_shows_outline_labels_and_lesions(predictor, toys):
    toy = toys.Toy(toys.info(labels=("good", "<script>alert(1)</script>")))
    image = np.zeros((40, 40, 3), np.uint8)
    image[5:15, 5:25] = 255
    page = Predictor(toy)(image)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert NOTICE in page
    assert "<td>lesion 1</td>" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page), "nothing is fetched from elsewhere"
    data = re.search(r"data:image/png;base64,([^\"]+)", page)[1]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert drawn.shape == (40, 40, 3)
    assert (drawn == (0, 158, 115)).all(2).any()
    assert "empty mask" in Predictor(toys.constant(0.1))(image)._repr_html_()


def test_a_prediction_without_its_image_is_text():
    page = ImagePrediction(None, None, {"<b>": 1.0})._repr_html_()
    assert page.startswith("<pre>ImagePrediction(")
    assert "<b>" not in page
