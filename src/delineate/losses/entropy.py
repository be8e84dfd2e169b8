"""Losses made of log-probabilities: binary and categorical cross-entropy, focal loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from delineate.checks import InputError
from delineate.layers.precision import full_precision
from delineate.losses.common import check_range, prepare, smooth_target


def bce_loss(
    logits: Tensor, target: Tensor, *, positive_weight: float = 1.0, smoothing: float = 0.0
) -> Tensor:
    """Binary cross-entropy of every channel on its own, averaged over everything.

    Args:
        logits: (B, C, H, W) or (B, K) float, raw scores.
        target: the same shape, values 0 to 1.
        positive_weight: factor of the positive term; above 1 favours finding over precision.
        smoothing: label smoothing s; 0 and 1 become s/2 and 1 - s/2.

    Returns:
        Scalar >= 0.

    Raises:
        InputError: the shapes differ, or an option is out of range.
    """
    check_range("positive_weight", positive_weight, 0, float("inf"))
    check_range("smoothing", smoothing, 0, 1)
    with full_precision(logits.device):
        logits, target = prepare(logits, target)
        soft = target * (1 - smoothing) + smoothing / 2  # two classes per channel, however many channels
        weight = logits.new_tensor(positive_weight)
        return F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weight)


def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.0,
    class_weights: tuple[float, ...] | None = None,
) -> Tensor:
    """Cross-entropy between exclusive classes: sigmoid for one channel, softmax over several.

    Args:
        logits: (B, C, H, W) or (B, K) float, raw scores.
        target: the same shape, one-hot or soft, channels summing to 1.
        smoothing: label smoothing s towards the uniform distribution (over two classes for one channel).
        class_weights: factor of each class's term, background first; two values for one channel
            (negative, positive). The sum is divided by the number of pixels, not by the weights'.

    Returns:
        Scalar >= 0: the mean over images and pixels.

    Raises:
        InputError: the shapes differ, an option is out of range, or the number of weights is wrong.
    """
    check_range("smoothing", smoothing, 0, 1)
    count = max(logits.shape[1], 2)
    if class_weights is not None and (len(class_weights) != count or min(class_weights) < 0):
        raise InputError(
            f"Loss option class_weights needs {count} weights of at least 0 for "
            f"{logits.shape[1]} channel(s), got {list(class_weights)}."
        )
    with full_precision(logits.device):
        logits, target = prepare(logits, target)
        log_p, y = _two_classes(logits, smooth_target(target, smoothing))
        terms = -y * log_p  # (B, 2 or C, ...)
        if class_weights is not None:
            terms = terms * terms.new_tensor(class_weights).view(-1, *[1] * (terms.ndim - 2))
        return terms.sum(1).mean()


def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy that fades for what is already classified well: -(1 - p)^gamma log p, averaged.

    Args:
        logits: (B, C, H, W) or (B, K) float, raw scores; sigmoid for one channel, softmax over several.
        target: the same shape, values 0 to 1; a soft target weighs the terms of its classes.
        gamma: how fast easy examples fade; 0 is cross-entropy.
        alpha: weight of the positive class in [0, 1], the negative class (background) gets 1 - alpha.
            None weighs all alike. With several channels, every channel but 0 counts as positive.
        smoothing: label smoothing s, see `smooth_target`.

    Returns:
        Scalar >= 0: the mean over images and pixels.

    Raises:
        InputError: the shapes differ, or an option is out of range.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv:1708.02002, Eqs. (4) and (5).
    """
    check_range("gamma", gamma, 0, float("inf"))
    check_range("smoothing", smoothing, 0, 1)
    if alpha is not None:
        check_range("alpha", alpha, 0, 1)
    with full_precision(logits.device):
        logits, target = prepare(logits, target)
        log_p, y = _two_classes(logits, smooth_target(target, smoothing))
        # 1 - p as -expm1(log p): exact also where p is almost 1.
        terms = -y * _power(-log_p.expm1(), gamma) * log_p
        if alpha is not None:
            weights = [1 - alpha] + [alpha] * (terms.shape[1] - 1)
            terms = terms * terms.new_tensor(weights).view(-1, *[1] * (terms.ndim - 2))
        return terms.sum(1).mean()


def _two_classes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and targets, one channel per class: a single one becomes negative, positive."""
    if logits.shape[1] > 1:
        return logits.log_softmax(1), target
    log_p = torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    return log_p, torch.cat([1 - target, target], dim=1)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Raise to a power >= 0; a fractional power's slope at 0 is infinite, so the base stays just above 0."""
    if exponent == 0:
        return torch.ones_like(base)
    if exponent < 1:
        base = base.clamp(min=torch.finfo(base.dtype).tiny ** 0.5)
    return base**exponent
