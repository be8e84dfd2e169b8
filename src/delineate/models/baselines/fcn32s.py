"""FCN-32s: score every place of the deepest map and enlarge the scores.

Source: Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, arXiv:1411.4038,
section 4.2. The CHNet paper takes its decoder as the simplest there is (section 4.2, Table 6).

Known differences and readings:
  - VGG-16's two fully connected layers (4096 wide) are not carried over: the score layer stands on the last
    convolutional map, so that any encoder fits and the decoder has as few weights as the CHNet paper says.
  - No padding by 100 pixels: the encoder pads. Enlarging is bilinear, which the paper's last layer is fixed
    to; the factor is the deepest map's stride, 32 unless `depth` cuts the encoder.
"""

from typing import Literal

from torch import Tensor, nn

from delineate.layers.conv import resize_to
from delineate.layers.encoders import Encoder, create_encoder
from delineate.models.base import SegmentationModel, Tap
from delineate.models.baselines.common import baseline_encoder


class FCN32s(SegmentationModel):
    """Segment by a linear classifier on the deepest map.

    Args:
        encoder: maps an image to one or more feature maps, shallow to deep.
        classes: mask channels.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).
    """

    def __init__(self, encoder: Encoder, classes: int = 1) -> None:
        super().__init__()
        self.encoder = encoder
        self.feature_channels = encoder.channels
        self.minimum_size = encoder.minimum_size
        self.size_multiple = encoder.strides[-1]
        self.deepest = Tap()
        self.head = nn.Conv2d(encoder.channels[-1], classes, kernel_size=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        *others, deepest = self.encoder(image)
        return [*others, self.deepest(deepest)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return resize_to(self.head(features[-1]), size)  # (B, classes, h, w) -> (B, classes, H, W)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)


def build_fcn32s(
    *,
    classes: int,
    labels: int = 0,
    encoder: str = "vgg16",
    pretrained: bool | str = False,
    depth: Literal["all", 2, 3, 4, 5] = "all",
) -> FCN32s:
    """Build the table's `fcn32s`.

    Args:
        classes: mask channels.
        labels: 0; it has no class branch.
        encoder: a timm network, or "unet" for U-Net's contracting path.
        pretrained: False, True (hub) or the path of a local file, for timm networks.
        depth: number of encoder levels used; "all" ends at stride 32 in most networks.

    Raises:
        InputError: see `baseline_encoder` and `create_encoder`.
    """
    if encoder == "unet":
        network = baseline_encoder(encoder, depth=5 if depth == "all" else depth, pretrained=pretrained)
        return FCN32s(network, classes)
    deepest = -1 if depth == "all" else depth - 1
    return FCN32s(create_encoder(encoder, levels=(deepest,), pretrained=pretrained), classes)
