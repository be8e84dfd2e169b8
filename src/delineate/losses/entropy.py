"""Losses made of log-probabilities: binary, categorical and weighted cross-entropy, focal loss."""

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
    smooth_target,
)


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
    check_class_weights(class_weights, logits.shape[1])
    with full_precision(logits.device):
        logits, target = prepare(logits, target)
        log_p, y = log_probabilities(logits, smooth_target(target, smoothing))
        terms = -y * log_p  # (B, 2 or C, ...)
        if class_weights is not None:
            terms = terms * per_channel(terms.new_tensor(class_weights), terms)
        return terms.sum(1).mean()


def weighted_cross_entropy_loss(
    logits: Tensor, target: Tensor, *, class_weights: tuple[float, ...] | None = None
) -> Tensor:
    """Cross-entropy as a weighted mean: sum(w_l -log p_l) / sum(w_l), l being each pixel's true class.

    Args:
        logits: (B, C, H, W) or (B, K) float, raw scores; sigmoid for one channel, softmax over several.
        target: the same shape, one-hot or soft, channels summing to 1.
        class_weights: weight of each class, background first; two for one channel (negative, positive).
            None takes 1 / (the class's share of the batch): every class that occurs then counts the same,
            however few pixels it has. The loss of a batch is in both cases not the mean of its images'
            losses, because the classes' shares are the batch's.

    Returns:
        Scalar >= 0; 0 when all classes that occur have the weight 0.

    Raises:
        InputError: the shapes differ, or the number of weights is wrong.

    Source:
        Named by M2SNet (section 2.3) and ULFFN (section 4.3) without a formula. Weights by class: Long et
        al., Fully Convolutional Networks, CVPR 2015, arXiv:1411.4038, section 4.3, and Ronneberger et al.,
        U-Net, MICCAI 2015, arXiv:1505.04597, Eqs. (1)-(2). The division by the sum of weights is that of
        `torch.nn.functional.cross_entropy`.
    """
    check_class_weights(class_weights, logits.shape[1])
    with full_precision(logits.device):
        logits, target = prepare(logits, target)
        log_p, y = log_probabilities(logits, target)  # both (B, 2 or C, ...)
        if class_weights is None:
            share = class_frequencies(y)
            weights = (share > 0) / share.clamp(min=1 / y.numel())  # an absent class has nothing to weigh
        else:
            weights = y.new_tensor(class_weights)
        w = y * per_channel(weights, y)
        return -(w * log_p).sum() / w.sum().clamp(min=1e-12)


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
        log_p, y = log_probabilities(logits, smooth_target(target, smoothing))
        # 1 - p as -expm1(log p): exact also where p is almost 1.
        terms = -y * power(-log_p.expm1(), gamma) * log_p
        if alpha is not None:
            weights = [1 - alpha] + [alpha] * (terms.shape[1] - 1)
            terms = terms * per_channel(terms.new_tensor(weights), terms)
        return terms.sum(1).mean()
