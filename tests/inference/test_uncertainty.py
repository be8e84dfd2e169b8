"""Entropy, variance and the score to sort by, against numbers worked out by hand and other forms."""

import warnings
import weakref
from itertools import combinations

import numpy as np
import pytest

from delineate.inference import predictor as module
from delineate.inference.predictor import Predictor
from delineate.inference.uncertainty import Running, disagreement, entropy, mask_doubt

RNG = np.random.default_rng(0)


def test_entropy_by_hand():
    binary = entropy(np.array([[0, 1, 0.5, 0.25]], np.float32))
    np.testing.assert_allclose(binary, [[0, 0, 1, 0.811278]], atol=1e-6)
    several = entropy(np.array([[[1, 1 / 3]], [[0, 1 / 3]], [[0, 1 / 3]]], np.float32))
    np.testing.assert_allclose(several, [[0, 1]], atol=1e-6)
    assert several.dtype == binary.dtype == np.float32


@pytest.mark.parametrize("classes", [1, 3])
def test_running_mean_and_variance_are_those_of_numpy(toys, classes):
    names = tuple("abc"[:classes])
    passes = RNG.dirichlet(np.ones(classes + 1), (7, 5, 6)).astype(np.float32)
    passes = np.moveaxis(passes, 3, 1)  # (7, C, 5, 6)
    if classes == 1:
        passes = passes[:, 1]
    labels = RNG.dirichlet([1, 1], 7).astype(np.float32)
    running = Running(toys.info(classes=names), 7, uncertainty=True)
    for mask, label in zip(passes.copy(), labels.copy(), strict=True):
        running.add(mask, label)
    found = running.uncertainty(running.mask())
    variance = passes.var(0)
    np.testing.assert_allclose(running.probability, passes.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.variance, variance if classes == 1 else variance.max(0), atol=1e-6)
    assert list(found.label_variance.values()) == pytest.approx(labels.var(0), abs=1e-6)
    mean = labels.mean(0)
    assert found.label_entropy == pytest.approx(-(mean * np.log2(mean)).sum(), abs=1e-6)
    assert found.variance.max() <= 0.25
    assert 0 <= found.look <= 1


def test_memory_does_not_grow_with_the_number_of_passes(toys):
    running = Running(toys.info(labels=()), 50, uncertainty=True)
    sizes = []
    for _ in range(50):
        running.add(RNG.random((64, 64), dtype=np.float32), None)
        sizes.append(sum(v.nbytes for v in vars(running).values() if isinstance(v, np.ndarray)))
    assert sizes[-1] == sizes[1]


def test_what_was_added_up_for_an_image_is_let_go_with_its_prediction(toys, monkeypatch):
    held = weakref.WeakSet()

    class Watched(Running):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            held.add(self)

    monkeypatch.setattr(module, "Running", Watched)
    predictor = Predictor([toys.constant(0.3), toys.constant(0.6)], uncertainty=True)
    images = [toys.picture(seed=seed) for seed in range(4)]
    assert [len(held) for _ in predictor.predict(images, batch_size=4)] == [3, 2, 1, 0]


def test_doubt_is_one_minus_the_dice_with_the_own_probability():
    probability = np.array([[0.9, 0.6], [0.2, 0.1]], np.float32)
    mask = (probability > 0.5).astype(np.uint8)
    assert mask_doubt(probability, mask, slack=0) == pytest.approx(1 - 2 * 1.5 / (1.8 + 2))
    several = np.stack([1 - probability, probability / 2, probability / 2])
    alone = np.stack([1 - probability, probability, np.zeros_like(probability)])
    assert mask_doubt(alone, mask, slack=0) == pytest.approx(mask_doubt(probability, mask, slack=0))
    assert mask_doubt(several, mask, slack=0) > mask_doubt(alone, mask, slack=0)


def test_an_empty_mask_is_suspicious_only_where_pixels_are_unsure():
    empty = np.zeros((100, 100), np.uint8)
    certain = np.full((100, 100), 1e-5, np.float32)
    unsure = certain.copy()
    unsure[40:60, 40:60] = 0.45
    assert mask_doubt(certain, empty) < 0.02
    assert mask_doubt(unsure, empty) > 0.9
    sure = np.where(unsure > 0.4, 0.999, certain).astype(np.float32)
    assert mask_doubt(sure, (sure > 0.5).astype(np.uint8)) < 0.01


@pytest.mark.parametrize("classes", [1, 2])
def test_disagreement_is_the_dice_of_all_pairs(classes):
    masks = RNG.integers(0, classes + 1, (5, 12, 9))
    votes = np.stack([(masks == c + 1).sum(0) for c in range(classes)]).astype(np.uint16)
    slack = 0.01
    both = agreed = room = 0.0
    for one, two in combinations(masks, 2):
        both += sum((one == c + 1).sum() + (two == c + 1).sum() for c in range(classes))
        agreed += 2 * sum(((one == c + 1) & (two == c + 1)).sum() for c in range(classes))
        room += slack * one.size
    assert disagreement(votes, 5, slack) == pytest.approx((both - agreed) / (both + room))


def test_disagreement_at_its_ends():
    assert disagreement(np.zeros((1, 8, 8), np.uint16), 3) == 0
    assert disagreement(np.full((1, 8, 8), 3, np.uint16), 3) == 0
    halves = np.ones((1, 8, 8), np.uint16)  # two passes that share nothing
    assert disagreement(halves, 2, slack=0) == 1


def test_look_of_one_model_and_of_several(toys):
    image = toys.picture(16, 16)
    sure, unsure = toys.constant(0.999, labels=()), toys.constant(0.6, labels=())
    looks = [Predictor(toy, uncertainty=True)(image).uncertainty for toy in (sure, unsure)]
    assert looks[0].look == pytest.approx(0.0005, abs=2e-4)
    assert looks[1].look == pytest.approx(0.25, abs=0.01)  # 0.4 wrong of 1.6
    assert looks[0].variance is None
    assert looks[0].label_entropy is None
    apart = Predictor([toys.constant(0.9, labels=()), toys.constant(0.2, labels=())], uncertainty=True)
    assert apart(image).uncertainty.look > 0.5
    classifier = Predictor(toys.constant(0.8, classes=()), uncertainty=True)(image).uncertainty
    assert classifier.entropy is None
    assert classifier.look == pytest.approx(0.2, abs=1e-6)


def test_label_votes_count(toys):
    """The mean chooses "bad" at 0.6, but of three members one says so."""
    members = [toys.constant(p, classes=()) for p in (0.98, 0.45, 0.4)]
    found = Predictor(members, uncertainty=True)(toys.picture(16, 16))
    assert found.chosen_label == "bad"
    assert found.uncertainty.look == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("probability", [1e-7, 0.5, 1 - 1e-7])
@pytest.mark.parametrize("tta", ["none", "flips"])
def test_every_number_is_finite_and_bounded(toys, probability, tta):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Predictor(toys.constant(probability), tta=tta, uncertainty=True)(
            toys.picture(1, 1)
        ).uncertainty
    assert 0 <= found.look <= 1
    assert 0 <= found.label_entropy <= 1
    assert ((found.entropy >= 0) & (found.entropy <= 1)).all()


def test_uncertainty_only_when_asked(toys):
    image = toys.picture()
    toy = toys.Toy(toys.info())
    assert Predictor(toy)(image).uncertainty is None
    assert Predictor(toy)(image, uncertainty=True).uncertainty is not None
    assert Predictor(toy, uncertainty=True)(image, uncertainty=False).uncertainty is None
