"""Atrous spatial pyramid pooling: one map seen through several dilations and as a whole."""

import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.conv import ConvBNReLU
from delineate.layers.separable import SeparableConv


class DilatedConvBNReLU(nn.Sequential):
    """3x3 convolution without bias, dilated, batch normalisation, ReLU; (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class ImagePooling(nn.Sequential):
    """What the whole map says, at every place: mean over H and W, 1x1 convolution, spread again.

    Batch normalisation sees one pixel per image, so training needs at least two images; a batch of one
    raises the ValueError that `models.base.SegmentationModel` turns into an InputError.

    Shape:
        (B, channels_in, H, W) float -> (B, channels_out, H, W), constant over H and W, non-negative.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), ConvBNReLU(channels_in, channels_out, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = super().forward(x)  # (B, channels_out, 1, 1)
        return pooled.expand(-1, -1, x.shape[-2], x.shape[-1])


class ASPP(nn.Module):
    """Convolve one map with several dilations side by side, add its global mean, and mix.

    Branches: 1x1 convolution, a 3x3 convolution for each rate, image pooling; each with `channels_out`
    channels, batch normalisation and ReLU. They are concatenated and projected by a 1x1 convolution. Written
    here, because torchvision has no separable form, and segmentation-models-pytorch takes exactly three rates
    and does not normalise inside its separable convolution, as DeepLabv3+ does.

    Args:
        channels_in: channels of the input.
        channels_out: channels of every branch and of the output.
        rates: dilations of the 3x3 branches, pixels of the input map.
        separable: depthwise separable 3x3 convolutions (DeepLabv3+), else dense ones (DeepLabv3).
        dropout: probability that an output value is zeroed in training.

    Shape:
        (B, channels_in, H, W) float, any H and W -> (B, channels_out, H, W), non-negative. Training needs at
        least two images, see `ImagePooling`.

    Raises:
        InputError: no rates, or a rate below 1.

    Source:
        Chen et al., Rethinking Atrous Convolution, 2017, arXiv:1706.05587, section 3.3.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        rates: tuple[int, ...] = (6, 12, 18),
        separable: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not rates or min(rates) < 1:
            raise InputError(f"ASPP needs at least one rate, each at least 1, got {list(rates)}.")
        dilated = SeparableConv if separable else DilatedConvBNReLU
        self.branches = nn.ModuleList(
            [
                ConvBNReLU(channels_in, channels_out, kernel=1),
                *(dilated(channels_in, channels_out, rate) for rate in rates),
                ImagePooling(channels_in, channels_out),
            ]
        )
        self.project = ConvBNReLU(len(self.branches) * channels_out, channels_out, kernel=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([branch(x) for branch in self.branches], dim=1)  # (B, branches * out, H, W)
        y: Tensor = self.dropout(self.project(seen))  # (B, out, H, W)
        return y
