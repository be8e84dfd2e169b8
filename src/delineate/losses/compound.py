"""Losses that join cross-entropy and overlap: exponential logarithmic loss, combo loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from delineate.layers.precision import full_precision
from delineate.losses.common import (
    check_class_weights,
    check_range,
    class_frequencies,
    log_probabilities,
    per_channel,
    power,
    prepare,
    probabilities,
)


def exponential_logarithmic_loss(
    logits: Tensor,
    target: Tensor,
    *,
    dice_weight: float = 0.8,
    cross_weight: float = 0.2,
    dice_gamma: float = 0.3,
    cross_gamma: float = 0.3,
    class_weights: tuple[float, ...] | None = None,
    background: bool = True,
) -> Tensor:
    """Powers of log-Dice and of weighted cross-entropy.

    dice_weight mean((-ln Dice)^dice_gamma) + cross_weight mean(w_l (-ln p_l)^cross_gamma)

    Powers below 1 make the slope steep where the prediction is almost right, above 1 where it is bad.

    Args:
        logits: (B, C, H, W) float, raw scores; sigmoid for one channel, softmax over several.
        target: the same shape, one-hot or soft.
        dice_weight: factor of the overlap term.
        cross_weight: factor of the cross-entropy term.
        dice_gamma: power of the overlap term, more than 0.
        cross_gamma: power of the cross-entropy term, more than 0.
        class_weights: w of each class, background first; two for one channel (negative, positive). None takes
            sqrt(1 / the class's share); the paper does not say of what, here it is the batch's pixels.
        background: with several channels, count channel 0 in the overlap term too. One channel stands for
            the object alone there, for both classes in the cross-entropy term.

    Returns:
        Scalar >= 0. Dice is taken per image and channel, 1 added above and below the fraction as published.

    Raises:
        InputError: the shapes differ, or an option is out of range.

    Source:
        Wong et al., 3D Segmentation with Exponential Logarithmic Loss for Highly Unbalanced Object Sizes,
        MICCAI 2018, arXiv:1809.00076, Eqs. (1)-(3); the defaults are its best setting.
    """
    weights = {"dice_weight": dice_weight, "cross_weight": cross_weight}
    for name, value in (weights | {"dice_gamma": dice_gamma, "cross_gamma": cross_gamma}).items():
        check_range(name, value, 0 if name in weights else 1e-3, float("inf"))
    check_class_weights(class_weights, logits.shape[1])
    with full_precision(logits.device):
        logits, target = prepare(logits, target, spatial=True)
        log_p, y = log_probabilities(logits, target)  # (B, 2 or C, H, W)
        l_dice = power(-_dice(logits, target, 1.0, background).log(), dice_gamma).mean()  # Eq. (2)
        if class_weights is None:
            w = class_frequencies(y).clamp(min=1 / y.numel()).rsqrt()
        else:
            w = y.new_tensor(class_weights)
        l_cross = (y * per_channel(w, y) * power(-log_p, cross_gamma)).sum(1).mean()  # Eq. (3)
        return dice_weight * l_dice + cross_weight * l_cross  # Eq. (1)


def combo_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    background: bool = True,
) -> Tensor:
    """Weighted binary cross-entropy of every channel, with soft Dice beside it.

    alpha mean(-beta y ln p - (1 - beta) (1 - y) ln(1 - p)) + (1 - alpha) (1 - Dice)

    Args:
        logits: (B, C, H, W) float, raw scores; sigmoid for one channel, softmax over several.
        target: the same shape, values 0 to 1.
        alpha: share of the cross-entropy in [0, 1].
        beta: weight of missed pixels in [0, 1], false alarms get 1 - beta.
        smooth: added to both sides of Dice's fraction, more than 0.
        background: with several channels, count channel 0 too.

    Returns:
        Scalar >= 0, the mean over images, pixels and channels. The paper subtracts the sum of Dice over its
        classes; here it is the mean, so that `alpha` means the same for any number of them, and 1 is added,
        which leaves the gradient as it is and the loss above 0.

    Raises:
        InputError: the shapes differ, or an option is out of range.

    Source:
        Taghanaki et al., Combo loss, Computerized Medical Imaging and Graphics 75, 2019, arXiv:1805.02798,
        the equation of the loss L in the section on the method.
    """
    check_range("alpha", alpha, 0, 1)
    check_range("beta", beta, 0, 1)
    check_range("smooth", smooth, 1e-6, float("inf"))
    with full_precision(logits.device):
        logits, target = prepare(logits, target, spatial=True)
        log_p, log_not = _log_both(logits)
        entropy = -beta * target * log_p - (1 - beta) * (1 - target) * log_not  # (B, C, H, W)
        if not background and logits.shape[1] > 1:
            entropy = entropy[:, 1:]
        dice = _dice(logits, target, smooth, background)
        return alpha * entropy.mean() + (1 - alpha) * (1 - dice).mean()


def _dice(logits: Tensor, target: Tensor, smooth: float, background: bool) -> Tensor:
    """Soft Dice of each image and channel, (B, C), in (0, 1]."""
    p = probabilities(logits)
    if not background and p.shape[1] > 1:
        p, target = p[:, 1:], target[:, 1:]
    return (2 * (p * target).sum((2, 3)) + smooth) / ((p + target).sum((2, 3)) + smooth)


def _log_both(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of p and of 1 - p in every channel, exact also where p is almost 1."""
    if logits.shape[1] == 1:
        return F.logsigmoid(logits), F.logsigmoid(-logits)
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)[..., None, None]
    others = logits[:, None].masked_fill(own, -torch.inf).logsumexp(2)  # (B, C, C, H, W) -> (B, C, H, W)
    return logits.log_softmax(1), others - logits.logsumexp(1, keepdim=True)
