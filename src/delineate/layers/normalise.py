"""From stored pixels to what a network expects, on the device that the network runs on."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from delineate.checks import InputError, did_you_mean

NormaliseName = Literal["imagenet", "unit", "half"]

_STATISTICS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


class Normalise(nn.Module):
    """Map uint8 pixels to float32: (value / 255 - mean) / std, per channel.

    Args:
        mean: three means in [0, 1].
        std: three positive standard deviations, in the same unit.

    Shape:
        (B, 3, H, W) uint8, 0..255 -> (B, 3, H, W) float32.

    Raises:
        ValueError: `std` is not positive (at construction); the image is not uint8 (at the call): an image
            that is float already would be divided by 255 twice.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        if min(std) <= 0:
            raise ValueError(f"std must be positive, got {std}.")
        # Not persistent: the values belong to the recipe, and a weights file of the network stays loadable.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def named(cls, name: str) -> "Normalise":
        """Build a well-known one.

        Args:
            name: "imagenet" (mean and standard deviation of ImageNet), "unit" ([0, 1]) or "half" ([-1, 1]).

        Raises:
            InputError: another name.
        """
        if name not in get_args(NormaliseName):
            raise InputError(f"Unknown normalisation {name!r}.{did_you_mean(name, _STATISTICS)}")
        return cls(*_STATISTICS[name])

    def forward(self, image: Tensor) -> Tensor:
        if image.dtype != torch.uint8:
            raise ValueError(f"image must be uint8 with values 0 to 255, got {image.dtype}.")
        return (image.to(self.mean.dtype) / 255 - self.mean) / self.std
