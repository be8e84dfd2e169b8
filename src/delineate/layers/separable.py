"""Depthwise separable convolution, dilated where asked."""

from timm.models.xception_aligned import SeparableConv2d
from torch import Tensor, nn

from delineate.checks import InputError


class SeparableConv(nn.Module):
    """Depthwise 3x3, batch normalisation, ReLU, pointwise 1x1, batch normalisation, ReLU; keeps the size.

    The block is timm's, the one that DeepLabv3+ is made of: it normalises between its two convolutions too.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        dilation: distance between the taps of the depthwise kernel, pixels; zero padding keeps the size.

    Shape:
        (B, channels_in, H, W) float -> (B, channels_out, H, W), non-negative.

    Raises:
        InputError: `dilation` is below 1.

    Source:
        Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018, arXiv:1802.02611, sec. 3.1.
    """

    def __init__(self, channels_in: int, channels_out: int, dilation: int = 1) -> None:
        super().__init__()
        if dilation < 1:
            raise InputError(f"A separable convolution needs a dilation of at least 1, got {dilation}.")
        self.conv = SeparableConv2d(channels_in, channels_out, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y
