"""Structure loss: cross-entropy and IoU, both weighted towards mask borders."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from delineate.checks import InputError
from delineate.layers.precision import full_precision
from delineate.losses.common import check_choice, check_range, prepare


def border_weight(mask: Tensor, window: int = 31, gain: float = 5.0) -> Tensor:
    """Weigh pixels by how much their neighbourhood disagrees with them.

    Returns:
        (B, C, H, W), 1 where the window is uniform, rising to at most 1 + `gain` at a border.
        The window is zero-padded, so foreground touching the image frame also counts as border.
    """
    # One axis after the other: the same mean with 2 * window instead of window**2 additions per pixel.
    rows = F.avg_pool2d(mask, (window, 1), stride=1, padding=(window // 2, 0))
    neighbourhood = F.avg_pool2d(rows, (1, window), stride=1, padding=(0, window // 2))
    return 1 + gain * (neighbourhood - mask).abs()


def structure_loss(
    logits: Tensor,
    target: Tensor,
    *,
    bce: Literal["weighted", "plain"] = "weighted",
    window: int = 31,
    gain: float = 5.0,
) -> Tensor:
    """Border-weighted BCE + border-weighted IoU, averaged over images and channels.

    Each channel is a binary problem of its own (sigmoid), also when there are several.

    Args:
        logits: raw scores, not probabilities, (B, C, H, W) float.
        target: ground truth of the same shape, 0 = background, 1 = object; soft values are allowed.
        bce: "weighted" is the published loss. "plain" is what the released MSNet code runs:
            it passes `reduce="none"`, which averages before the weights can act.
        window: side of the border window in pixels, odd.
        gain: extra weight of a pixel that disagrees with its whole window, at least 0.

    Returns:
        Scalar >= 0. An empty mask is not special: it gives a finite loss with a gradient.

    Raises:
        InputError: the shapes differ, `window` is even, `gain` is negative, or `bce` is unknown.

    Source:
        Wei et al., F3Net, AAAI 2020, arXiv:1911.11445; released MSNet train.py, lines 15-24.
    """
    if window % 2 == 0 or window < 1:
        raise InputError(f"Loss option window must be odd and positive, got {window}.")
    check_choice("bce", bce, ("weighted", "plain"))
    check_range("gain", gain, 0, float("inf"))
    with full_precision(logits.device):
        logits, target = prepare(logits, target, spatial=True)
        w = border_weight(target, window, gain)
        p = logits.sigmoid()

        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if bce == "weighted":
            l_bce = (w * cross_entropy).sum((2, 3)) / w.sum((2, 3))
        else:
            l_bce = cross_entropy.mean((2, 3))

        intersection = (w * p * target).sum((2, 3))
        union = (w * (p + target)).sum((2, 3)) - intersection
        l_iou = 1 - (intersection + 1) / (union + 1)

        return (l_bce + l_iou).mean()
