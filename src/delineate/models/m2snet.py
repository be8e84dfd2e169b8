"""M2SNet: MSNet whose subtraction units also compare neighbourhoods.

Paper: Zhao et al., M2SNet: Multi-scale in Multi-scale Subtraction Network for Medical Image Segmentation,
arXiv:2303.10894.
Released code: github.com/Xiaoqi-Zhao-DLUT/MSNet-M2SNet, model/miccai_msnet.py, commit 6aa1ed2.

The network is that of msnet.py, where Eq. (1), Eq. (3) and the decoder are; only the unit differs:

    equation                                      here
    (2)  MSU(A, B) = Conv(|A - B|                 MultiscaleDifference.forward; Conv as in msnet.py
        + |F3(A) - F3(B)| + |F5(A) - F5(B)|)
    the loss, Eqs. (4) to (6)                     the recipe: structure + 0.1 lossnet

Known differences and readings:
  - With equal weights the mask is that of the released code (checked up to rounding). F_k is a convolution
    whose weights are all 1, batch normalisation and ReLU; F3 and F5 and their normalisations are shared by
    all units, which the text does not say. What msnet.py says about levels and convolutions holds here too.
  - The paper's 9.0 GMACs at 256 x 256 are those of the rewrite below; the released convolutions, which
    multiply by ones, take 17.5 G.
  - Table 8, ASPP units: |A - B| passes a pyramid before the convolution. Its form is not given. The reference
    is DeepLabv2, whose four branches at rates 6, 12, 18, 24 are summed; with 64 channels each this gives
    29.17 M parameters and 13.5 GMACs (paper: 29.2 M, 13.8 G).
  - Table 8, DenseASPP units: rates 3, 6, 12, 18, every convolution 64 wide, gives 29.79 M and 15.4 G (paper:
    29.6 M, 17.5 G). No pyramid that works once on each unit's map can have both of the paper's numbers: the
    1.9 M weights that it adds, spread evenly over ten units, add 5.9 GMACs.

Exact rewrite (`boxes="exact"`, test_m2snet.py::test_exact_boxes_are_the_literal_network): a convolution whose
weights are all 1 gives the same map in every output channel, so it is computed once, as the box sum of the
channels' sum, and spread over the channels of the normalisation (layers/box_sum.py).
"""

from typing import Literal, get_args

from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.box_sum import BoxForm, FullOneFilter
from delineate.layers.dense_aspp import AtrousSum, DenseASPP
from delineate.layers.encoders import Encoder, create_encoder
from delineate.models.base import SegmentationModel
from delineate.models.msnet import AbsoluteDifference, Addition, MSNet, Order, su_conv

Unit = Literal["multiscale", "subtract", "add", "aspp", "dense_aspp"]


class MultiscaleDifference(nn.Module):
    """What two maps disagree on at pixels and in neighbourhoods.

    Args:
        width: channels of both maps.
        boxes: "exact" or "literal" (layers/box_sum.py).

    Shape:
        a, b: (B, width, H, W), non-negative -> (B, width, H, W), non-negative.
    """

    def __init__(self, width: int, boxes: BoxForm = "exact") -> None:
        super().__init__()
        self.filters = nn.ModuleList(FullOneFilter(width, kernel, boxes) for kernel in (3, 5))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        total = (a - b).abs_()  # in place wherever no gradient needs the old value
        for f in self.filters:
            total += (f(a) - f(b)).abs_()  # Eq. (2), all but its Conv
        return total


def _aspp_conv(width: int) -> nn.Module:
    return nn.Sequential(AtrousSum(width), su_conv(width))


def _dense_aspp_conv(width: int) -> nn.Module:
    return nn.Sequential(DenseASPP(width, width), su_conv(width))


class M2SNet(MSNet):
    """Segment by subtracting encoder levels at every distance and in neighbourhoods of several sizes.

    Args:
        encoder: maps an image to five feature maps, shallow to deep.
        classes: mask channels.
        width: channels of every map after the encoder.
        order: rows of the triangle; 0 is a plain feature pyramid.
        unit: "multiscale" as published; "subtract" is MSNet; "add" and the pyramids "aspp" and "dense_aspp"
            on |A - B| are ablations.
        boxes: "exact" or "literal"; one function, the same state dict (see the module's docstring).

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).

    Raises:
        InputError: `encoder` does not give five levels, or an option is none of the above.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        width: int = 64,
        order: Order = 4,
        unit: Unit = "multiscale",
        boxes: BoxForm = "exact",
    ) -> None:
        if unit not in get_args(Unit):
            raise InputError(
                f"Option unit of M2SNet must be one of {', '.join(get_args(Unit))}, got {unit!r}."
            )
        difference: nn.Module = AbsoluteDifference()
        if unit == "multiscale" and order:
            difference = MultiscaleDifference(width, boxes)
        elif unit == "add":
            difference = Addition()
        convs = {"aspp": _aspp_conv, "dense_aspp": _dense_aspp_conv}
        super().__init__(encoder, classes, width, order, difference, convs.get(unit, su_conv))


def build_m2snet(
    *,
    classes: int,
    labels: int,
    encoder: str,
    pretrained: bool | str,
    unit: Unit = "multiscale",
    order: Order = 4,
    boxes: BoxForm = "exact",
    width: int = 64,
) -> SegmentationModel:
    """Build the table's row; `labels` is 0."""
    backbone = create_encoder(encoder, levels=(0, 1, 2, 3, 4), pretrained=pretrained)
    return M2SNet(backbone, classes, width, order, unit, boxes)
