"""Dilated spatial mapping and channel attention (DSMCA): where to look and at which channels."""

from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.conv import resize_to
from delineate.layers.squeeze_multi import SqueezeMultiExcite


class DilatedSpatialMap(nn.Sequential):
    """One weight per pixel, from a dilated neighbourhood: sigmoid(W8 * dilated(W7 * X)).

    Args:
        channels: channels of the input.
        hidden: channels between the convolutions.
        rate: dilation of the 3x3 convolution, pixels.

    Shape:
        (B, channels, H, W) float -> (B, 1, H, W) in (0, 1).
    """

    def __init__(self, channels: int, hidden: int, rate: int) -> None:
        super().__init__(
            nn.Conv2d(channels, hidden, kernel_size=1),  # W7, W9
            nn.Conv2d(hidden, hidden, 3, padding=rate, dilation=rate),
            nn.Conv2d(hidden, 1, kernel_size=1),  # W8, W10
            nn.Sigmoid(),
        )

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the map of x after resizing it to `size`; W7 comes first, since it commutes with that."""
        reduce, dilated, single, gate = self
        weights: Tensor = gate(single(dilated(resize_to(reduce(x), size))))
        return weights


class DSMCA(nn.Module):
    """Recalibrate a feature map along its channels and, at two dilations, over space.

    Args:
        channels: channels of the input.
        channels_out: channels of the output; None keeps `channels`.
        reduction: how many times narrower the hidden layers of both attentions are than the input.
        rates: dilations of the two spatial maps, pixels.
        dropout: of the channel attention, see `SqueezeMultiExcite`.

    Shape:
        (B, channels, h, w) float and a size (H, W), by default (h, w) -> (B, channels_out, H, W): the same as
        resizing the input bilinearly first.

    Raises:
        InputError: `reduction`, a rate or the dropout is out of range.

    Known differences and readings:
        Eq. (9), which joins the three parts, is lost from the text, as is the place of W5 and W6. Here
        W5 * S + W6 * (DSM_B1 + DSM_B2): a 1x1 convolution, without bias, for either attention, then the sum.
        A spatial map has one channel, since it maps space. The hidden width is not given: a sixteenth of the
        channels, as in the squeeze-and-excitation that the block builds on. There is no normalisation and no
        nonlinearity but those of Eqs. (6)-(8).

    Exact rewrite (test_dsmca.py::test_resizing_late_is_resizing_first): 1x1 convolutions without bias, and
    with it in front of a resize, commute with bilinear resizing, and so does a factor per channel; a factor
    per pixel commutes with a 1x1 convolution without bias. So a map that is enlarged by whole factors, which
    keep its mean, meets all its 1x1 convolutions while it is small; other sizes take the literal form.

    Source:
        FCP-Net (Liu et al., IEEE Transactions on Medical Imaging 2022), Eqs. (6)-(9), Fig. 4.
    """

    def __init__(
        self,
        channels: int,
        channels_out: int | None = None,
        reduction: int = 16,
        rates: tuple[int, int] = (2, 4),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if reduction < 1 or min(rates) < 1:
            raise InputError(
                f"DSMCA needs a reduction and two rates of at least 1, got {reduction} and {list(rates)}."
            )
        width = channels_out or channels
        hidden = max(channels // reduction, 1)
        self.attend = SqueezeMultiExcite(channels, reduction, dropout)
        self.near = DilatedSpatialMap(channels, hidden, rates[0])
        self.far = DilatedSpatialMap(channels, hidden, rates[1])
        self.join_channel = nn.Conv2d(channels, width, kernel_size=1, bias=False)  # W5
        self.join_space = nn.Conv2d(channels, width, kernel_size=1, bias=False)  # W6

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        height, width = x.shape[-2], x.shape[-1]
        target = size or (height, width)
        if target == (height, width) or target[0] % height or target[1] % width:
            return self.literal(resize_to(x, target))
        spatial = self.near.resized(x, target) + self.far.resized(x, target)  # (B, 1, H, W)
        s = resize_to(self.join_channel(self.attend(x)), target)  # (B, channels_out, H, W)
        return s + spatial * resize_to(self.join_space(x), target)

    def literal(self, x: Tensor) -> Tensor:
        """Apply the equations as printed: (B, channels, H, W) -> (B, channels_out, H, W)."""
        s = self.attend(x)  # Eq. (6)                                        (B, channels, H, W)
        dsm_b1 = x * self.near(x)  # Eq. (7), rate 2                         (B, channels, H, W)
        dsm_b2 = x * self.far(x)  # Eq. (8), rate 4                          (B, channels, H, W)
        y: Tensor = self.join_channel(s) + self.join_space(dsm_b1 + dsm_b2)  # Eq. (9), see readings
        return y
