"""Overlap losses: soft Dice and Tversky."""

from typing import Literal

from torch import Tensor

from delineate.checks import InputError
from delineate.layers.precision import full_precision
from delineate.losses.common import check_choice, check_range, prepare, probabilities


def dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    over: Literal["image", "batch"] = "image",
    squared: bool = False,
    background: bool = True,
) -> Tensor:
    """1 - (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth), averaged over channels (and images).

    Args:
        logits: (B, C, H, W) float, raw scores; sigmoid for one channel, softmax over several.
        target: the same shape, values 0 to 1.
        smooth: added to both sides of the fraction, more than 0. An empty mask gives
            1 - smooth / (sum(p) + smooth): finite, with a gradient, 0 for an empty prediction.
        over: "image" scores each image and averages; "batch" sums over the batch's pixels first.
        squared: V-Net's denominator, sum(p^2) + sum(y^2).
        background: with several channels, count channel 0 too.

    Returns:
        Scalar in [0, 1].

    Raises:
        InputError: the shapes differ, or an option is out of range.

    Source:
        Milletari et al., V-Net, 3DV 2016, arXiv:1606.04797, section 3 (squared).
    """
    _check(over, smooth)
    with full_precision(logits.device):
        logits, target = prepare(logits, target, spatial=True)
        p, target, axes = _select(probabilities(logits), target, over, background)
        intersection = (p * target).sum(axes)
        total = (p.square() + target.square()).sum(axes) if squared else (p + target).sum(axes)
        return (1 - (2 * intersection + smooth) / (total + smooth)).mean()


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
    over: Literal["image", "batch"] = "image",
    background: bool = True,
) -> Tensor:
    """1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth), averaged over channels (and images).

    TP = sum(p y), FP = sum(p (1 - y)), FN = sum((1 - p) y). With alpha = beta = 0.5 it is the Dice loss with
    twice the `smooth`, with alpha = beta = 1 a soft Jaccard loss.

    Args:
        logits: (B, C, H, W) float, raw scores; sigmoid for one channel, softmax over several.
        target: the same shape, values 0 to 1.
        alpha: weight of false positives, at least 0.
        beta: weight of false negatives, at least 0; more than `alpha` favours finding over precision.
        smooth: added to both sides of the fraction, more than 0; an empty mask then gives a finite loss with
            a gradient (the paper has none).
        over: "image" scores each image and averages; "batch" sums over the batch's pixels first.
        background: with several channels, count channel 0 too.

    Returns:
        Scalar in [0, 1].

    Raises:
        InputError: the shapes differ, or an option is out of range.

    Source:
        Salehi et al., Tversky loss function, MLMI 2017, arXiv:1706.05721, Eqs. (2) and (3); alpha 0.3 and
        beta 0.7 gave its best result. The paper writes the index that is maximised, this is 1 minus it.
    """
    check_range("alpha", alpha, 0, float("inf"))
    check_range("beta", beta, 0, float("inf"))
    _check(over, smooth)
    with full_precision(logits.device):
        logits, target = prepare(logits, target, spatial=True)
        p, target, axes = _select(probabilities(logits), target, over, background)
        tp = (p * target).sum(axes)
        fp, fn = (p * (1 - target)).sum(axes), ((1 - p) * target).sum(axes)
        return (1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)).mean()  # Eq. (3)


def _check(over: str, smooth: float) -> None:
    check_choice("over", over, ("image", "batch"))
    check_range("smooth", smooth, 0, float("inf"))
    if smooth == 0:
        raise InputError("Loss option smooth must be more than 0, or an empty mask would give 0/0.")


def _select(p: Tensor, target: Tensor, over: str, background: bool) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Leave the background out unless it counts, and say which axes are summed."""
    if not background and p.shape[1] > 1:
        p, target = p[:, 1:], target[:, 1:]
    return p, target, (2, 3) if over == "image" else (0, 2, 3)
