"""U-Net, on its own contracting path or on any encoder.

Source: Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015,
arXiv:1505.04597, Fig. 1.

Known differences and readings:
  - Zero padding keeps the size and every 3x3 convolution is batch normalised, as in most later work; the
    paper crops the skipped maps instead and has no normalisation.
  - The weighted loss and the dropout at the end of the contracting path are not part of the network here.
  - With a timm encoder (the comparisons of the CHNet and M2SNet papers stand on Res2Net-50) the transposed
    convolution enlarges by the ratio of both levels' strides; the mask is resized to the image at the end,
    after the last 1x1 convolution, which gives the same mask as before it and costs less.
  - Table 5 of the CHNet paper gives its U-Net 17.4 M parameters and 17.5 GMACs and says no more.
    `encoder="res2net50d", depth=4, widths=(64, 256, 512, 1024), convolutions=1` comes close to both
    (test_unets.py).
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from delineate.layers.conv import ConvBNReLU, resize_like, resize_to
from delineate.layers.encoders import Encoder
from delineate.models.base import SegmentationModel, Tap
from delineate.models.baselines.common import UNET_WIDTHS, Depth, baseline_encoder, level_widths


class UpStep(nn.Module):
    """Enlarge the deep map, put the encoder's map of that size beside it, convolve.

    Args:
        deep_channels: channels of the deep map.
        skip_channels: channels of the encoder's map.
        width: channels of the result.
        ratio: how many times larger the encoder's map is.
        convolutions: number of 3x3 convolutions.

    Attributes:
        gate: None, or a module (skip, deep) -> skip that chooses what to let through.

    Shape:
        (B, deep_channels, h, w) and (B, skip_channels, H, W) -> (B, width, H, W).
    """

    def __init__(
        self, deep_channels: int, skip_channels: int, width: int, ratio: int = 2, convolutions: int = 2
    ) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(deep_channels, width, kernel_size=ratio, stride=ratio)
        self.gate: nn.Module | None = None
        inputs = (skip_channels + width, *[width] * (convolutions - 1))
        self.mix = nn.Sequential(*(ConvBNReLU(channels, width) for channels in inputs))

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        up = resize_like(
            self.up(deep), skip
        )  # of another size only after unpadded encoders: (B, width, H, W)
        passed = skip if self.gate is None else self.gate(skip, deep)
        return self.mix(torch.cat([passed, up], dim=1))


class UNet(SegmentationModel):
    """Segment with a contracting and an expanding path.

    Args:
        encoder: maps an image to two or more feature maps, shallow to deep.
        classes: mask channels.
        widths: channels of the expanding path, shallow to deep, one for each level but the deepest.
        convolutions: number of 3x3 convolutions per level of the expanding path.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        widths: tuple[int, ...] = UNET_WIDTHS[:-1],
        convolutions: Literal[1, 2] = 2,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.feature_channels = encoder.channels
        self.minimum_size = encoder.minimum_size
        self.size_multiple = encoder.strides[-1]
        self.deepest = Tap()
        self.steps = nn.ModuleList(  # shallow to deep
            UpStep(deep, skip, width, deep_stride // stride, convolutions)
            for deep, skip, width, (stride, deep_stride) in zip(
                (*widths[1:], encoder.channels[-1]),
                encoder.channels[:-1],
                widths,
                pairwise(encoder.strides),
                strict=True,
            )
        )
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        *skips, deepest = self.encoder(image)
        return [*skips, self.deepest(deepest)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        *skips, y = features
        for step, skip in zip(reversed(self.steps), reversed(skips), strict=True):
            y = step(y, skip)  # (B, widths[i], h_i, w_i)
        return resize_to(self.head(y), size)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)


def build_unet(
    *,
    classes: int,
    labels: int = 0,
    encoder: str = "unet",
    pretrained: bool | str = False,
    depth: Depth = 5,
    widths: tuple[int, ...] = UNET_WIDTHS,
    convolutions: Literal[1, 2] = 2,
) -> UNet:
    """Build the table's `unet`.

    Args:
        classes: mask channels.
        labels: 0; it has no class branch.
        encoder: "unet", or a timm network.
        pretrained: False, True (hub) or the path of a local file, for timm networks.
        depth: number of encoder levels used.
        widths: channels of the levels, shallow to deep, of both paths; of the expanding path alone with a
            timm network. At least `depth`, what is beyond is not used.
        convolutions: number of 3x3 convolutions per level of the expanding path.

    Raises:
        InputError: see `baseline_encoder`.
    """
    network = baseline_encoder(encoder, depth=depth, pretrained=pretrained, widths=widths)
    return UNet(network, classes, level_widths(widths, depth)[:-1], convolutions)
