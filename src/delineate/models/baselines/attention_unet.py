"""Attention U-Net: U-Net whose skipped maps pass additive attention gates.

Paper: Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018, arXiv:1804.03999.
Released code: github.com/ozan-oktay/Attention-Gated-Networks (three-dimensional).

    equation                                      here
    (1)  q = psi(relu(W_x x + W_g g + b_g))       AttentionGate.forward
             + b_psi
    (2)  alpha = sigmoid(q)                       AttentionGate.forward
    section 2.2: alpha x, resampled               AttentionGate.forward
    Fig. 1: the network                           UNet.decode with a gate in its steps

Known differences and readings:
  - Two dimensions; bilinear instead of trilinear resampling.
  - The paper brings x to the size of g; here, as in the released code, W_x does so itself, as a convolution
    whose kernel and stride are the ratio of both sizes. F_int, the width inside the gate, is the number of
    channels of x, as in that code.
  - The released code passes the gated map through one more 1x1 convolution with normalisation and, for the
    deepest gate, g through another. The equations have neither, so neither do we.
  - The shallowest map is not gated: section 2.2 leaves it out for want of high-level content.
  - No deep supervision: the comparisons of the CHNet and M2SNet papers do not name it.
  - Everything else is `UNet`, so that both differ in the gates alone; the gates of MONAI's AttentionUnet are
    others (at the larger size, normalised).
"""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.conv import resize_like
from delineate.layers.encoders import Encoder
from delineate.models.baselines.common import UNET_WIDTHS, baseline_encoder, level_widths
from delineate.models.baselines.unet import UNet


class AttentionGate(nn.Module):
    """Weigh every place of a map by how well it agrees with a coarser map.

    Args:
        channels: channels of x, and of the sum inside.
        gating_channels: channels of g.
        ratio: how many times larger x is than g.

    Shape:
        x (B, channels, H, W) and g (B, gating_channels, h, w) -> (B, channels, H, W), |result| <= |x|.
    """

    def __init__(self, channels: int, gating_channels: int, ratio: int = 2) -> None:
        super().__init__()
        self.from_map = nn.Conv2d(channels, channels, kernel_size=ratio, stride=ratio, bias=False)  # W_x
        self.from_gating = nn.Conv2d(gating_channels, channels, kernel_size=1)  # W_g, b_g
        self.score = nn.Conv2d(channels, 1, kernel_size=1)  # psi, b_psi

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        coarse = self.from_map(x)  # (B, channels, h, w)
        gating = resize_like(self.from_gating(g), coarse)
        q = self.score(F.relu(coarse + gating))  # Eq. (1): (B, 1, h, w)
        alpha = q.sigmoid()  # Eq. (2)
        return x * resize_like(alpha, x)


class AttentionUNet(UNet):
    """Segment with a contracting and an expanding path that attends to what is skipped.

    Args:
        encoder: maps an image to three or more feature maps, shallow to deep.
        classes: mask channels.
        widths: channels of the expanding path, shallow to deep, one for each level but the deepest.
        convolutions: number of 3x3 convolutions per level of the expanding path.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).

    Raises:
        InputError: `encoder` has fewer than three levels, so that there would be no gate.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        widths: tuple[int, ...] = UNET_WIDTHS[:-1],
        convolutions: Literal[1, 2] = 2,
    ) -> None:
        if len(encoder.channels) < 3:
            raise InputError(
                f"Attention U-Net gates all levels but the first and the last, so it needs at least 3, "
                f"got {len(encoder.channels)}; use unet instead."
            )
        super().__init__(encoder, classes, widths, convolutions)
        gating = (*widths[1:], encoder.channels[-1])
        for level, (stride, deep_stride) in enumerate(pairwise(encoder.strides)):
            if level > 0:
                gate = AttentionGate(encoder.channels[level], gating[level], deep_stride // stride)
                self.steps[level].gate = gate


def build_attention_unet(
    *,
    classes: int,
    labels: int = 0,
    encoder: str = "unet",
    pretrained: bool | str = False,
    depth: Literal[3, 4, 5] = 5,
    widths: tuple[int, ...] = UNET_WIDTHS,
    convolutions: Literal[1, 2] = 2,
) -> AttentionUNet:
    """Build the table's `attention-unet`; the arguments are those of `build_unet`, depth from 3 on.

    Raises:
        InputError: see `baseline_encoder`.
    """
    network = baseline_encoder(encoder, depth=depth, pretrained=pretrained, widths=widths)
    return AttentionUNet(network, classes, level_widths(widths, depth)[:-1], convolutions)
