"""CHNet: a pre-trained encoder and, instead of a decoder, a classification head on every pixel.

Paper: Wei et al., Only Classification Head is Sufficient for Medical Image Segmentation, PRCV 2023.
Released code: none found (the paper announces github.com/weihongbin/CHNet).

    equation                                      here
    Fig. 2, section 3.1: reduce, upsample,        PixelHead.literal
        concatenate, classify
    the same, rewritten                           PixelHead.level_maps, PixelHead.plain, PixelHead.tiled
    the same, for exported files                  PixelHead.phased
    (1)  L = L_IoU^w + L_BCE^w                    losses/structure.py

Known differences and readings:
  - The width of the head is not given. 128 reproduces the decoder's 0.15 M parameters and the 7.1 G MACs of
    Table 5 (here 8.82 M and, in the literal form, 7.20 G at 256 x 256).
  - The paper puts nothing between the 1x1 reduction and the upsampling, so neither do we. Upsampling is
    bilinear.
  - The head is convolution, batch normalisation, ReLU, convolution. The first has no bias, since the
    normalisation removes it. `head_kernel=3` (Table 6) makes both of its convolutions 3x3.
  - The encoder is `res2net50d`, the Res2Net-50 v1b that PraNet, cited for the backbone, uses.

Exact rewrite (`head="tiled"`, test_chnet.py::test_tiled_head_is_the_literal_head): a 1x1 convolution commutes
with bilinear upsampling. So each level is convolved at its own resolution with its slice of the head's first
weight, upsampled and added; the 256-channel map never exists. Where a level has so few channels that it costs
less, its reduction and its slice are multiplied into one 1x1 convolution. Normalisation, ReLU and the last
convolution follow tile by tile (layers/pyramid.py), so the 128-channel map never exists as a whole either, in
training as in evaluation. That is on a CPU; elsewhere the rewrite runs without tiles (`PixelHead.plain`).
Exported files hold a third form of the same function, made of operations that other runtimes have
(`PixelHead.phased`, layers/phases.py), where the size of the image allows it.
"""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers import phases
from delineate.layers.conv import resize_to
from delineate.layers.encoders import Encoder, create_encoder
from delineate.layers.pyramid import Moments, pyramid_head
from delineate.models.base import SegmentationModel, Tap

HeadForm = Literal["tiled", "literal"]


class PixelHead(nn.Module):
    """Classify every pixel from the features of all levels at its place.

    Args:
        channels: channels of each level.
        classes: mask channels.
        width: channels of each reduced level.
        hidden: channels between the two convolutions of the head.
        kernel: side of the head's kernels; 3 has only the literal form.
        form: "literal" as published, or "tiled", the same function with less work. One state dict fits both.

    Shape:
        list of (B, channels[i], h_i, w_i) and the size (H, W) -> logits (B, classes, H, W).
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        classes: int,
        width: int = 64,
        hidden: int = 128,
        kernel: Literal[1, 3] = 1,
        form: HeadForm = "tiled",
    ) -> None:
        super().__init__()
        self.form = form
        self.reduce = nn.ModuleList(nn.Conv2d(c, width, kernel_size=1) for c in channels)
        self.mix = nn.Conv2d(width * len(channels), hidden, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.classify = nn.Conv2d(hidden, classes, kernel, padding=kernel // 2)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        if self.form == "literal" or self.mix.kernel_size != (1, 1):
            return self.literal(features, size)
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]  # not in stubs
        if torch.compiler.is_exporting() and not self.norm.training:
            sides = [(f.shape[-2], f.shape[-1]) for f in features]
            if phases.doubles(sides, size):
                return self.phased(features, size)
        # Exporters and compilers want the plain graph; synchronised normalisation needs its own forward.
        if traced or type(self.norm) is not nn.BatchNorm2d:
            return self.plain(features, size)
        return self.tiled(features, size)

    def literal(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Fig. 2 as drawn."""
        maps = [resize_to(reduce(f), size) for reduce, f in zip(self.reduce, features, strict=True)]
        y = self.mix(torch.cat(maps, dim=1))  # (B, hidden, H, W)
        return self.classify(F.relu(self.norm(y)))

    def level_maps(self, features: list[Tensor]) -> list[Tensor]:
        """Apply reduction and first convolution at each level's own size: (B, hidden, h_i, w_i)."""
        slices = self.mix.weight.chunk(len(self.reduce), dim=1)
        return [
            _level_map(reduce, part, f) for reduce, part, f in zip(self.reduce, slices, features, strict=True)
        ]

    def plain(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Rewrite without tiles."""
        y, *others = (resize_to(m, size) for m in self.level_maps(features))
        for other in others:
            y = y + other
        return self.classify(F.relu(self.norm(y)))

    def phased(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Rewrite for exported files, in evaluation mode; the levels must be as `phases.doubles` says."""
        norm: Any = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        reduce: Any = self.reduce
        mix, width = self.mix.weight * scale[:, None, None, None], reduce[0].out_channels
        # Not chunks: exporters fold slices of constants into constants, splits they keep.
        slices = [mix[:, i * width : (i + 1) * width] for i in range(len(reduce))]
        coarse = [_level_map(r, part, f) for r, part, f in [*zip(reduce, slices, features, strict=True)][1:]]
        coarse[0] = coarse[0] + shift[:, None, None]
        return phases.phased(
            features[0],
            lambda rows: _level_map(reduce[0], slices[0], rows),
            coarse,
            lambda mixed: self.classify(F.relu(mixed)),
        )

    def tiled(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Rewrite with tiles; keeps the running statistics as `nn.BatchNorm2d` does."""
        norm: Any = self.norm  # torch types its statistics and affine parameters as optional
        classify: Any = self.classify
        own = norm.training or norm.running_mean is None
        moments = None if own else Moments(norm.running_mean, norm.running_var)
        logits, used = pyramid_head(
            self.level_maps(features),
            size,
            gamma=norm.weight,
            beta=norm.bias,
            weight=classify.weight.flatten(1),
            bias=classify.bias,
            eps=norm.eps,
            moments=moments,
        )
        if norm.training and norm.track_running_stats:
            update_statistics(norm, used, logits.shape[0] * size[0] * size[1])
        return logits


def _level_map(reduce: Any, part: Tensor, f: Tensor) -> Tensor:
    """Apply a level's reduction and its slice of the head's first weight, as one where that is cheaper."""
    channels, width, hidden = reduce.in_channels, reduce.out_channels, int(part.shape[0])
    if channels * hidden >= width * (channels + hidden):
        return F.conv2d(reduce(f), part)
    both = part.flatten(1) @ reduce.weight.flatten(1)  # two 1x1 convolutions are one matrix
    return F.conv2d(f, both[..., None, None], (part.flatten(1) * reduce.bias).sum(1))


@torch.no_grad()
def update_statistics(norm: Any, used: Moments, count: int) -> None:
    """Move running statistics as `nn.BatchNorm2d` would; `count` is the number of values per channel."""
    norm.num_batches_tracked += 1
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(used.mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_((used.variance * (count / (count - 1))).to(norm.running_var.dtype), share)


class CHNet(SegmentationModel):
    """Segment with an encoder and a pixel classification head.

    Args:
        encoder: maps an image to feature maps, shallow to deep (Fig. 2: four, at strides 2 to 16).
        classes: mask channels.
        width: channels of each reduced level.
        hidden: channels inside the head.
        head_kernel: 1, or 3 for the ablation of Table 6.
        head: "tiled" or "literal"; one function, the same state dict (see the module's docstring).

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).

    Raises:
        InputError: `head_kernel` or `head` is none of the above.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int = 1,
        width: int = 64,
        hidden: int = 128,
        head_kernel: Literal[1, 3] = 1,
        head: HeadForm = "tiled",
    ) -> None:
        super().__init__()
        if head_kernel not in (1, 3):
            raise InputError(f"Option head_kernel of chnet must be 1 or 3, got {head_kernel!r}.")
        if head not in get_args(HeadForm):
            raise InputError(f"Option head of chnet must be 'tiled' or 'literal', got {head!r}.")
        self.encoder = encoder
        self.minimum_size = encoder.minimum_size
        self.feature_channels = encoder.channels
        self.deepest = Tap()
        self.head = PixelHead(encoder.channels, classes, width, hidden, head_kernel, head)

    def encode(self, image: Tensor) -> list[Tensor]:
        *features, deepest = self.encoder(image)
        return [*features, self.deepest(deepest)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        logits: Tensor = self.head(features, size)
        return logits

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)


def build_chnet(
    *,
    classes: int,
    labels: int = 0,
    encoder: str = "res2net50d",
    pretrained: bool | str = False,
    width: int = 64,
    hidden: int = 128,
    head_kernel: Literal[1, 3] = 1,
    head: HeadForm = "tiled",
) -> CHNet:
    """Build the table's row; `labels` is 0, there is no class branch."""
    network = create_encoder(encoder, levels=(0, 1, 2, 3), pretrained=pretrained)
    return CHNet(network, classes, width, hidden, head_kernel, head)
