"""What every model returns."""

from typing import NamedTuple

import torch
from torch import Tensor


class Prediction(NamedTuple):
    """The output of any model, in training and in evaluation alike: logits, never probabilities.

    Attributes:
        mask: (B, classes, H, W) float logits at the size of the input image. One channel is binary (sigmoid);
            several channels are exclusive classes (softmax), channel 0 is the background.
            None for a model that only classifies.
        label: (B, labels) float logits. One column is binary (sigmoid), several are exclusive (softmax).
            None for a model that only segments.
        aux: further mask logits of the same meaning as `mask`, at any size; for deep supervision.
        joint: (B, classes, H, W) mask logits of a branch that exists only in training and sees the class
            branch too; None otherwise.
    """

    mask: Tensor | None = None
    label: Tensor | None = None
    aux: tuple[Tensor, ...] = ()
    joint: Tensor | None = None


def mask_probability(logits: Tensor) -> Tensor:
    """Turn mask logits into probabilities, float32.

    Args:
        logits: (B, C, H, W), as in `Prediction.mask`.

    Returns:
        (B, H, W) probability of the only class when C = 1, else (B, C, H, W) that sum to 1 over C.
    """
    logits = logits.float()
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def label_probability(logits: Tensor) -> Tensor:
    """Turn label logits into probabilities, float32.

    Args:
        logits: (B, K), as in `Prediction.label`.

    Returns:
        (B, 2) when K = 1, negative class first, else (B, K); rows sum to 1.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return torch.cat([(-logits).sigmoid(), logits.sigmoid()], 1)
    return logits.softmax(1)
