"""Activation maps against hand-computed values, a literal loop, and the state of the model."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.explain.activation import activation_map
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction

METHODS = ["clnet", "gradcam", "gradcam++"]


class Tiny(nn.Module):
    """Features -> GAP -> linear label; features -> 1x1 mask."""

    def __init__(self, channels=4, labels=1, classes=1, stride=1, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Conv2d(3, channels, 3, padding=1, stride=stride)
        self.relu = nn.ReLU(inplace=True)
        self.label = nn.Linear(channels, labels)
        self.mask = nn.Conv2d(channels, classes, 1)
        self.norm = nn.BatchNorm2d(channels)

    def activation_layers(self):
        return (self.features,)

    def forward(self, image):
        x = self.relu(self.features(image))
        return Prediction(mask=self.mask(self.norm(x)), label=self.label(x.mean((2, 3)) ** 2))


class Fixed(nn.Module):
    """The feature map is the image, so every number can be computed by hand."""

    def __init__(self, label=None, mask=None):
        super().__init__()
        self.layer = nn.Identity()
        self._label, self._mask = label, mask

    def activation_layers(self):
        return (self.layer,)

    def forward(self, image):
        x = self.layer(image)
        return Prediction(
            mask=None if self._mask is None else self._mask(x),
            label=None if self._label is None else self._label(x),
        )


def channels(*maps):
    return torch.tensor([maps], dtype=torch.float32)


# y = 4 x1 - 4 x2 as a mean over 2 x 2 places: dy/dX1 = 1, dy/dX2 = -1, dy/dX3 = 0 everywhere.
X = channels([[1, 2], [3, 4]], [[2, 2], [0, 8]], [[5, 5], [5, 5]])


def difference(x: Tensor) -> Tensor:
    return (4 * x[:, 0] - 4 * x[:, 1]).mean((1, 2))[:, None]


def test_clnet_keeps_what_gradcam_cancels():
    model = Fixed(label=difference)
    clnet = activation_map(model, X, method="clnet", index=1)
    np.testing.assert_allclose(clnet, np.array([[1, 2], [3, 4]]) / 4)  # ReLU inside: channel 2 adds nothing
    gradcam = activation_map(model, X, method="gradcam", index=1)
    np.testing.assert_allclose(gradcam, np.array([[0, 0], [1, 0]]))  # ReLU(x1 - x2) = [[0, 0], [3, 0]]


def test_the_negative_label_uses_the_negated_logit():
    model = Fixed(label=difference)
    clnet = activation_map(model, X, method="clnet", index=0)
    np.testing.assert_allclose(clnet, np.array([[2, 2], [0, 8]]) / 8)
    predicted = activation_map(model, X, method="clnet")  # y = 10 - 12 < 0: label 0 is the more probable
    np.testing.assert_array_equal(predicted, clnet)


def test_gradcam_plus_plus_by_hand():
    # g = 1 in channel 1, sum_ab X1 = 10: a = 1 / (2 + 10), w_1 = 4 / 12; channel 2 has g = -1, ReLU(g) = 0.
    # Channel 3 has g = 0.5, sum_ab X3 = 20: a = 0.25 / (0.5 + 0.125 * 20) = 1/12, w_3 = 4 * 0.5 / 12 = 1/6.
    model = Fixed(label=lambda x: difference(x) + 2 * x[:, 2].mean((1, 2))[:, None])
    expected = np.array([[1, 2], [3, 4]]) / 3 + 5 / 6
    found = activation_map(model, X, method="gradcam++", index=1)
    np.testing.assert_allclose(found, expected / expected.max(), rtol=1e-6)


def literal(method, features, gradient):
    """Write the formulas as nested loops over channels and places, in float64."""
    count, height, width = features.shape
    inside = np.zeros((height, width))
    total = np.zeros((height, width))
    for k in range(count):
        if method == "gradcam++":
            weight = 0.0
            for i in range(height):
                for j in range(width):
                    g = gradient[k, i, j]
                    denominator = 2 * g**2 + sum(x * g**3 for x in features[k].ravel())
                    weight += (g**2 / denominator if denominator else 0.0) * max(g, 0.0)
        else:
            weight = sum(gradient[k].ravel()) / (height * width)
        for i in range(height):
            for j in range(width):
                inside[i, j] += max(weight * features[k, i, j], 0.0)
                total[i, j] += weight * features[k, i, j]
    result = inside if method == "clnet" else np.maximum(total, 0.0)
    return result / result.max() if result.max() > 0 else result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("target", "index"), [("label", 2), ("mask", 1)])
def test_against_a_literal_loop(method, target, index):
    model = Tiny(channels=8, labels=3, classes=3, seed=3).eval()
    image = torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    features = model.features(image).detach().requires_grad_()
    x = features.relu()
    if target == "label":
        score = model.label(x.mean((2, 3)) ** 2)[0, index]
    else:
        logits = model.mask(model.norm(x))[0]
        score = logits[index][logits.argmax(0) == index].sum()
    (gradient,) = torch.autograd.grad(score, features)
    expected = literal(method, features[0].detach().double().numpy(), gradient[0].double().numpy())
    found = activation_map(model, image, method=method, target=target, index=index)
    assert expected.max() == 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mask_target_sums_over_the_predicted_region_only():
    # Logit = x1 * x2: the gradient with respect to x1 is x2 inside the region, 0 outside.
    image = channels([[1, 1], [1, 1]], [[3, -1], [-1, -1]], [[0, 0], [0, 0]])
    model = Fixed(mask=lambda x: x[:, :1] * x[:, 1:2])
    inside = activation_map(model, image, method="clnet", target="mask", index=1)
    # w1 = 3/4, w2 = 1/4: ReLU(w1 x1) + ReLU(w2 x2) = [[0.75 + 0.75, 0.75], [0.75, 0.75]]
    np.testing.assert_allclose(inside, [[1, 0.5], [0.5, 0.5]])
    # Background: the negated logits over the other three places: w1 = 3/4, w2 = -3/4.
    background = activation_map(model, image, method="clnet", target="mask", index=0)
    np.testing.assert_allclose(background, [[0.5, 1], [1, 1]])
    np.testing.assert_array_equal(activation_map(model, image, method="clnet", target="mask"), inside)


def test_an_empty_region_sums_over_all_pixels():
    image = channels([[0, 0], [0, 4]], [[0, 0], [0, 0]], [[0, 0], [0, 0]])
    model = Fixed(mask=lambda x: x[:, :1] - 9)  # nothing is above 0
    found = activation_map(model, image, method="clnet", target="mask", index=1)
    np.testing.assert_array_equal(found, [[0, 0], [0, 1]])


def test_the_largest_region_is_the_default_class():
    image = channels([[9, 9], [9, 0]], [[0, 0], [0, 9]], [[0, 0], [0, 0]])
    model = Fixed(mask=lambda x: torch.cat([torch.ones_like(x[:, :1]), x[:, :2]], dim=1))
    default = activation_map(model, image, target="mask")
    np.testing.assert_array_equal(default, activation_map(model, image, target="mask", index=1))
    assert (default != activation_map(model, image, target="mask", index=2)).any()


@pytest.mark.parametrize("method", METHODS)
def test_a_flat_zero_map_stays_zero(method):
    model = Fixed(label=lambda x: x.mean((2, 3))[:, :1])
    found = activation_map(model, torch.zeros(1, 3, 4, 4), method=method, index=1, size=(8, 6))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.zeros((8, 6)))


def test_a_score_that_does_not_depend_on_the_layer_gives_zero():
    model = Fixed(label=lambda x: torch.ones(1, 1))
    np.testing.assert_array_equal(activation_map(model, X, index=1), np.zeros((2, 2)))


class TwoLevels(nn.Module):
    """Pools the image as it is and in blocks of 2 x 2; both mean the same to the label."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Identity(), nn.AvgPool2d(2)

    def activation_layers(self):
        return self.fine, self.coarse

    def forward(self, image):
        pooled = [level(image).mean((2, 3)) for level in (self.fine, self.coarse)]
        return Prediction(label=sum(pooled)[:, :1])


def test_levels_count_by_their_share_of_the_score():
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0, 0, 0] = 4.0
    # Each level gives the score 1/4. Fine: 4 at one place; coarse: 1 on a block, spread bilinearly.
    coarse = torch.nn.functional.interpolate(
        torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]), (4, 4), mode="bilinear"
    )
    expected = image[0, 0] + coarse[0, 0]
    for method in METHODS:
        found = activation_map(TwoLevels(), image, index=1, method=method)
        np.testing.assert_allclose(found, expected / expected.max(), atol=1e-6)


class Padded(SegmentationModel):
    """Pads 40 x 40 to 64 x 64; one feature per 8 x 8 pixels."""

    size_multiple = 64

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(8)

    def encode(self, image):
        return [self.pool(image)]

    def decode(self, features, size):
        return nn.functional.interpolate(features[-1][:, :1], size)

    def encoder_modules(self):
        return ()

    def activation_layers(self):
        return (self.pool,)

    def predict(self, image):
        features = self.encode(image)
        return Prediction(mask=self.decode(features, (64, 64)), label=features[-1].mean((2, 3))[:, :1])


def test_a_padded_image_keeps_its_places():
    image = torch.zeros(1, 3, 40, 40)
    image[:, 0, 16:24, 24:32] = 1
    found = activation_map(Padded(), image, index=1)
    assert found.shape == (40, 40)
    rows, columns = np.nonzero(found > 0.9)
    assert (rows.mean(), columns.mean()) == (19.5, 27.5)
    half = activation_map(Padded(), image, index=1, size=(20, 20))
    rows, columns = np.nonzero(half > 0.9)
    assert (rows.mean(), columns.mean()) == (9.5, 13.5)


@pytest.mark.parametrize("method", METHODS)
def test_size_and_range(method):
    model = Tiny(stride=2)
    image = torch.randn(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    found = activation_map(model, image, method=method, target="mask", index=1, size=None)
    assert found.shape == (9, 12)
    larger = activation_map(model, image, method=method, target="mask", index=1, size=(31, 20))
    assert larger.shape == (31, 20)
    for values in (found, larger):
        assert values.min() >= 0
        assert values.max() in (0, 1)


def test_the_model_is_left_as_found():
    model = Tiny().train()
    model.norm.eval()  # a frozen normalisation inside a training model
    model.features.requires_grad_(False)
    model.label.weight.grad = torch.full_like(model.label.weight, 7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    activation_map(model, torch.randn(1, 3, 8, 8))

    assert model.training
    assert not model.norm.training
    assert not model.features.weight.requires_grad
    assert model.mask.weight.requires_grad
    assert model.mask.weight.grad is None
    assert (model.label.weight.grad == 7).all()
    assert not model.features._forward_hooks
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_frozen_weights_and_inference_mode_give_the_same_map():
    model = Tiny()
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = activation_map(model, image, index=1)
    model.requires_grad_(False)
    with torch.inference_mode():
        found = activation_map(model, image.clone(), index=1)
    assert expected.max() == 1
    np.testing.assert_array_equal(found, expected)


def test_state_is_restored_after_an_error():
    model = Tiny().train()
    with pytest.raises(InputError, match="label index must be between 0 and 1, got 2"):
        activation_map(model, torch.randn(1, 3, 8, 8), index=2)
    assert model.training
    assert not model.features._forward_hooks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "gradcam+"}, "Unknown activation map 'gradcam[+]'. Did you mean 'gradcam'?"),
        ({"target": "pixel"}, "Unknown target of an activation map 'pixel'. Choose from: label, mask."),
        ({"target": "mask", "index": 2}, "The mask index must be between 0 and 1, got 2."),
        ({"target": "mask", "index": -1}, "The mask index must be between 0 and 1, got -1."),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        activation_map(Tiny(), torch.randn(1, 3, 8, 8), **arguments)


def test_wrong_models_and_images():
    with pytest.raises(InputError, match="no label output to explain; use target='mask'"):
        activation_map(Fixed(mask=lambda x: x[:, :1]), X)
    with pytest.raises(InputError, match="no mask output to explain; use target='label'"):
        activation_map(Fixed(label=difference), X, target="mask")
    with pytest.raises(InputError, match="got torch.uint8 of shape"):
        activation_map(Tiny(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"\(1, 3, H, W\), got torch.float32 of shape \(2, 3, 8, 8\)"):
        activation_map(Tiny(), torch.zeros(2, 3, 8, 8))
    with pytest.raises(InputError, match="Conv2d names no layer to explain"):
        activation_map(nn.Conv2d(3, 1, 1), X)
    vector = Tiny()
    vector.activation_layers = lambda: (vector.label,)
    with pytest.raises(InputError, match=r"give a \(1, K, h, w\) map; it gave \[\(1, 1\)\]"):
        activation_map(vector, torch.randn(1, 3, 8, 8))
