"""The contracting path of U-Net as an encoder."""

from torch import Tensor, nn

from delineate.layers.conv import ConvBNReLU
from delineate.layers.encoders import Encoder


class UNetEncoder(Encoder):
    """Two 3x3 convolutions per level, 2x2 max-pooling between levels.

    Differences from the paper: zero padding keeps the size, and each convolution is batch normalised.

    Args:
        widths: channels of each level, shallow to deep.
        in_channels: channels of the image.

    Shape:
        (B, in_channels, H, W) -> list of (B, widths[i], H // 2**i, W // 2**i).

    Source:
        Ronneberger et al., U-Net, MICCAI 2015, arXiv:1505.04597, Fig. 1.
    """

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512, 1024), in_channels: int = 3) -> None:
        strides = tuple(2**level for level in range(len(widths)))
        super().__init__(channels=widths, strides=strides, minimum_size=2 * strides[-1])
        inputs = (in_channels, *widths[:-1])
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvBNReLU(before, after), ConvBNReLU(after, after))
            for before, after in zip(inputs, widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for block in self.blocks:
            maps.append(block(self.pool(maps[-1]) if maps else image))
        return maps
