import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from delineate.checks import InputError
from delineate.losses import (
    LOSSES,
    bce_loss,
    border_weight,
    combine,
    combo_loss,
    create_loss,
    cross_entropy_loss,
    dice_loss,
    exponential_logarithmic_loss,
    focal_loss,
    one_hot_label,
    one_hot_mask,
    smooth_target,
    structure_loss,
    tversky_loss,
    weighted_cross_entropy_loss,
)


def logit(p):
    return math.log(p / (1 - p))


def mask_of(values, shape=(1, 1, 1, 2)):
    return torch.tensor(values, dtype=torch.float64).view(shape)


TWO = mask_of([logit(0.8), logit(0.3)])  # probabilities 0.8 and 0.3
ONE_ZERO = mask_of([1, 0])


def test_bce_by_hand():
    plain = -(math.log(0.8) + math.log(0.7)) / 2
    assert bce_loss(TWO, ONE_ZERO).item() == pytest.approx(plain)
    weighted = -(3 * math.log(0.8) + math.log(0.7)) / 2
    assert bce_loss(TWO, ONE_ZERO, positive_weight=3).item() == pytest.approx(weighted)
    soft = -(0.9 * math.log(0.8) + 0.1 * math.log(0.2) + 0.1 * math.log(0.3) + 0.9 * math.log(0.7)) / 2
    assert bce_loss(TWO, ONE_ZERO, smoothing=0.2).item() == pytest.approx(soft)


def test_cross_entropy_by_hand():
    assert cross_entropy_loss(TWO, ONE_ZERO).item() == pytest.approx(bce_loss(TWO, ONE_ZERO).item())
    weighted = -(3 * math.log(0.8) + 2 * math.log(0.7)) / 2
    assert cross_entropy_loss(TWO, ONE_ZERO, class_weights=(2, 3)).item() == pytest.approx(weighted)
    p = torch.tensor([[0.2, 0.3, 0.5]]).double()
    target = torch.tensor([[0.0, 0.0, 1.0]])
    assert cross_entropy_loss(p.log(), target).item() == pytest.approx(-math.log(0.5))
    smoothed = -(0.1 * math.log(0.2) + 0.1 * math.log(0.3) + 0.8 * math.log(0.5))
    assert cross_entropy_loss(p.log(), target, smoothing=0.3).item() == pytest.approx(smoothed)
    assert cross_entropy_loss(p.log(), target, class_weights=(1, 1, 4)).item() == pytest.approx(
        -4 * math.log(0.5)
    )


def test_focal_by_hand():
    expected = -(0.2**2 * math.log(0.8) + 0.3**2 * math.log(0.7)) / 2
    assert focal_loss(TWO, ONE_ZERO).item() == pytest.approx(expected)
    weighted = -(0.25 * 0.2 * math.log(0.8) + 0.75 * 0.3 * math.log(0.7)) / 2
    assert focal_loss(TWO, ONE_ZERO, gamma=1, alpha=0.25).item() == pytest.approx(weighted)
    assert focal_loss(TWO, ONE_ZERO, gamma=0, smoothing=0.2).item() == pytest.approx(
        bce_loss(TWO, ONE_ZERO, smoothing=0.2).item()
    )
    p = torch.tensor([[0.2, 0.3, 0.5]]).double()
    target = torch.tensor([[1.0, 0.0, 0.0]])
    assert focal_loss(p.log(), target, alpha=0.25).item() == pytest.approx(-0.75 * 0.8**2 * math.log(0.2))


def test_weighted_cross_entropy_by_hand():
    # Three pixels, p = 0.8, 0.3, 0.6, y = 1, 0, 0: the share of the object is 1/3, of the background 2/3.
    logits = mask_of([logit(0.8), logit(0.3), logit(0.6)], (1, 1, 1, 3))
    target = mask_of([1, 0, 0], (1, 1, 1, 3))
    background = -(math.log(0.7) + math.log(0.4)) / 2
    balanced = (-math.log(0.8) + background) / 2  # every class counts the same
    assert weighted_cross_entropy_loss(logits, target).item() == pytest.approx(balanced)
    given = (-5 * math.log(0.8) + 2 * 2 * background) / (5 + 2 * 2)
    assert weighted_cross_entropy_loss(logits, target, class_weights=(2, 5)).item() == pytest.approx(given)
    empty = weighted_cross_entropy_loss(logits, torch.zeros_like(target))  # the absent class weighs nothing
    assert empty.item() == pytest.approx(-(math.log(0.2) + math.log(0.7) + math.log(0.4)) / 3)
    assert weighted_cross_entropy_loss(logits, target, class_weights=(0, 0)) == 0


def test_tversky_by_hand():
    # p = 0.8, 0.3, y = 1, 0: TP 0.8, FP 0.3, FN 0.2.
    expected = 1 - (0.8 + 1) / (0.8 + 0.3 * 0.3 + 0.7 * 0.2 + 1)
    assert tversky_loss(TWO, ONE_ZERO).item() == pytest.approx(expected)
    only_misses = 1 - (0.8 + 0.5) / (0.8 + 0.2 + 0.5)
    assert tversky_loss(TWO, ONE_ZERO, alpha=0, beta=1, smooth=0.5).item() == pytest.approx(only_misses)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("over", ["image", "batch"])
def test_tversky_is_dice_at_one_half_each(channels, over):
    logits, target = random_pair("mask", channels)
    options = {"over": over, "background": False}
    halves = tversky_loss(logits, target, alpha=0.5, beta=0.5, smooth=1, **options)
    torch.testing.assert_close(halves, dice_loss(logits, target, smooth=2, **options))


def test_exponential_logarithmic_by_hand():
    dice = (-math.log((1.6 + 1) / (2.1 + 1))) ** 0.3
    # Two pixels, one of each class: each has the share 1/2 and the weight sqrt(2).
    cross = math.sqrt(2) * ((-math.log(0.8)) ** 0.3 + (-math.log(0.7)) ** 0.3) / 2
    assert exponential_logarithmic_loss(TWO, ONE_ZERO).item() == pytest.approx(0.8 * dice + 0.2 * cross)
    given = (4 * (-math.log(0.8)) ** 2 + 3 * (-math.log(0.7)) ** 2) / 2
    only_cross = exponential_logarithmic_loss(
        TWO, ONE_ZERO, dice_weight=0, cross_weight=1, cross_gamma=2, class_weights=(3, 4)
    )
    assert only_cross.item() == pytest.approx(given)


def test_exponential_logarithmic_is_cross_entropy_at_power_one():
    logits, target = random_pair("mask", 3)
    ours = exponential_logarithmic_loss(
        logits, target, dice_weight=0, cross_weight=1, cross_gamma=1, class_weights=(1, 2, 3)
    )
    torch.testing.assert_close(ours, cross_entropy_loss(logits, target, class_weights=(1, 2, 3)))


def test_combo_by_hand():
    entropy = -(0.7 * math.log(0.8) + 0.3 * math.log(0.7)) / 2
    expected = 0.4 * entropy + 0.6 * (1 - (1.6 + 1) / (2.1 + 1))
    assert combo_loss(TWO, ONE_ZERO, alpha=0.4, beta=0.7).item() == pytest.approx(expected)
    logits, target = random_pair("mask", 1)
    plain = combo_loss(logits, target, alpha=1, beta=0.5)
    torch.testing.assert_close(plain, bce_loss(logits, target) / 2)


def test_combo_of_several_classes():
    logits, target = random_pair("mask", 3)
    p = logits.softmax(1)
    entropy = -(0.8 * target * p.log() + 0.2 * (1 - target) * (1 - p).log())
    for background, shown in ((True, slice(0, 3)), (False, slice(1, 3))):
        dice = dice_loss(logits, target, background=background)
        expected = 0.5 * entropy[:, shown].mean() + 0.5 * dice
        torch.testing.assert_close(combo_loss(logits, target, beta=0.8, background=background), expected)


@pytest.mark.parametrize("name", ["exponential_logarithmic", "combo", "weighted_cross_entropy", "tversky"])
def test_certain_multi_class_predictions_are_finite(name):
    index = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    for sign in (-1, 1):
        logits = (sign * one_hot_mask(index, 3) * 1e4).requires_grad_()
        loss = create_loss(name)(logits, one_hot_mask(index, 3))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()
        assert (loss < 1e-4) == (sign == 1)


def test_dice_by_hand():
    # Image 1: p = 0.8, 0.3, y = 1, 0. Image 2: p = 0.5, 0.5, y = 0, 0 (empty).
    logits = torch.cat([TWO, torch.zeros_like(TWO)])
    target = torch.cat([ONE_ZERO, torch.zeros_like(ONE_ZERO)])
    per_image = (1 - (1.6 + 1) / (2.1 + 1) + 1 - 1 / (1 + 1)) / 2
    assert dice_loss(logits, target).item() == pytest.approx(per_image)
    assert dice_loss(logits, target, over="batch").item() == pytest.approx(1 - 2.6 / (3.1 + 1))
    squares = 0.64 + 0.09 + 1
    assert dice_loss(TWO, ONE_ZERO, squared=True, smooth=0.5).item() == pytest.approx(
        1 - 2.1 / (squares + 0.5)
    )


def test_dice_of_several_classes_with_and_without_background():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]).double().T.reshape(1, 3, 1, 2)
    target = one_hot_mask(torch.tensor([[[0, 2]]]), 3)
    each = [1 - (1.4 + 1) / (0.8 + 1 + 1), 1 - 1 / (0.3 + 1), 1 - (1.6 + 1) / (0.9 + 1 + 1)]
    assert dice_loss(p.log(), target).item() == pytest.approx(sum(each) / 3)
    assert dice_loss(p.log(), target, background=False).item() == pytest.approx(sum(each[1:]) / 2)


def test_border_weight_by_hand():
    mask = torch.tensor([[0.0, 0, 1, 1, 1]]).expand(3, 5)[None, None]
    weight = border_weight(mask, window=3, gain=5)
    # Row 1, no frame above or below: the neighbourhoods hold 0, 1/3, 2/3, 1 and, at the frame, 2/3 of object.
    expected = [1, 1 + 5 / 3, 1 + 5 / 3, 1, 1 + 5 / 3]
    assert weight[0, 0, 1].tolist() == pytest.approx(expected)
    random = torch.rand(2, 1, 40, 37)
    direct = 1 + 5 * (F.avg_pool2d(random, 31, stride=1, padding=15) - random).abs()
    torch.testing.assert_close(border_weight(random), direct)


@pytest.mark.parametrize("bce", ["weighted", "plain"])
def test_structure_by_hand(bce):
    w = [1 + 5 * abs(1 / 9 - 1), 1 + 5 * (1 / 9)]
    entropy = [-math.log(0.8), -math.log(0.7)]
    l_bce = (
        sum(a * b for a, b in zip(w, entropy, strict=True)) / sum(w)
        if bce == "weighted"
        else sum(entropy) / 2
    )
    intersection, both = w[0] * 0.8, w[0] * 1.8 + w[1] * 0.3
    l_iou = 1 - (intersection + 1) / (both - intersection + 1)
    assert structure_loss(TWO, ONE_ZERO, bce=bce, window=3).item() == pytest.approx(l_bce + l_iou)


def test_structure_without_gain_is_bce_plus_iou():
    logits, target = torch.randn(2, 2, 9, 9).double(), (torch.rand(2, 2, 9, 9) > 0.5).double()
    p = logits.sigmoid()
    intersection = (p * target).sum((2, 3))
    iou = (intersection + 1) / ((p + target).sum((2, 3)) - intersection + 1)
    expected = F.binary_cross_entropy(p, target) + (1 - iou).mean()
    torch.testing.assert_close(structure_loss(logits, target, gain=0), expected)


def test_label_smoothing():
    assert smooth_target(torch.tensor([[0.0], [1.0]]), 0.2).flatten().tolist() == pytest.approx([0.1, 0.9])
    assert smooth_target(torch.tensor([[0.0, 0, 1]]), 0.3)[0].tolist() == pytest.approx([0.1, 0.1, 0.8])
    same = torch.rand(2, 3)
    assert smooth_target(same, 0) is same


def test_oracle_torch_cross_entropy():
    logits, index = torch.randn(2, 4, 5, 6).double(), torch.randint(0, 4, (2, 5, 6))
    for smoothing in (0.0, 0.1):
        expected = F.cross_entropy(logits, index, label_smoothing=smoothing)
        ours = cross_entropy_loss(logits, one_hot_mask(index, 4), smoothing=smoothing)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_oracle_torchvision_focal(alpha):
    from torchvision.ops import sigmoid_focal_loss

    logits, target = torch.randn(2, 1, 5, 6) * 5, (torch.rand(2, 1, 5, 6) > 0.5).float()
    expected = sigmoid_focal_loss(logits, target, alpha=-1 if alpha is None else alpha, reduction="mean")
    torch.testing.assert_close(focal_loss(logits, target, alpha=alpha), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("over", ["image", "batch"])
def test_oracle_monai_dice(channels, squared, over):
    from monai.losses import DiceLoss

    logits = torch.randn(2, channels, 5, 6)
    target = one_hot_mask(torch.randint(0, max(channels, 2), (2, 5, 6)), channels)
    oracle = DiceLoss(
        sigmoid=channels == 1,
        softmax=channels > 1,
        squared_pred=squared,
        batch=over == "batch",
        smooth_nr=1,
        smooth_dr=1,
    )
    ours = dice_loss(logits, target, over=over, squared=squared)
    torch.testing.assert_close(ours, oracle(logits, target))


@pytest.mark.parametrize("channels", [1, 4])
def test_oracle_torch_weighted_cross_entropy(channels):
    logits, index = torch.randn(2, channels, 5, 6).double(), torch.randint(0, max(channels, 2), (2, 5, 6))
    weights = torch.rand(max(channels, 2)).double()
    two = logits if channels > 1 else torch.cat([torch.zeros_like(logits), logits], 1)
    target = one_hot_mask(index, channels)
    ours = weighted_cross_entropy_loss(logits, target, class_weights=tuple(weights.tolist()))
    torch.testing.assert_close(ours, F.cross_entropy(two, index, weight=weights))
    inverse = index.numel() / index.flatten().bincount(minlength=len(weights)).double()
    balanced = weighted_cross_entropy_loss(logits, target)
    torch.testing.assert_close(balanced, F.cross_entropy(two, index, weight=inverse))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("background", [False, True])
def test_oracle_monai_tversky(channels, over, background):
    from monai.losses import TverskyLoss

    logits = torch.randn(2, channels, 5, 6)
    target = one_hot_mask(torch.randint(0, max(channels, 2), (2, 5, 6)), channels)
    oracle = TverskyLoss(
        include_background=background or channels == 1,
        sigmoid=channels == 1,
        softmax=channels > 1,
        alpha=0.2,
        beta=0.9,
        batch=over == "batch",
        smooth_nr=0.5,
        smooth_dr=0.5,
    )
    options = {"alpha": 0.2, "beta": 0.9, "smooth": 0.5, "over": over, "background": background}
    torch.testing.assert_close(tversky_loss(logits, target, **options), oracle(logits, target))


def test_oracle_smp_tversky():
    from segmentation_models_pytorch.losses import TverskyLoss

    logits, target = torch.randn(2, 1, 5, 6), (torch.rand(2, 1, 5, 6) > 0.5).float()
    oracle = TverskyLoss("binary", alpha=0.2, beta=0.9, smooth=0.5)(logits, target)
    ours = tversky_loss(logits, target, alpha=0.2, beta=0.9, smooth=0.5, over="batch")
    torch.testing.assert_close(ours, oracle)


def test_oracle_smp_dice():
    from segmentation_models_pytorch.losses import DiceLoss

    logits, target = torch.randn(2, 1, 5, 6), (torch.rand(2, 1, 5, 6) > 0.5).float()
    oracle = DiceLoss("binary", smooth=0.5)(logits, target)  # its smooth counts twice
    torch.testing.assert_close(dice_loss(logits, target, smooth=1, over="batch"), oracle)


# LossNet, the one loss with weights, has test_lossnet.py.
FUNCTIONS = [name for name, spec in LOSSES.items() if not isinstance(spec.function, type)]
CASES = [(name, kind) for name in FUNCTIONS for kind in LOSSES[name].kinds]
FROM_THE_BATCH = ("weighted_cross_entropy", "exponential_logarithmic")  # unless class_weights are given


def random_pair(kind, channels, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shape = (2, channels, 5, 4) if kind == "mask" else (3, channels)
    logits = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
    target = torch.rand(shape, generator=generator, dtype=dtype)
    return logits, target / target.sum(1, keepdim=True) if channels > 1 else target


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients(name, kind, channels):
    logits, target = random_pair(kind, channels)
    assert torch.autograd.gradcheck(lambda x: create_loss(name)(x, target), logits)


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, kind, channels, dtype):
    generator = torch.Generator().manual_seed(1)
    size = (512, 512) if kind == "mask" else ()
    logits = (torch.randn(2, channels, *size, generator=generator) * 20).to(dtype).requires_grad_()
    target = (torch.rand(2, channels, *size, generator=generator) > 0.5).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        loss = create_loss(name)(logits, target)
    assert loss.dtype == torch.float32
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(loss, create_loss(name)(logits.float(), target.float()))


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_empty_and_full_targets_with_any_confidence(name, kind, truth, scale):
    shape = (2, 1, 8, 8) if kind == "mask" else (2, 1)
    logits = (torch.ones(shape) * scale).requires_grad_()
    for sign in (-1, 1):
        loss = create_loss(name)(sign * logits, torch.full(shape, truth))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert loss >= 0
        assert gradient.isfinite().all()
        if scale == 0:
            assert gradient.abs().sum() > 0


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 3.5])
def test_focal_is_finite_for_any_gamma_and_certainty(gamma):
    logits = torch.tensor([[-1e4], [-50.0], [0.0], [50.0], [1e4]], requires_grad=True)
    focal_loss(logits, torch.ones(5, 1), gamma=gamma).backward()
    assert logits.grad.isfinite().all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 10**6))
def test_batches_and_permutations_do_not_matter(channels, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, channels, 4, 5, generator=generator).double()
    index = torch.randint(0, max(channels, 2), (batch, 4, 5), generator=generator)
    target = one_hot_mask(index, channels)
    for name in FUNCTIONS:
        if name == "weighted_cross_entropy":
            continue  # a weighted mean over the batch's pixels
        options = {"class_weights": (1.0,) * max(channels, 2)} if name in FROM_THE_BATCH else {}
        loss = create_loss(name, options)
        alone = torch.stack([loss(logits[i : i + 1], target[i : i + 1]) for i in range(batch)]).mean()
        torch.testing.assert_close(loss(logits, target), alone)
        assert loss(logits, target) >= 0


def test_one_hot():
    index = torch.tensor([[[0, 1], [2, 1]]], dtype=torch.uint8)
    assert one_hot_mask(index, 3).argmax(1).tolist() == index.tolist()
    assert one_hot_mask(index.clamp(max=1), 1).tolist() == [[[[0.0, 1], [1, 1]]]]
    assert one_hot_label(torch.tensor([1, 0]), 2).tolist() == [[0, 1], [1, 0]]
    assert one_hot_label(torch.tensor([1, 0]), 1).tolist() == [[1], [0]]
    with pytest.raises(
        InputError, match="Index map must hold values from 0 to 1 for 1 channel.s., got 0 to 2"
    ):
        one_hot_mask(index, 1)
    with pytest.raises(InputError, match="Labels must hold values from 0 to 1 for 2 channel.s., got -1 to 1"):
        one_hot_label(torch.tensor([1, -1]), 2)
    with pytest.raises(InputError, match="Index map must be integers of shape"):
        one_hot_mask(torch.rand(1, 2, 2), 1)
    with pytest.raises(InputError, match="Labels must be integers of shape"):
        one_hot_label(torch.rand(1), 1)
    with pytest.raises(InputError, match="Channels must be at least 1"):
        one_hot_mask(index, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: bce_loss(TWO, ONE_ZERO[..., :1]),
            r"Logits and target must have one shape, got \[1, 1, 1, 2\]",
        ),
        (
            lambda: dice_loss(torch.zeros(2, 1), torch.zeros(2, 1)),
            r"Logits must have shape \(B, C, H, W\) and not",
        ),
        (
            lambda: bce_loss(torch.zeros(0, 1), torch.zeros(0, 1)),
            r"or \(B, K\) and not be empty, got \[0, 1\]",
        ),
        (
            lambda: bce_loss(TWO, ONE_ZERO, smoothing=2),
            "Loss option smoothing must be between 0 and 1, got 2",
        ),
        (lambda: bce_loss(TWO, ONE_ZERO, positive_weight=-1), "positive_weight must be between 0 and inf"),
        (lambda: focal_loss(TWO, ONE_ZERO, alpha=1.5), "Loss option alpha must be between 0 and 1, got 1.5"),
        (lambda: focal_loss(TWO, ONE_ZERO, gamma=-1), "Loss option gamma must be between 0 and inf, got -1"),
        (
            lambda: structure_loss(TWO, ONE_ZERO, window=4),
            "Loss option window must be odd and positive, got 4",
        ),
        (lambda: structure_loss(TWO, ONE_ZERO, bce="x"), "bce must be one of 'weighted', 'plain', got 'x'"),
        (
            lambda: structure_loss(TWO, ONE_ZERO, gain=-1),
            "Loss option gain must be between 0 and inf, got -1",
        ),
        (lambda: dice_loss(TWO, ONE_ZERO, over="all"), "over must be one of 'image', 'batch', got 'all'"),
        (lambda: dice_loss(TWO, ONE_ZERO, smooth=0), "smooth must be more than 0, or an empty mask"),
        (
            lambda: cross_entropy_loss(TWO, ONE_ZERO, class_weights=(1,)),
            "class_weights needs 2 weights of at least 0",
        ),
        (
            lambda: weighted_cross_entropy_loss(TWO, ONE_ZERO, class_weights=(1, -1)),
            r"class_weights needs 2 weights of at least 0 for 1 channel.s., got \[1, -1\]",
        ),
        (
            lambda: tversky_loss(TWO, ONE_ZERO, alpha=-1),
            "Loss option alpha must be between 0 and inf, got -1",
        ),
        (lambda: tversky_loss(TWO, ONE_ZERO, smooth=0), "smooth must be more than 0, or an empty mask"),
        (
            lambda: exponential_logarithmic_loss(TWO, ONE_ZERO, dice_gamma=0),
            "Loss option dice_gamma must be between 0.001 and inf, got 0",
        ),
        (
            lambda: exponential_logarithmic_loss(TWO, ONE_ZERO, class_weights=(1, 1, 1)),
            "class_weights needs 2 weights of at least 0",
        ),
        (lambda: combo_loss(TWO, ONE_ZERO, beta=2), "Loss option beta must be between 0 and 1, got 2"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_table():
    loss = create_loss("bce", {"smoothing": 0.2}, kind="label")
    assert loss(TWO, ONE_ZERO) == bce_loss(TWO, ONE_ZERO, smoothing=0.2)
    assert LOSSES["structure"].options == {"bce": "weighted", "window": 31, "gain": 5.0}
    for name, options, kind, message in [
        ("bice", {}, None, "Unknown loss 'bice'. Did you mean 'bce'?"),
        ("bce", {"smothing": 1}, None, "Unknown option 'smothing' of loss 'bce'. Did you mean 'smoothing'?"),
        (
            "dice",
            {},
            "label",
            "Loss 'dice' does not work on a label; choose from: "
            "bce, cross_entropy, weighted_cross_entropy, focal.",
        ),
    ]:
        with pytest.raises(InputError) as error:
            create_loss(name, options, kind=kind)
        assert str(error.value) == message


def test_combine():
    loss = combine([(create_loss("dice"), 0.5), (create_loss("bce"), 2.0)])
    expected = 0.5 * dice_loss(TWO, ONE_ZERO) + 2 * bce_loss(TWO, ONE_ZERO)
    torch.testing.assert_close(loss(TWO, ONE_ZERO), expected)
    with pytest.raises(InputError, match="needs at least one"):
        combine([])
    with pytest.raises(InputError, match="weight of a loss must be at least 0, got -1"):
        combine([(create_loss("dice"), -1)])
