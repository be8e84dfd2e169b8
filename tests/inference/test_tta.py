"""Views of an image: turned back exactly, all of them shown, and refused where they do not fit."""

import numpy as np
import pytest
import torch

from delineate.checks import InputError
from delineate.inference.backends import TorchBackend
from delineate.inference.predictor import Predictor
from delineate.inference.tta import VIEWS, View, forward_view, scaled_size
from delineate.models import create_model

EXACT = ["mirror", "flips", "d4"]


@pytest.mark.parametrize("name", VIEWS)
def test_undo_brings_every_view_back(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    shown = [view.apply(images) for view in VIEWS[name]]
    for view, seen in zip(VIEWS[name], shown, strict=True):
        back = view.undo(torch.from_numpy(np.moveaxis(seen, 3, 1)))
        np.testing.assert_array_equal(np.moveaxis(back.numpy(), 1, 3), images)
    if name in EXACT:
        assert len({seen.tobytes() for seen in shown}) == len(VIEWS[name]), "two views are the same"


def test_a_view_by_hand():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 1] = 9
    assert View(transpose=True).apply(image)[0, ..., 0].tolist() == [[0, 0], [9, 0]]
    assert View(transpose=True, down=True).apply(image)[0, ..., 0].tolist() == [[9, 0], [0, 0]]
    assert View(across=True).apply(image)[0, ..., 0].tolist() == [[9, 0], [0, 0]]


@pytest.mark.parametrize("classes", [("lesion",), ("rim", "cup")])
@pytest.mark.parametrize("tta", EXACT)
def test_a_network_that_treats_all_views_alike_gives_the_same_bits(toys, tta, classes):
    def channels(x):
        return 6 * (x[..., : 1 if len(classes) == 1 else 3] - 0.4)

    toy = toys.Toy(toys.info(classes=classes), channels)
    for seed, size in enumerate([(16, 16), (23, 31), (40, 9)]):
        image = toys.picture(*size, seed)
        plain, averaged = Predictor(toy)(image), Predictor(toy, tta=tta, uncertainty=True)(image)
        np.testing.assert_array_equal(averaged.probability, plain.probability)
        np.testing.assert_array_equal(averaged.mask, plain.mask)
        assert averaged.label == plain.label
        assert averaged.uncertainty.variance.max() == 0
        assert set(averaged.uncertainty.label_variance.values()) == {0}


def test_the_average_is_over_views_turned_back(toys):
    """A network that only sees the left half: each half of the flipped average is half of what it says."""

    def left(x):
        logits = np.full((*x.shape[:3], 1), -30, np.float32)
        logits[:, :, :8] = 30
        return logits

    found = Predictor(toys.Toy(toys.info(labels=()), left), tta="mirror", uncertainty=True)(
        toys.picture(16, 16)
    )
    np.testing.assert_allclose(found.probability, 0.5, atol=1e-6)
    np.testing.assert_allclose(found.uncertainty.variance, 0.25, atol=1e-6)


def test_every_view_is_shown_once(toys):
    toy = toys.Toy(toys.info())
    Predictor(toy, tta="d4")(toys.picture(16, 16))
    assert len({seen.tobytes() for seen in toy.sees}) == len(toy.sees) == 8


def test_views_that_do_not_fit_are_refused(toys):
    oblong = toys.Toy(toys.info(size=(16, 24)))
    with pytest.raises(InputError, match="'d4' turns images by 90 degrees, .* takes 16x24; choose 'flips'"):
        Predictor(oblong, tta="d4")
    assert Predictor(oblong, tta="flips")(toys.picture()).mask.shape == (23, 31)
    with pytest.raises(InputError, match="'scales' shows the network other sizes, which toy does not take"):
        Predictor(oblong, tta="scales")
    with pytest.raises(InputError, match="Unknown test-time augmentation 'flip'. Did you mean 'flips'"):
        Predictor(oblong, tta="flip")


def test_scales_show_the_network_other_sizes(toys):
    torch.manual_seed(0)
    model = create_model("unet", classes=1, labels=0, options={"widths": [4, 4, 4, 4, 4]})
    backend = TorchBackend(model, toys.info(labels=(), size=(96, 128)), "cpu")
    multiple = model.size_multiple
    assert scaled_size(backend, 1) == (96, 128)
    for view in VIEWS["scales"]:
        height, width = scaled_size(backend, view.scale)
        assert height % multiple == width % multiple == 0
        assert abs(height - 96 * view.scale) <= multiple / 2
        assert forward_view(backend, view, [toys.picture()]).mask.shape == (1, 1, height, width)
    images = [toys.picture(50, 70, seed) for seed in range(2)]
    found = list(Predictor(backend, tta="scales").predict(images))
    parts = [Predictor(backend).members[0].info.size, *[scaled_size(backend, s) for s in (0.75, 1.25)]]
    resized = []
    for size in parts:
        other = Predictor(TorchBackend(model, toys.info(labels=(), size=size), "cpu"))
        resized.append(other(images[1]).probability)
    np.testing.assert_allclose(found[1].probability, np.mean(resized, 0), atol=1e-5)
