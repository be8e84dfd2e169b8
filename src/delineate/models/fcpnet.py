"""FCP-Net: DeepLabv3+ with attention in every branch, branches added in cascade, and four skip connections.

Paper: Liu et al., FCP-Net: A Feature-Compression-Pyramid Network Guided by Game-Theoretic Interactions for
    Medical Image Segmentation, IEEE Transactions on Medical Imaging 2022.
Released code: none found.

    equation                                      here
    (1)  z = GAP(Sep(X, rate))                    layers/squeeze_multi.py
    (2)  s = sigmoid(Drop(W2 swish(Drop(W1 z))))  layers/squeeze_multi.py
    (3)  x_i = s_i Sep_i                          layers/squeeze_multi.py
    (4)  X = [x_1, ..., x_c]                      layers/squeeze_multi.py
    (5)  U = Dropout(W4 (Sep + W3 X))             EmbeddedFeatureEnsemble.forward
    (6)  S = SME(X_in)                            layers/dsmca.py
    (7)  DSM_B1 = X_in sigmoid(W8 D_2(W7 X_in))   layers/dsmca.py
    (8)  DSM_B2, the same with W9, W10, rate 4    layers/dsmca.py
    (9)  their combination with W5, W6 (lost)     layers/dsmca.py
    Fig. 5: branches added in cascade             BranchFusion.forward
    Fig. 6 (b): four stages, added                FCPNet.decode
    (10) Shapley value                            losses/interaction.py
    (11) interaction of two players               losses/interaction.py
    (12) its difference                           losses/interaction.py
    (13) I(c,s) = (g({c,s}) - g({s})) / 12        losses/interaction.py
    (14) L_seg, binary cross-entropy of pixels    losses/entropy.py
    (15) L_cls, binary cross-entropy of labels    losses/entropy.py
    (16) f = 12 I(c,s)                            losses/interaction.py
    (17) L_int = mean |f|                         losses/interaction.py
    (18) L_seg + alpha L_cls + beta L_int         training/objective.py

Known differences and readings:
  - The figures and Eq. (9) are lost from the text that this was written from; layers/dsmca.py says how
    Eq. (9) is read. Class branch and interaction branch are in models/multitask.py, with their readings.
  - Eq. (5) has no normalisation and no nonlinearity. Here each 1x1 convolution is followed by batch
    normalisation, and the second by ReLU too, as every branch of DeepLabv3+ ends. `Sep` is DeepLabv3+'s
    separable convolution, which ends with ReLU. Without EFE a branch is DeepLabv3+'s: a 1x1 convolution for
    rate 1, a separable one for the others.
  - Rates 1, 6, 12, 18 are four branches with EFE; the fifth is image pooling. The five branches "containing
    EFE" of Fig. 8 are therefore four here.
  - DSMCA1 stands behind EFE, one in each dilated branch. Its place is not given; the abstract names EFE,
    DSMCA and BLF in this order. One on the encoder's 2048 channels would alone have almost 10 M weights.
    The image branch has none, being constant over space.
  - BLF adds each branch to the next smaller dilation, 18 to 12 to 6 to 1 (`blf="cascade"`), concatenates the
    four sums and the image branch and projects them to `width`. What replaces it in table I is read from its
    footnote, "add and concatenate": one sum of the four, concatenated with the image branch (`"add"`).
    `"concatenate"` is DeepLabv3+'s own way, which section V says that BLF replaced; with it and all other
    modules off, the network is DeepLabv3+.
  - MSFF takes one map of each size: strides 2, 4, 8, and the end of the encoder at 16. They are resized to
    stride 4 (one goes down and two up, as the text says), brought from their own channels to `width` by their
    DSMCA, and added to the upsampled output of BLF. Without DSMCA2 a 1x1 convolution, normalised, does that.
    Without MSFF the decoder is DeepLabv3+'s: the map at stride 4 alone, 48 channels, concatenated.
  - Hidden layers of all attention are a sixteenth of their input, the usual reduction of squeeze-and-
    excitation. With it the total is 45.4 M, the published 46 M within 2 percent, so nothing else had to be
    tuned; the paper counts in Keras, where 0.2 M running statistics are parameters too.
  - The dropout's probability is not given: 0.1 everywhere, as in DeepLabv3+. Table III's "without dropout" is
    "discarding the dropout of SME block", so `efe_dropout` is that of the SME blocks of EFE alone and the row
    sets 0; the dropout of Eq. (5) stays. "Without residual" leaves out `Sep +` in Eq. (5).
  - Swish has beta 1; `trainable_beta` makes it a weight of each EFE ("constant or trainable").
  - The class branch looks at the output of BLF, the end of the encoder.

Exact rewrite (test_dsmca.py::test_resizing_late_is_resizing_first): the 1x1 convolutions of the skip
connections run before their maps are enlarged, see layers/dsmca.py; 16.1 instead of 23.5 GMACs at 256 x 256.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.aspp import ImagePooling
from delineate.layers.conv import ConvBNReLU, resize_to
from delineate.layers.dsmca import DSMCA
from delineate.layers.encoders import Encoder, create_encoder
from delineate.layers.separable import SeparableConv
from delineate.layers.squeeze_multi import SqueezeMultiExcite
from delineate.models.base import SegmentationModel
from delineate.models.baselines.deeplabv3plus import LOW_CHANNELS, atrous_rates, low_level
from delineate.models.multitask import ClassBranch, InteractionBranch
from delineate.models.prediction import Prediction

Fusion = Literal["cascade", "add", "concatenate"]

DROPOUT = 0.1


@dataclass(frozen=True)
class FCPParts:
    """Which of the paper's modules a network has; the defaults are all of them."""

    efe: bool = True
    """Embedded feature ensemble in the dilated branches, else DeepLabv3+'s convolutions."""
    dsmca_encoder: bool = True
    """DSMCA behind each dilated branch (the paper's DSMCA1)."""
    blf: Fusion = "cascade"
    """How the branches are joined."""
    msff: bool = True
    """Four skip connections, added, else DeepLabv3+'s one, concatenated."""
    dsmca_decoder: bool = True
    """DSMCA in the skip connections (DSMCA2), else 1x1 convolutions."""
    efe_dropout: float = DROPOUT
    """Dropout probability within the SME blocks of EFE."""
    efe_residual: bool = True
    """The sum of Eq. (5)."""
    trainable_beta: bool = False
    """Learn swish's beta in the SME blocks of EFE."""


class EmbeddedFeatureEnsemble(nn.Module):
    """EFE: a dilated separable convolution, its channels reweighted, joined with itself.

    Args:
        channels_in: channels of the input.
        width: channels of the output.
        rate: dilation, pixels.
        dropout: of the SME block; that of Eq. (5) is always 0.1.
        residual: add the separable convolution's output in Eq. (5).
        trainable_beta: of swish.

    Attributes:
        rate: dilation, pixels.
        attend: the SME block.

    Shape:
        (B, channels_in, h, w) float -> (B, width, h, w).
    """

    def __init__(
        self,
        channels_in: int,
        width: int,
        rate: int,
        dropout: float = DROPOUT,
        residual: bool = True,
        trainable_beta: bool = False,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.residual = residual
        self.sep = SeparableConv(channels_in, width, rate)
        self.attend = SqueezeMultiExcite(width, dropout=dropout, trainable_beta=trainable_beta)
        self.embed = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))  # W3
        self.mix = ConvBNReLU(width, width, kernel=1)  # W4
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        sep = self.sep(x)  # (B, width, h, w)
        y = self.embed(self.attend(sep))  # (B, width, h, w)
        u: Tensor = self.dropout(self.mix(sep + y if self.residual else y))  # Eq. (5)
        return u


class BranchFusion(nn.Module):
    """BLF: join the branches of a pyramid.

    Args:
        width: channels of every branch and of the output.
        dilated: number of dilated branches.
        how: "cascade" adds each branch to that of the next smaller dilation and concatenates all sums with
            the image branch; "add" concatenates one sum of all with it; "concatenate" adds nothing.

    Shape:
        branches (B, width, h, w), smallest dilation first, and the image branch (B, width, h, w)
        -> (B, width, h, w).

    Raises:
        InputError: `how` is none of these.
    """

    def __init__(self, width: int, dilated: int, how: Fusion = "cascade") -> None:
        super().__init__()
        if how not in get_args(Fusion):
            raise InputError(f"Option blf of fcp-net must be 'cascade', 'add' or 'concatenate', got {how!r}.")
        self.how = how
        self.project = ConvBNReLU(width * (2 if how == "add" else dilated + 1), width, kernel=1)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, branches: list[Tensor], image: Tensor) -> Tensor:
        if self.how == "cascade":
            branches = _sums_from_the_end(branches)
        elif self.how == "add":
            branches = _sums_from_the_end(branches)[:1]
        y: Tensor = self.dropout(self.project(torch.cat([*branches, image], dim=1)))  # (B, width, h, w)
        return y


def _sums_from_the_end(maps: list[Tensor]) -> list[Tensor]:
    """Return for each map the sum of itself and all after it."""
    sums = [maps[-1]]
    for m in reversed(maps[:-1]):
        sums.insert(0, m + sums[0])
    return sums


class FCPNet(SegmentationModel):
    """Segment, and with labels classify, with an attentive pyramid and attentive skip connections.

    Args:
        encoder: maps an image to at least two feature maps, shallow to deep (paper: Xception-65 at strides 2,
            4, 8 and 16); all are skip connections, the last feeds the pyramid.
        classes: mask channels.
        labels: columns of class scores; 0 for neither class nor interaction branch.
        width: channels of pyramid and decoder.
        parts: the paper's modules, for its ablations.
        interaction: have an interaction branch in training, where there are labels.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W), label=(B, labels) or None), logits; in
        training with an interaction branch also joint=(B, classes, H, W). `encode` gives the maps of the skip
        connections and the output of BLF (B, width, H / 16, W / 16). Training needs at least two images.

    Raises:
        InputError: the encoder has no map at stride 4 or beyond before its deepest, or a part is unknown.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        labels: int = 0,
        width: int = 256,
        parts: FCPParts | None = None,
        interaction: bool = True,
    ) -> None:
        super().__init__()
        parts = parts or FCPParts()
        self.low = low_level(encoder.strides)
        self.msff = parts.msff
        skips = encoder.channels if parts.msff else (encoder.channels[self.low],)
        self.feature_channels = (*skips, width)
        self.minimum_size = encoder.minimum_size
        # Then all maps differ by whole factors, which DSMCA needs to resize late.
        self.size_multiple = max(encoder.strides)
        self.encoder = encoder
        rates = (1, *atrous_rates(encoder.strides[-1]))
        self.branches = nn.ModuleList(_branch(encoder.channels[-1], width, rate, parts) for rate in rates)
        self.image = ImagePooling(encoder.channels[-1], width)
        self.fuse = BranchFusion(width, len(rates), parts.blf)
        skip_width = width if parts.msff else LOW_CHANNELS
        self.skips = nn.ModuleList(
            DSMCA(c, skip_width) if parts.dsmca_decoder else ConvBNReLU(c, skip_width, kernel=1)
            for c in skips
        )
        joined = width if parts.msff else width + LOW_CHANNELS
        self.refine = nn.Sequential(SeparableConv(joined, width), SeparableConv(width, width))
        self.classify = nn.Conv2d(width, classes, kernel_size=1)
        self.class_branch = ClassBranch(width, labels) if labels else None
        self.interaction_branch = InteractionBranch(width, 32, classes) if labels and interaction else None

    def encode(self, image: Tensor) -> list[Tensor]:
        maps = self.encoder(image)
        deepest = maps[-1]  # (B, 2048, H/16, W/16)
        branches = [branch(deepest) for branch in self.branches]  # four of (B, width, H/16, W/16)
        fused = self.fuse(branches, self.image(deepest))  # (B, width, H/16, W/16)
        return [*(maps if self.msff else [maps[self.low]]), fused]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        *maps, fused = features
        low = maps[self.low] if self.msff else maps[0]
        target = (low.shape[-2], low.shape[-1])
        refined = [_refine(skip, m, target) for skip, m in zip(self.skips, maps, strict=True)]
        y = resize_to(fused, target)  # (B, width, H/4, W/4)
        if self.msff:
            for r in refined:
                y = y + r
        else:
            y = torch.cat([y, *refined], dim=1)  # (B, width + 48, H/4, W/4)
        return resize_to(self.classify(self.refine(y)), size)

    def predict(self, image: Tensor) -> Prediction:
        features = self.encode(image)
        mask = self.decode(features, (image.shape[-2], image.shape[-1]))
        if self.class_branch is None:
            return Prediction(mask=mask)
        label, hidden = self.class_branch(features[-1])  # (B, labels), (B, 32)
        joint = None
        if self.training and self.interaction_branch is not None:
            joint = self.interaction_branch(features[-1], hidden, mask)  # (B, classes, H, W)
        return Prediction(mask=mask, label=label, joint=joint)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.fuse,)

    def remove_training_branches(self) -> None:
        self.interaction_branch = None


def _branch(channels: int, width: int, rate: int, parts: FCPParts) -> nn.Module:
    """Build one dilated branch of the pyramid."""
    branch: nn.Module
    if parts.efe:
        branch = EmbeddedFeatureEnsemble(
            channels, width, rate, parts.efe_dropout, parts.efe_residual, parts.trainable_beta
        )
    elif rate == 1:
        branch = ConvBNReLU(channels, width, kernel=1)
    else:
        branch = SeparableConv(channels, width, rate)
    return nn.Sequential(branch, DSMCA(width)) if parts.dsmca_encoder else branch


def _refine(skip: nn.Module, m: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a stage's map and refine it; DSMCA chooses the order that costs less."""
    y: Tensor = skip(m, size) if isinstance(skip, DSMCA) else skip(resize_to(m, size))
    return y


def build_fcpnet(
    *,
    classes: int,
    labels: int,
    encoder: str,
    pretrained: bool | str,
    output_stride: Literal[8, 16, 32] = 16,
    width: int = 256,
    interaction: bool = True,
    efe: bool = True,
    dsmca_encoder: bool = True,
    blf: Fusion = "cascade",
    msff: bool = True,
    dsmca_decoder: bool = True,
    efe_dropout: float = DROPOUT,
    efe_residual: bool = True,
    trainable_beta: bool = False,
) -> SegmentationModel:
    """Build the table's row."""
    network = create_encoder(
        encoder, levels=(0, 1, 2, -1), pretrained=pretrained, output_stride=output_stride
    )
    parts = FCPParts(
        efe=efe,
        dsmca_encoder=dsmca_encoder,
        blf=blf,
        msff=msff,
        dsmca_decoder=dsmca_decoder,
        efe_dropout=efe_dropout,
        efe_residual=efe_residual,
        trainable_beta=trainable_beta,
    )
    return FCPNet(network, classes, labels, width, parts, interaction)
