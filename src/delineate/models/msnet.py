"""MSNet: a triangle of feature differences between encoder levels.

Paper: Zhao et al., Automatic Polyp Segmentation via Multi-scale Subtraction Network, MICCAI 2021.
Released code: github.com/Xiaoqi-Zhao-DLUT/MSNet-M2SNet, model/miccai_msnet.py, commit 6aa1ed2.

Equations have their numbers in the paper of M2SNet (arXiv:2303.10894), which describes this network too:

    equation                                      here
    (1)  SU(A, B) = Conv(|A - B|)                 SubtractionRow.forward, AbsoluteDifference
    (3)  CE_i = Conv(sum over n of MS^n_i)        MSNet.decode, `levels`
    decoder, Fig. 2                               MSNet.decode, `y`
    the loss, Eqs. (4) to (6)                     the recipe: structure + 0.1 lossnet

Names: x1 to x5 are the encoder's levels, shallow to deep. MS^n_i is the difference of order n that ends at
level i. A row of the triangle holds the differences of one order: 4, 3, 2 and 1 of them.

Known differences and readings:
  - With equal weights the mask is that of the released code (checked up to rounding). Its convolutions before
    a normalisation have a bias, which cannot change the mask; here they have none.
  - x1 is the stem after its max-pooling, 3x3 with stride 2, and is used as it is when it is `width` wide, as
    in the released code; the text has every level reduced. With another width it is reduced here. With any
    other kind of encoder the shallowest map is pooled in the same way to the stride of the second one.
  - The last unit's deeper input first passes one more convolution, as in the released code; the text does
    not mention it.
  - The deepest sum of Eq. (3) has one term and no convolution, as in the released code. CE_5 is x5 itself,
    brought to `width` channels by a convolution of its own.
  - `order` leaves out the higher rows (M2SNet's Table 7). With 0, "the common FPN network", the reduced maps
    go straight to the decoder, without the convolutions of Eq. (3).
  - `unit="add"` puts A + B in the place of |A - B| (Table 7, addition units).
"""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.conv import ConvBNReLU, resize_like, resize_to
from delineate.layers.encoders import Encoder, create_encoder
from delineate.models.base import SegmentationModel, Tap

Order = Literal[0, 1, 2, 3, 4]


class AbsoluteDifference(nn.Module):
    """What two maps disagree on: twice (B, C, H, W) -> (B, C, H, W), non-negative."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs()


class Addition(nn.Module):
    """The ablation's counterpart: twice (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def su_conv(width: int) -> nn.Module:
    """Build the Conv of Eq. (1): (B, width, H, W) -> the same."""
    return ConvBNReLU(width, width)


class SubtractionRow(nn.Module):
    """One row of the triangle: n pairs of neighbouring maps -> their n differences.

    Args:
        convs: what follows each comparison, shallow to deep: (B, C, H, W) -> the same.

    Shape:
        deep, shallow: n maps each, shallow to deep; deep[i] (B, C, h', w') of any size is compared with
        shallow[i] (B, C, h, w) -> n maps (B, C, h, w).
    """

    def __init__(self, convs: list[nn.Module]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)

    def forward(self, deep: list[Tensor], shallow: list[Tensor], difference: nn.Module) -> list[Tensor]:
        row: list[Tensor] = []
        # From deep to shallow, as the released code: what `difference` normalises is averaged in this order.
        for conv, a, b in reversed([*zip(self.convs, deep, shallow, strict=True)]):
            row.insert(0, conv(difference(resize_like(a, b), b)))  # Eq. (1)  (B, C, h, w)
        return row


class MSNet(SegmentationModel):
    """Segment by subtracting encoder levels at every distance.

    Args:
        encoder: maps an image to five feature maps, shallow to deep.
        classes: mask channels.
        width: channels of every map after the encoder.
        order: rows of the triangle; 0 is a plain feature pyramid.
        difference: module that compares two maps of one size, the deeper one first; None for |A - B|.
        conv: builds what follows the comparison in each unit from the width.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).

    Raises:
        InputError: `encoder` does not give five levels, or `order` is none of 0 to 4.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        width: int = 64,
        order: Order = 4,
        difference: nn.Module | None = None,
        conv: Callable[[int], nn.Module] = su_conv,
    ) -> None:
        super().__init__()
        channels = encoder.channels
        if len(channels) != 5:
            raise InputError(
                f"{type(self).__name__} needs an encoder with five levels, got {len(channels)} (strides "
                f"{[*encoder.strides]}); choose for example res2net50d or resnet50."
            )
        if order not in get_args(Order):
            raise InputError(f"Option order of {type(self).__name__} must be 0 to 4, got {order!r}.")
        self.encoder = encoder
        self.minimum_size = encoder.minimum_size
        self.feature_channels = channels
        step = encoder.strides[1] // encoder.strides[0]
        self.pool = nn.MaxPool2d(3, stride=step, padding=1) if step > 1 else nn.Identity()
        self.deepest = Tap()

        reduced = channels if order else channels[:-1]  # a pyramid uses x5 in `bottom` only
        self.reduce = nn.ModuleList(
            nn.Identity() if i == 0 and c == width else ConvBNReLU(c, width) for i, c in enumerate(reduced)
        )
        self.difference = difference or AbsoluteDifference()
        self.rows = nn.ModuleList(
            SubtractionRow([conv(width) for _ in range(length)]) for length in (4, 3, 2, 1)[:order]
        )
        self.last_deep = ConvBNReLU(width, width) if order == 4 else nn.Identity()
        self.enhance = nn.ModuleList(
            ConvBNReLU(width, width) if order and i < 3 else nn.Identity() for i in range(4)
        )
        self.bottom = ConvBNReLU(channels[-1], width)
        self.refine = nn.ModuleList(ConvBNReLU(width, width) for _ in range(3))
        self.head = nn.Conv2d(width, classes, kernel_size=3, padding=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        stem, *stages, deepest = self.encoder(image)
        return [self.pool(stem), *stages, self.deepest(deepest)]

    def triangle(self, features: list[Tensor]) -> list[list[Tensor]]:
        """Compare neighbours, then neighbouring differences, and so on.

        Args:
            features: x1 to x5, as `encode` gives them.

        Returns:
            Row 0, the reduced maps, and for n = 1 to `order` row n, the 5 - n differences of order n; each
            row shallow to deep, its i-th map (B, width, h_i, w_i) at the size of the i-th feature map.
        """
        rows = [[reduce(f) for reduce, f in zip(self.reduce, features, strict=False)]]
        for n, row in enumerate(self.rows, start=1):
            shallow = rows[-1][:-1]
            deep = rows[-1][1:]
            if n == 4:
                deep = [self.last_deep(deep[0])]
            rows.append(row(deep, shallow, self.difference))
        return rows

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        pyramid, *differences = self.triangle(features)
        levels: list[Tensor] = []
        for i, enhance in enumerate(self.enhance):
            column = [row[i] for row in differences if i < len(row)] or [pyramid[i]]
            levels.append(enhance(sum(column[1:], column[0])))  # Eq. (3)  (B, width, h_i, w_i)

        y = self.bottom(features[-1])  # (B, width, h_5, w_5)
        for conv, level in zip([*self.refine, self.head], reversed(levels), strict=True):
            y = conv(resize_like(y, level) + level)  # (B, width, h_i, w_i), at last (B, classes, h_1, w_1)
        return resize_to(y, size)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)


def build_msnet(
    *,
    classes: int,
    labels: int,
    encoder: str,
    pretrained: bool | str,
    unit: Literal["subtract", "add"] = "subtract",
    order: Order = 4,
    width: int = 64,
) -> SegmentationModel:
    """Build the table's row; `labels` is 0."""
    backbone = create_encoder(encoder, levels=(0, 1, 2, 3, 4), pretrained=pretrained)
    difference = Addition() if unit == "add" else AbsoluteDifference()
    return MSNet(backbone, classes, width, order, difference)
