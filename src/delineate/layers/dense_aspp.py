"""Atrous pyramids without image pooling: DeepLabv2's sum of branches, and DenseASPP."""

import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.aspp import DilatedConvBNReLU
from delineate.layers.conv import ConvBNReLU


class AtrousSum(nn.Module):
    """See one map through several dilations side by side and add up what they see.

    Args:
        channels: of the input, of every branch and of the output.
        rates: dilations of the 3x3 branches, pixels of the input map.

    Shape:
        (B, channels, H, W) float, any H and W -> the same shape, non-negative.

    Raises:
        InputError: no rates, or a rate below 1.

    Source:
        Chen et al., DeepLab(v2), TPAMI 2018, arXiv:1606.00915, Fig. 7b: rates 6, 12, 18, 24, summed; without
        the two 1x1 convolutions that make each branch a classifier there.
    """

    def __init__(self, channels: int, rates: tuple[int, ...] = (6, 12, 18, 24)) -> None:
        super().__init__()
        check_rates(rates)
        self.branches = nn.ModuleList(DilatedConvBNReLU(channels, channels, rate) for rate in rates)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.branches
        y: Tensor = first(x)
        for branch in others:
            y = y + branch(x)
        return y


class DenseASPP(nn.Module):
    """See one map through growing dilations one after the other; each layer sees all maps before it.

    A layer is a 1x1 convolution to `hidden` channels and a dilated 3x3 convolution to `growth`; the input and
    all layers are concatenated and projected by a 1x1 convolution. Each convolution is followed by batch
    normalisation and ReLU, where the paper normalises before its convolutions.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        rates: dilation of each layer, pixels of the input map.
        growth: channels that each layer adds.
        hidden: channels between a layer's two convolutions.

    Shape:
        (B, channels_in, H, W) float, any H and W -> (B, channels_out, H, W), non-negative.

    Raises:
        InputError: no rates, or a rate below 1.

    Source:
        Yang et al., DenseASPP for Semantic Segmentation in Street Scenes, CVPR 2018, Eq. (3) and Fig. 3.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        rates: tuple[int, ...] = (3, 6, 12, 18),
        growth: int = 64,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check_rates(rates)
        widths = [channels_in + i * growth for i in range(len(rates) + 1)]
        self.layers = nn.ModuleList(
            nn.Sequential(ConvBNReLU(width, hidden, kernel=1), DilatedConvBNReLU(hidden, growth, rate))
            for width, rate in zip(widths[:-1], rates, strict=True)
        )
        self.project = ConvBNReLU(widths[-1], channels_out, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)  # (B, channels_in + layers so far * growth, H, W)
        projected: Tensor = self.project(x)
        return projected


def check_rates(rates: tuple[int, ...]) -> None:
    """Refuse an empty pyramid and dilations below 1 with an InputError."""
    if not rates or min(rates) < 1:
        raise InputError(f"An atrous pyramid needs at least one rate, each at least 1, got {[*rates]}.")
