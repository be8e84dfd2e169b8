"""Deletion and insertion: hand-computed curves, and maps that must score well or badly."""

import numpy as np
import pytest
import torch
from torch import nn

from delineate.checks import InputError
from delineate.explain.faithfulness import faithfulness
from delineate.models.prediction import Prediction


class Sums(nn.Module):
    """P(label) = weighted mean of the first channel, through a logit; so curves can be computed by hand."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32))

    def forward(self, image):
        share = (image[:, 0] * self.weights).sum((1, 2)) / self.weights.sum()
        return Prediction(label=torch.logit(0.1 + 0.8 * share)[:, None])


def one(model, image, activation, **options):
    return faithfulness(model, image, {"map": activation}, **options)["map"]


WEIGHTS = np.array([[8, 4], [2, 2]])


def image_of(values):
    return torch.tensor(values, dtype=torch.float32).expand(1, 3, -1, -1).clone()


def test_curves_by_hand():
    # Hidden pixels show the mean, 0.5; the image is 1 in the left column and 0 in the right one.
    image = image_of([[1.0, 0.0], [1.0, 0.0]])
    order = np.array([[4.0, 3.0], [2.0, 1.0]], np.float32)
    found = one(Sums(WEIGHTS), image, order, fill="mean", steps=4, index=1)

    def p(a, b, c, d):
        return 0.1 + 0.8 * (8 * a + 4 * b + 2 * c + 2 * d) / 16

    deletion = [p(1, 0, 1, 0), p(0.5, 0, 1, 0), p(0.5, 0.5, 1, 0), p(0.5, 0.5, 0.5, 0), p(0.5, 0.5, 0.5, 0.5)]
    insertion = [
        p(0.5, 0.5, 0.5, 0.5),
        p(1, 0.5, 0.5, 0.5),
        p(1, 0, 0.5, 0.5),
        p(1, 0, 1, 0.5),
        p(1, 0, 1, 0),
    ]
    assert found.deletion_curve == pytest.approx(deletion, abs=1e-6)
    assert found.insertion_curve == pytest.approx(insertion, abs=1e-6)
    assert found.shares == (0, 0.25, 0.5, 0.75, 1)
    assert found.score == pytest.approx(p(1, 0, 1, 0), abs=1e-6)
    area = sum((a + b) / 8 for a, b in zip(deletion, deletion[1:], strict=False))
    assert found.deletion == pytest.approx(area, abs=1e-6)


def spot(size=32):
    """A bright spot that alone decides, and a model that looks there."""
    weights = np.zeros((size, size))
    weights[4:12, 4:12] = 1
    return Sums(weights), image_of(0.1 + 0.8 * weights), weights.astype(np.float32)


def test_the_true_map_beats_chance_and_its_inverse_loses():
    model, image, truth = spot()
    good = one(model, image, truth)
    bad = one(model, image, -truth)
    assert good.gain > 0.05
    assert bad.gain < -0.05
    assert good.deletion < good.random_deletion
    assert good.insertion > good.random_insertion


def test_a_flat_map_is_no_better_than_chance():
    model, image, truth = spot()
    flat = one(model, image, np.zeros_like(truth), random_orders=20)
    true = one(model, image, truth, random_orders=20)
    assert abs(flat.gain) < 0.3 * true.gain


class Smooth(nn.Module):
    """P(label) falls with the mean step between neighbours, so strewn pixels cost more than blocks do."""

    def forward(self, image):
        steps = image[:, 0].diff(dim=1).abs().mean((1, 2)) + image[:, 0].diff(dim=2).abs().mean((1, 2))
        return Prediction(label=(2 - 20 * steps)[:, None])


def test_an_empty_map_hides_blocks_as_random_orders_do():
    image = image_of(np.repeat([[0.1] * 32 + [0.9] * 32], 64, 0))
    found = one(
        Smooth(), image, np.zeros((64, 64), np.float32), index=1, fill="mean", random_orders=10, seed=1
    )
    assert 0.3 < found.random_deletion < 0.9
    assert found.deletion == pytest.approx(found.random_deletion, abs=0.02)
    assert found.insertion == pytest.approx(found.random_insertion, abs=0.02)


def test_the_same_seed_gives_the_same_numbers():
    model, image, truth = spot()
    assert one(model, image, truth, seed=3) == one(model, image, truth, seed=3)
    assert one(model, image, truth, seed=3) != one(model, image, truth, seed=4)


def test_maps_of_one_image_meet_the_same_chance():
    model, image, truth = spot()
    both = faithfulness(model, image, {"good": truth, "bad": -truth})
    assert both["good"].random_deletion == both["bad"].random_deletion
    assert both["good"] == one(model, image, truth)


def test_only_the_order_of_the_values_matters():
    model, image, _ = spot()
    values = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    assert one(model, image, values) == one(model, image, 5 * values - 2)


@pytest.mark.parametrize(
    ("activation", "options", "message"),
    [
        (np.zeros((3, 3), np.float32), {}, "The map 'map' must be finite and of the image's size"),
        (np.full((32, 32), np.nan, np.float32), {}, "The map 'map' must be finite and of the image's size"),
        (np.zeros((32, 32), np.float32), {"steps": 1}, "at least 2 steps and 1 random order, got 1 and 3"),
        (np.zeros((32, 32), np.float32), {"random_orders": 0}, "got 16 and 0"),
        (np.zeros((32, 32), np.float32), {"target": "mask"}, "This model has no mask output to explain"),
    ],
)
def test_refused(activation, options, message):
    model, image, _ = spot()
    with pytest.raises(InputError, match=message):
        one(model, image, activation, **options)
