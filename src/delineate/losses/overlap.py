"""Soft Dice loss."""

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
    check_choice("over", over, ("image", "batch"))
    check_range("smooth", smooth, 0, float("inf"))
    if smooth == 0:
        raise InputError("Loss option smooth must be more than 0, or an empty mask would give 0/0.")
    with full_precision(logits.device):
        logits, target = prepare(logits, target, spatial=True)
        p = probabilities(logits)
        if not background and p.shape[1] > 1:
            p, target = p[:, 1:], target[:, 1:]
        axes = (2, 3) if over == "image" else (0, 2, 3)
        intersection = (p * target).sum(axes)
        total = (p.square() + target.square()).sum(axes) if squared else (p + target).sum(axes)
        return (1 - (2 * intersection + smooth) / (total + smooth)).mean()
