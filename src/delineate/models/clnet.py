"""CLNet: one encoder for the label, one for the mask, fused at every level.

Paper: Zhang et al., Feature Fusion for Segmentation and Classification of Skin Lesions, ISBI 2021.
Released code: none found.

    equation                                      here
    FM_i = FM(EC_i, ES_i), Fig. 2                 FeatureFusion.forward
    (1)  GAP(FM_1, ..., FM_d) W^c                 CLNet.predict, `label`
    (2)  w_k = mean of dy/dX^k                    explain/
    (3)  AM = sum_k ReLU(w_k X^k)                 explain/
    (4)  De_i = De(Concat(Up(De_(i-1)), FM_i))    CLNet.decode

Known differences and readings:
  - Both encoders have five levels; FM_i joins the i-th of one with the i-th of the other, whatever their
    strides. U-Net's levels have strides 1 to 16, those of ResNet-50 and Inception V3 2 to 32: the smaller map
    is resized to the larger (here: to the mask encoder's map, whenever that is not the smaller one on both
    sides).
  - Channels after the 1x1 convolution are not given. Default: U-Net's own 64, 128, 256, 512, 1024, because
    "the decoder and skip connections keep the same as the original UNet".
  - "Convolutions with kernels of size 3x3" is plural: two, each with batch normalisation and ReLU, as is the
    1x1.
  - The squeeze-and-excitation block reduces 16 times, its paper's value.
  - De_0 is FM_d, the deepest; a decoder block is U-Net's two 3x3 convolutions with as many channels as its
    FM_i. Upsampling is bilinear (Eq. 4), not U-Net's transposed convolution. A 1x1 convolution gives the
    mask, which is upsampled to the image's size where the mask encoder starts at stride 2.
  - The label branch keeps its network's encoder only; its fully connected layer is W^c, with a bias.
  - Only the label encoder starts from ImageNet, as the paper says; `mask_pretrained` is an option for a timm
    mask encoder. The encoder learning-rate factor acts on what can be pre-trained: the label encoder, and the
    mask encoder when it comes from timm.
  - All d maps go through the pooling, so the X^k of Eqs. (2) and (3) are the channels of all of them; how
    maps of different sizes are added is said in explain/activation.py.
  - The paper trains one binary model per disease; any number of labels works. Without labels only Eq. (1) is
    missing.
"""

import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.conv import ConvBNReLU, resize_like, resize_to
from delineate.layers.encoders import Encoder, TimmEncoder, create_encoder
from delineate.layers.squeeze import SqueezeExcite
from delineate.layers.unet_encoder import UNetEncoder
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction


class FeatureFusion(nn.Module):
    """Fuse one level of both encoders, Fig. 2.

    Args:
        label_channels: channels of EC_i.
        mask_channels: channels of ES_i.
        width: channels of FM_i.
        reduction: of the squeeze-and-excitation block.

    Shape:
        (B, label_channels, h, w) and (B, mask_channels, h', w') -> (B, width, *the larger of both sizes).
    """

    def __init__(self, label_channels: int, mask_channels: int, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.reduce = ConvBNReLU(label_channels + mask_channels, width, kernel=1)
        self.attend = SqueezeExcite(width, min(reduction, width))
        self.refine = nn.Sequential(ConvBNReLU(width, width), ConvBNReLU(width, width))

    def forward(self, label_map: Tensor, mask_map: Tensor) -> Tensor:
        if label_map.shape[-2:].numel() > mask_map.shape[-2:].numel():
            mask_map = resize_like(mask_map, label_map)
        label_map = resize_like(label_map, mask_map)
        both = torch.cat([label_map, mask_map], dim=1)
        return self.refine(self.attend(self.reduce(both)))


class CLNet(SegmentationModel):
    """Segment and classify with two encoders that share their features.

    Args:
        label_encoder: EC, five levels (paper: ResNet-50 or Inception V3).
        mask_encoder: ES, five levels (paper: U-Net's contracting path, or ResNet-50 = "ResUNet").
        classes: mask channels.
        labels: columns of class scores; 0 for no class branch.
        widths: channels of the fused maps, shallow to deep.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W), label=(B, labels) or None), logits.

    Raises:
        InputError: the encoders and `widths` do not have equally many levels.
    """

    def __init__(
        self,
        label_encoder: Encoder,
        mask_encoder: Encoder,
        classes: int = 1,
        labels: int = 1,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
    ) -> None:
        super().__init__()
        levels = {len(label_encoder.channels), len(mask_encoder.channels), len(widths)}
        if len(levels) > 1 or min(widths) < 1:
            raise InputError(
                f"CLNet needs as many widths (at least 1 each) as levels of both encoders: {list(widths)} "
                f"for {len(label_encoder.channels)} and {len(mask_encoder.channels)} levels."
            )
        self.minimum_size = max(label_encoder.minimum_size, mask_encoder.minimum_size)
        self.feature_channels = widths
        self.label_encoder = label_encoder
        self.mask_encoder = mask_encoder
        self.fuse = nn.ModuleList(
            FeatureFusion(c, s, width)
            for c, s, width in zip(label_encoder.channels, mask_encoder.channels, widths, strict=True)
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(ConvBNReLU(deep + width, width), ConvBNReLU(width, width))
            for width, deep in zip(widths[:-1], widths[1:], strict=True)
        )
        self.mask_head = nn.Conv2d(widths[0], classes, kernel_size=1)
        self.label_head = nn.Linear(sum(widths), labels) if labels else None

    def encode(self, image: Tensor) -> list[Tensor]:
        pairs = zip(self.fuse, self.label_encoder(image), self.mask_encoder(image), strict=True)
        return [fuse(label_map, mask_map) for fuse, label_map, mask_map in pairs]  # FM_1 .. FM_d

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        y = features[-1]
        for decode, f in zip(reversed(self.decoders), reversed(features[:-1]), strict=True):
            y = decode(torch.cat([resize_like(y, f), f], dim=1))  # Eq. (4)
        return resize_to(self.mask_head(y), size)

    def predict(self, image: Tensor) -> Prediction:
        fused = self.encode(image)
        label = None
        if self.label_head is not None:
            pooled = torch.cat([f.mean((2, 3)) for f in fused], dim=1)  # (B, sum of widths)
            label = self.label_head(pooled)  # Eq. (1)
        return Prediction(mask=self.decode(fused, (image.shape[-2], image.shape[-1])), label=label)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return tuple(e for e in (self.label_encoder, self.mask_encoder) if isinstance(e, TimmEncoder))

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return tuple(self.fuse)


def build_clnet(
    *,
    classes: int,
    labels: int,
    encoder: str,
    pretrained: bool | str,
    mask_encoder: str = "unet",
    mask_pretrained: bool | str = False,
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
) -> SegmentationModel:
    """Build the table's row.

    Raises:
        InputError: pre-trained weights are asked for U-Net's own encoder, which has none.
    """
    levels = tuple(range(len(widths)))
    label_network = create_encoder(encoder, levels=levels, pretrained=pretrained)
    mask_network: Encoder
    if mask_encoder == "unet":
        if mask_pretrained:
            raise InputError(
                "Option 'mask_pretrained' of model 'clnet' needs a timm mask_encoder: "
                "U-Net's own has no published weights; set it to false."
            )
        mask_network = UNetEncoder(widths)
    else:
        mask_network = create_encoder(mask_encoder, levels=levels, pretrained=mask_pretrained)
    return CLNet(label_network, mask_network, classes, labels, widths)
