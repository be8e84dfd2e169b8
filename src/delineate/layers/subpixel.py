"""Sub-pixel convolution: enlarge a map by computing all pixels of a block as channels."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import InputError


class SubPixelUpsample(nn.Module):
    """3x3 convolution to ratio**2 times the channels, which are then dealt out as ratio x ratio pixels.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        ratio: how many times larger the output is.

    Shape:
        (B, channels_in, H, W) float -> (B, channels_out, ratio * H, ratio * W), any sign.

    Raises:
        InputError: `ratio` is below 1.

    Source:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network, CVPR 2016, arXiv:1609.05158, Eqs. (3)-(4).
    """

    def __init__(self, channels_in: int, channels_out: int, ratio: int = 2) -> None:
        super().__init__()
        if ratio < 1:
            raise InputError(f"Sub-pixel upsampling needs a ratio of at least 1, got {ratio}.")
        self.ratio = ratio
        self.conv = nn.Conv2d(channels_in, channels_out * ratio**2, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), self.ratio)

    def then(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply a 1x1 convolution to what `forward` gives, as one 3x3 convolution on the small map.

        Exact, because nothing nonlinear is in between: the block's pixels all meet the same 1x1 weights, so
        these multiply the 3x3 weights beforehand. Few channels are then dealt out instead of many.

        Args:
            x: (B, channels_in, H, W).
            weight: of the 1x1 convolution, (K, channels_out).
            bias: of the 1x1 convolution, (K,).

        Returns:
            (B, K, ratio * H, ratio * W).
        """
        conv: Any = self.conv  # torch types its bias as optional
        pixels = self.ratio**2
        kernels = conv.weight.unflatten(0, (-1, pixels))  # (channels_out, pixels, channels_in, 3, 3)
        both = torch.einsum("kc,cpiyx->kpiyx", weight, kernels).flatten(0, 1)
        offset = weight @ conv.bias.view(-1, pixels) + bias[:, None]  # (K, pixels)
        return F.pixel_shuffle(F.conv2d(x, both, offset.flatten(), padding=1), self.ratio)
