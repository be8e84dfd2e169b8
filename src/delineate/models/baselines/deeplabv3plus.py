"""DeepLabv3+: dilated encoder, atrous spatial pyramid pooling, one skip connection.

Source: Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018, arXiv:1802.02611.

Readings, after the authors' Xception-65 model:
  - The encoder is timm's `xception65`, the aligned Xception, at output stride 16; the low-level feature is
    its map at stride 4 (256 channels), the last before that block's strided convolution.
  - All 3x3 convolutions of pyramid and decoder are depthwise separable, normalised between their two parts.
  - 41.05 M weights. FCP-Net's 41.25 M, of a Keras model, also counts the 0.2 M running statistics of batch
    normalisation, which are no weights.
  - With an encoder that has no map at stride 4 the next smaller one is the low-level feature.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.aspp import ASPP
from delineate.layers.conv import ConvBNReLU, resize_like, resize_to
from delineate.layers.encoders import Encoder, create_encoder
from delineate.layers.separable import SeparableConv
from delineate.models.base import SegmentationModel

LOW_CHANNELS = 48
"""Channels that the low-level feature is reduced to before it joins the upsampled pyramid."""


def low_level(strides: tuple[int, ...]) -> int:
    """Return the index of the first map at stride 4 or beyond.

    Raises:
        InputError: there is none, or it is the deepest, which feeds the pyramid.
    """
    found = next((i for i, stride in enumerate(strides[:-1]) if stride >= 4), None)
    if found is None:
        raise InputError(
            f"DeepLabv3+'s decoder needs a map at stride 4 or beyond before the deepest, got strides "
            f"{list(strides)}; choose an encoder with more levels."
        )
    return found


def atrous_rates(output_stride: int) -> tuple[int, ...]:
    """Return the pyramid's dilations: 6, 12, 18 at output stride 16, doubled at 8, halved at 32."""
    return tuple(rate * 16 // output_stride for rate in (6, 12, 18))


class DeepLabV3Plus(SegmentationModel):
    """Segment with a pyramid of dilations on the deepest map and details from one shallow map.

    Args:
        encoder: maps an image to at least two feature maps; the low-level feature is the first from stride 4.
        classes: mask channels.
        width: channels of pyramid and decoder.
        dropout: behind the pyramid, in training.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits). `encode` gives the low-level map and
        the pyramid's, (B, width, H / 16, W / 16). Training needs at least two images.

    Raises:
        InputError: the encoder has no map for the skip connection.
    """

    def __init__(self, encoder: Encoder, classes: int = 1, width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.low = low_level(encoder.strides)
        low_channels = encoder.channels[self.low]
        self.feature_channels = (low_channels, width)
        self.minimum_size = encoder.minimum_size
        self.encoder = encoder
        self.pyramid = ASPP(
            encoder.channels[-1], width, atrous_rates(encoder.strides[-1]), separable=True, dropout=dropout
        )
        self.reduce = ConvBNReLU(low_channels, LOW_CHANNELS, kernel=1)
        self.refine = nn.Sequential(SeparableConv(width + LOW_CHANNELS, width), SeparableConv(width, width))
        self.classify = nn.Conv2d(width, classes, kernel_size=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        maps = self.encoder(image)
        return [maps[self.low], self.pyramid(maps[-1])]  # (B, 256, H/4, W/4), (B, width, H/16, W/16)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        low, deep = features
        both = torch.cat([resize_like(deep, low), self.reduce(low)], dim=1)  # (B, width + 48, H/4, W/4)
        return resize_to(self.classify(self.refine(both)), size)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.pyramid,)


def build_deeplabv3plus(
    *,
    classes: int,
    labels: int,
    encoder: str,
    pretrained: bool | str,
    output_stride: Literal[8, 16, 32] = 16,
    width: int = 256,
    dropout: float = 0.1,
) -> SegmentationModel:
    """Build the table's row; `labels` is 0, the class branch is the plug-in `+hlf`."""
    # Maps at strides 2, 4 and the deepest; of networks that begin at stride 4 the first two serve as well.
    network = create_encoder(encoder, levels=(0, 1, -1), pretrained=pretrained, output_stride=output_stride)
    return DeepLabV3Plus(network, classes, width, dropout)
