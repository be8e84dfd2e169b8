"""Occlusion: hide one window after the other and see how far the score falls.

The value of a pixel is the mean fall over all windows that cover it. It needs no gradient and no layer, so it
explains any network, also one whose layers a map cannot be drawn from, at the price of one forward pass per
window.

Source:
    Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv:1311.2901,
    section 4.2. There the window is grey and every place of the window gives one pixel of the map.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.explain.activation import check_image, evaluation_mode
from delineate.explain.perturb import Fill, filling, scores_of
from delineate.explain.targets import Target, fix_score


def occlusion_map(
    model: nn.Module,
    image: Tensor,
    *,
    target: Target = "label",
    index: int | None = None,
    region: Tensor | None = None,
    size: tuple[int, int] | None = None,
    window: int | None = None,
    stride: int | None = None,
    fill: Fill = "mean",
    batch_size: int = 16,
) -> NDArray[np.float32]:
    """Show which windows the score needs.

    Args:
        model: image -> Prediction.
        image: (1, 3, H, W) float, normalised as the model expects it, on the model's device.
        target: "label" or "mask", see `targets`.
        index: which label or class; None for the one that is found.
        region: bool (H, W), the pixels of the mask to explain; None for all that are predicted.
        size: (height, width) of the result in pixels; None for that of `image`.
        window: side of the hidden square in pixels of `image`; None for a sixth of the shorter side.
        stride: pixels from one window to the next; None for half a window.
        fill: what the hidden pixels show, see `perturb.FILLS`.
        batch_size: windows in one forward pass.

    Returns:
        (height, width) float32 in [0, 1], the largest value 1. All 0 when no window lowers the score.

    Raises:
        InputError: an image of another shape, a window that is no part of the image, a stride of less than 1
            or of more than the window, unknown `fill`, or what `targets.fix_score` refuses.
    """
    check_image(image)
    height, width = image.shape[2], image.shape[3]
    window = max(1, min(height, width) // 6) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= min(height, width):
        raise InputError(
            f"The window of an occlusion map must be 1 to {min(height, width)} pixels, got {window}."
        )
    if not 1 <= stride <= window:
        raise InputError(
            f"The stride of an occlusion map must be 1 to the window's {window} pixels, so that no pixel is "
            f"left out, got {stride}."
        )
    hidden = filling(image, fill)
    with evaluation_mode(model), torch.inference_mode():
        prediction = model(image)
    score = fix_score(prediction, target, index, region)
    whole = float(score.probability(prediction)[0])
    boxes = [(y, x) for y in _starts(height, window, stride) for x in _starts(width, window, stride)]

    def occluded() -> Iterator[Tensor]:
        for y, x in boxes:
            copy = image.clone()
            copy[:, :, y : y + window, x : x + window] = hidden[:, :, y : y + window, x : x + window]
            yield copy

    falls = whole - scores_of(model, occluded(), score, batch_size)
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    for (y, x), fall in zip(boxes, falls, strict=True):
        total[y : y + window, x : x + window] += fall
        count[y : y + window, x : x + window] += 1
    found = (total / count).clamp_min(0)
    if size is not None and size != (height, width):
        found = F.interpolate(found[None, None], size, mode="bilinear", align_corners=False)[0, 0]
    largest = found.max()
    scaled = found / largest if largest > 0 else torch.zeros_like(found)
    return np.ascontiguousarray(scaled.numpy(), dtype=np.float32)


def _starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of windows that cover a side, the last one flush with its end."""
    last = length - window
    return sorted({*range(0, last, stride), last})
