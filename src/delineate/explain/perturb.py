"""What takes the place of hidden pixels, and scores of many perturbed copies of one image."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import choose
from delineate.explain.activation import evaluation_mode
from delineate.explain.targets import Score

Fill = Literal["mean", "blur"]


def _mean(image: Tensor) -> Tensor:
    return image.mean((2, 3), keepdim=True).expand_as(image)


def _blur(image: Tensor) -> Tensor:
    """Blur so strongly that only large patches of colour stay: sigma is a 20th of the longer side."""
    sigma = max(image.shape[-2:]) / 20
    radius = min(round(3 * sigma), min(image.shape[-2:]) - 1)  # reflection needs a pixel more than it pads
    places = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).expand(image.shape[1], 1, -1)
    padded = F.pad(image, [radius] * 4, mode="reflect")
    rows = F.conv2d(padded, weights[:, :, :, None], groups=image.shape[1])
    return F.conv2d(rows, weights[:, :, None, :], groups=image.shape[1])


FILLS: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean, "blur": _blur}
"""How hidden pixels look: the image's mean colour, or the image itself, strongly blurred."""


def filling(image: Tensor, fill: Fill) -> Tensor:
    """Return the picture (1, 3, H, W) that shows where pixels of `image` are hidden.

    Raises:
        InputError: unknown `fill`.
    """
    return choose("fill of hidden pixels", fill, FILLS)(image)


def scores_of(model: nn.Module, images: Iterable[Tensor], score: Score, batch_size: int = 16) -> Tensor:
    """Score perturbed images, each (1, 3, H, W), in evaluation mode; returns float32 (N,) on the CPU."""
    found = []
    with evaluation_mode(model), torch.inference_mode():
        for batch in _batches(images, batch_size):
            found.append(score.probability(model(batch)).float().cpu())
    return torch.cat(found)


def _batches(images: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    rest = iter(images)
    while batch := list(islice(rest, size)):
        yield torch.cat(batch)
