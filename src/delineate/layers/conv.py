"""Convolution with batch normalisation, and resizing to another map's size."""

import torch.nn.functional as F
from torch import Tensor, nn


class ConvBNReLU(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU; the size stays as it is.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        kernel: side of the kernel in pixels, odd; zero padding keeps the size.

    Shape:
        (B, channels_in, H, W) float -> (B, channels_out, H, W), non-negative.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


def resize_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) bilinearly to (B, C, *size); `align_corners=False`: pixels are areas, not points.

    A map that already has the size is returned as it is.
    """
    if (x.shape[-2], x.shape[-1]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def resize_like(x: Tensor, reference: Tensor) -> Tensor:
    """Resize (B, C, h, w) to the height and width of `reference`; see `resize_to`."""
    return resize_to(x, (reference.shape[-2], reference.shape[-1]))
