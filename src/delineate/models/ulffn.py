"""ULFFN: every decoding unit sees the maps of all coding units above it.

Paper: ULFFN, the Upper and Lower Layers Feature Fusing Network for skin lesion segmentation.
Released code: none found.

    equation                                      here
    (1)  receptive field                          layers/aspp.py
    (2)  size of an atrous kernel                 layers/aspp.py
    Fig. 2: convolution block                     CodingUnit.forward
    Fig. 4: ASPP                                  layers/aspp.py
    Fig. 5: channel attention (CAM)               ChannelAttention.gate
    section 3.1: fusion, sub-pixel convolution    DecodingUnit.forward
    (3)-(7)  scores                               metrics/overlap.py
    (8)  cross-entropy                            losses/entropy.py
    (9)  binary cross-entropy                     losses/entropy.py
    (10) weighted cross-entropy                   losses/entropy.py
    (11) focal loss                               losses/entropy.py
    (12) Dice loss                                losses/overlap.py
    (13) the loss in use                          losses/entropy.py

Known differences and readings:
  - Two output channels with softmax become one with sigmoid for a binary mask: the softmax of two scores is
    the sigmoid of their difference, so the functions are the same.
  - Section 3.1 counts four downsampling modules, section 3.3 removes the downsampling of the last unit.
    `last_stride=1` (default) follows 3.3, `last_stride=2` follows 3.1. A decoding unit enlarges by what its
    coding unit shrank by; with a ratio of 1 there is nothing to enlarge and no sub-pixel convolution.
  - "All upper-layer code units" of a decoding unit are the coding units at its level and above. The deepest
    decoding unit gets its own level through its input. The stem is the input section, not a coding unit.
  - How upper maps reach a unit's size is not said: each pixel is the mean of those that it covers.
  - A decoding unit is one 3x3 Conv-ReLU-BN to the channels of the level above (512, 256, 128, 64) and one
    sub-pixel convolution, which keeps them; neither number is given.
  - ASPP has 256 channels, as in DeepLab; in general a quarter of the deepest map's. Its branches are
    Conv-BN-ReLU as published there; elsewhere the order is Conv-ReLU-BN (section 3.2).
  - CAM: SENet's excitation (reduction 16) on averages and variances side by side. "One convolution" is its
    first layer, "channel activation" its ReLU and second layer. The variance divides by the pixel count.
  - The paper's network has no pre-trained encoder. A timm encoder gives its first four levels instead.

Exact rewrites (test_ulffn.py holds each against the literal form):
  - What CAM does to a channel and what the 1x1 output convolution does are both linear, so the gates multiply
    that convolution's weights, image by image; and they do so before the pixels are dealt out. The gated map
    (64 channels, full size) never exists. Without CAM, the last sub-pixel convolution and the output
    convolution are one (layers/subpixel.py), and 64 channels at full size never exist at all.
  - A mean of means over equal blocks is the mean over all: upper maps shrink from unit to unit, and units of
    one size share them.
"""

from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.aspp import ASPP
from delineate.layers.conv import resize_like, resize_to
from delineate.layers.encoders import Encoder, create_encoder
from delineate.layers.subpixel import SubPixelUpsample
from delineate.models.base import SegmentationModel, Tap

WIDTHS = (64, 128, 256, 512, 1024)


class ConvReLUBN(nn.Sequential):
    """3x3 convolution, ReLU, batch normalisation: the paper's order.

    Shape:
        (B, channels_in, H, W) float -> (B, channels_out, H / stride, W / stride) rounded up.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(channels_out),
        )


class CodingUnit(nn.Module):
    """Two convolutions with a residual sum, then a strided one, Fig. 2.

    Shape:
        (B, channels_in, H, W) -> (B, channels_out, H / stride, W / stride) rounded up.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(ConvReLUBN(channels_in, channels_in), ConvReLUBN(channels_in, channels_in))
        self.down = ConvReLUBN(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(x + self.block(x))
        return y


class ULFFNEncoder(Encoder):
    """The stem and the coding units.

    Args:
        widths: channels of the stem and of each coding unit.
        last_stride: of the last unit; the others have 2.
        in_channels: channels of the image.

    Shape:
        (B, in_channels, H, W) -> list of (B, widths[i + 1], H / strides[i], W / strides[i]).

    Raises:
        InputError: fewer than three widths, that is fewer than two coding units.
    """

    def __init__(
        self, widths: tuple[int, ...] = WIDTHS, last_stride: Literal[1, 2] = 1, in_channels: int = 3
    ) -> None:
        if len(widths) < 3:
            raise InputError(
                f"ULFFN needs the widths of its stem and of at least two coding units, got {[*widths]}."
            )
        units = len(widths) - 1
        strides = (*(2**unit for unit in range(1, units)), 2 ** (units - 1) * last_stride)
        super().__init__(channels=widths[1:], strides=strides, minimum_size=2 * strides[-1])
        self.stem = ConvReLUBN(in_channels, widths[0])
        steps = (*[2] * (units - 1), last_stride)
        self.units = nn.ModuleList(
            CodingUnit(before, after, step)
            for (before, after), step in zip(pairwise(widths), steps, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        y = self.stem(image)  # (B, widths[0], H, W)
        maps: list[Tensor] = []
        for unit in self.units:
            y = unit(y)
            maps.append(y)
        return maps


class ChannelAttention(nn.Module):
    """Rescale every channel by a gate that sees all channels' averages and variances, and add the input.

    Args:
        channels: C, number of feature channels.
        reduction: how many times narrower the hidden layer is than C, which it never leaves below 1.

    Shape:
        (B, C, H, W) float -> the same shape.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(2 * channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def gate(self, variance: Tensor, mean: Tensor) -> Tensor:
        """Return S (B, C), each between 0 and 1, from the variances and means (B, C)."""
        hidden = F.relu(self.squeeze(torch.cat([mean, variance], dim=1)))  # T = [GAP; GVP] (B, 2C)
        s: Tensor = self.excite(hidden).sigmoid()
        return s

    def forward(self, x: Tensor) -> Tensor:
        s = self.gate(*torch.var_mean(x, dim=(2, 3), correction=0))
        return x + s[:, :, None, None] * x


class DecodingUnit(nn.Module):
    """Put all upper maps beside the input, fuse them, enlarge.

    Args:
        channels_in: channels of the input.
        upper_channels: channels of all upper maps together.
        width: channels of the result.
        ratio: how many times larger the result is; 1 leaves the enlarging out.

    Shape:
        (B, channels_in, h, w) and maps (B, ., H, W) -> (B, width, ratio * H, ratio * W).
    """

    def __init__(self, channels_in: int, upper_channels: int, width: int, ratio: int) -> None:
        super().__init__()
        self.fuse = ConvReLUBN(channels_in + upper_channels, width)
        self.up = SubPixelUpsample(width, width, ratio) if ratio > 1 else nn.Identity()

    def forward(self, y: Tensor, upper: list[Tensor]) -> Tensor:
        y = resize_like(y, upper[0])  # of another size only after encoders that do not pad
        enlarged: Tensor = self.up(self.fuse(torch.cat([y, *upper], dim=1)))
        return enlarged


class Output(nn.Module):
    """The last sub-pixel convolution, channel attention and the 1x1 convolution to the classes.

    Args:
        channels: channels of the map.
        classes: mask channels.
        cam: whether there is channel attention.
        ratio: how many times larger the result is; 1 leaves the enlarging out.

    Shape:
        (B, channels, h, w) -> (B, classes, ratio * h, ratio * w).
    """

    def __init__(self, channels: int, classes: int, cam: bool, ratio: int) -> None:
        super().__init__()
        self.up = SubPixelUpsample(channels, channels, ratio) if ratio > 1 else None
        self.cam = ChannelAttention(channels) if cam else None
        self.head = nn.Conv2d(channels, classes, kernel_size=1)

    def literal(self, x: Tensor) -> Tensor:
        """As published: enlarge, attend, classify."""
        x = x if self.up is None else self.up(x)  # (B, channels, H, W)
        x = x if self.cam is None else self.cam(x)
        y: Tensor = self.head(x)
        return y

    def forward(self, x: Tensor) -> Tensor:
        head: Any = self.head  # torch types its bias as optional
        weight, bias = head.weight.flatten(1), head.bias  # (classes, channels), (classes,)
        if self.cam is None:
            return self.literal(x) if self.up is None else self.up.then(x, weight, bias)
        z, ratio = (x, 1) if self.up is None else (self.up.conv(x), self.up.ratio)
        pixels = z.unflatten(1, (-1, ratio**2)).flatten(2)  # (B, channels, H * W), in another order than x
        gate = self.cam.gate(*torch.var_mean(pixels, dim=2, correction=0))  # (B, channels)
        scores = (weight * (1 + gate[:, None])) @ pixels + bias[:, None]  # (B, classes, H * W)
        return F.pixel_shuffle(scores.reshape(z.shape[0], -1, z.shape[2], z.shape[3]), ratio)


class ULFFN(SegmentationModel):
    """Segment with decoding units that see all upper coding units.

    Args:
        encoder: maps an image to two or more feature maps, shallow to deep.
        classes: mask channels.
        widths: channels that the decoding units give, shallow to deep, one for each map.
        aspp: whether the deepest map passes atrous spatial pyramid pooling (Table 4).
        cam: whether the output passes channel attention (Table 4).

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).

    Raises:
        InputError: the encoder gives fewer than two maps, or another number of them than `widths`.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        widths: tuple[int, ...] = WIDTHS[:-1],
        aspp: bool = True,
        cam: bool = True,
    ) -> None:
        super().__init__()
        channels = encoder.channels
        if not 2 <= len(channels) == len(widths):
            raise InputError(
                f"ULFFN needs as many decoding widths as the encoder has levels, at least 2: "
                f"got {[*widths]} for {len(channels)} levels."
            )
        bottom = max(1, channels[-1] // 4) if aspp else channels[-1]
        self.feature_channels = (*channels[:-1], bottom)
        self.minimum_size = encoder.minimum_size
        self.size_multiple = encoder.strides[-1]
        self.encoder = encoder
        self.aspp = ASPP(channels[-1], bottom) if aspp else None
        self.bottom = Tap()
        levels = range(len(channels))
        deeper = (*widths[1:], bottom)  # what each unit gets from below
        upper = [sum(channels[: i + 1]) for i in levels[:-1]] + [sum(channels[:-1])]
        ratios = [deep // shallow for shallow, deep in pairwise((1, *encoder.strides))]
        self.units = nn.ModuleList(  # shallow to deep
            DecodingUnit(deeper[i], upper[i], widths[i], ratio=ratios[i] if i > 0 else 1) for i in levels
        )
        self.output = Output(widths[0], classes, cam, ratios[0])

    def encode(self, image: Tensor) -> list[Tensor]:
        *upper, deepest = self.encoder(image)
        return [*upper, self.bottom(deepest if self.aspp is None else self.aspp(deepest))]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        y = features[-1]
        for unit, upper in reversed([*zip(self.units, upper_maps(features), strict=True)]):
            y = unit(y, upper)  # (B, widths[i], size of level i - 1; of level 0 for the last)
        return resize_to(self.output(y), size)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.bottom,)


def upper_maps(features: list[Tensor]) -> list[list[Tensor]]:
    """Return for each level the maps of that level and above at its size; the deepest without its own.

    Args:
        features: (B, ., h_i, w_i), shallow to deep.
    """
    rows: list[list[Tensor]] = []
    for feature in features[:-1]:
        above = [shrink_like(m, feature) for m in rows[-1]] if rows else []
        rows.append([*above, feature])
    return [*rows, [shrink_like(m, features[-1]) for m in rows[-1]]]


def shrink_like(x: Tensor, reference: Tensor) -> Tensor:
    """Average (B, C, H, W) over equal blocks to the size of `reference`, bilinear where none divide it."""
    (height, width), (h, w) = x.shape[-2:], reference.shape[-2:]
    if (height, width) == (h, w):
        return x
    if height % h or width % w:
        return resize_like(x, reference)
    return F.avg_pool2d(x, (height // h, width // w))  # adaptive pooling has no repeatable form on a GPU


def build_ulffn(
    *,
    classes: int,
    labels: int = 0,
    encoder: str = "ulffn",
    pretrained: bool | str = False,
    widths: tuple[int, ...] = WIDTHS,
    last_stride: Literal[1, 2] = 1,
    aspp: bool = True,
    cam: bool = True,
) -> ULFFN:
    """Build the table's `ulffn`.

    Args:
        classes: mask channels.
        labels: 0; it has no class branch.
        encoder: "ulffn", or a timm network, of which as many levels are used as there are coding units.
        pretrained: False, True (hub) or the path of a local file, for timm networks.
        widths: channels of the stem and of each coding unit; the decoding units mirror them.
        last_stride: 1 keeps the deepest map at the size of the one before (dilated in timm networks).
        aspp: see `ULFFN`.
        cam: see `ULFFN`.

    Raises:
        InputError: pre-trained weights are asked for "ulffn", or see `ULFFN` and `create_encoder`.
    """
    if encoder == "ulffn":
        if pretrained:
            raise InputError(
                "Encoder 'ulffn' has no published weights; set pretrained to false or choose a timm encoder."
            )
        return ULFFN(ULFFNEncoder(widths, last_stride), classes, widths[:-1], aspp, cam)
    levels = tuple(range(len(widths) - 1))
    network = create_encoder(encoder, levels=levels, pretrained=pretrained)
    if last_stride == 1 and len(levels) > 1:
        stride = network.strides[-2]
        network = create_encoder(encoder, levels=levels, pretrained=pretrained, output_stride=stride)
    return ULFFN(network, classes, widths[:-1], aspp, cam)
