"""LossNet: compare prediction and mask as a frozen VGG-16 sees them.

Paper: Zhao et al., M2SNet, arXiv:2303.10894, section 3.2; Zhao et al., MSNet, MICCAI 2021.

    equation                                here
    (5)  L_f = l_1 + l_2 + l_3 + l_4        LossNet.__call__, the sum over levels
    (6)  l_i = ||F_P^i - F_G^i||_2          LossNet.__call__, `mse_loss`

F^1 to F^4 are VGG-16's maps after relu1_2, relu2_2, relu3_3 and relu4_3.

Readings: Eq. (6) is called Euclidean distance and L2 loss; here it is the mean of the squared differences, as
in the released code, so that image size and batch size do not change its scale. Sigmoid, three equal
channels, ImageNet's normalisation and 224 x 224 (bilinear, half-pixel centres) come from there, too.

Exact rewrite (`form="folded"`): all three channels hold the same map x, and VGG first convolves
(x - mean_c) / std_c. Its first weight w_c therefore folds over c into one map's weight sum_c w_c / std_c and
an offset -sum_c w_c mean_c / std_c. The offset is no plain bias: VGG pads the normalised image with zeros, so
at the frame only those taps count that lie inside. A second input channel of ones, which the same padding
surrounds with zeros, carries it: exact everywhere. Resizing is a weighted mean, so it commutes with the
normalisation and happens on the single map. It saves maps at the input's size rather than time: the first
convolution is 0.6 % of VGG's work up to relu4_3. In both forms the mask's features are computed without a
graph.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.layers.normalise import Normalise
from delineate.layers.precision import full_precision
from delineate.losses.common import check_choice, prepare

_SMALLEST = 16  # VGG's fourth level then is 2 x 2


class LossNet:
    """Sum over four levels of the mean squared difference between VGG-16's features of prediction and mask.

    It is deliberately no `nn.Module`: whatever holds it, its weights reach no checkpoint, no optimiser and no
    call of `train()`. They follow the logits' device and number format at each call, which costs nothing when
    they are there already.

    Args:
        pretrained: True downloads ImageNet weights, a path loads a file. False takes random weights, always
            the same ones: still a distance between shapes, but not the published loss.
        form: "folded" does less work, "literal" is the formula as written; they give the same up to rounding.
        size: side in pixels of the square that maps are resized to, at least 16.

    Shape:
        logits and target (B, C, H, W) -> scalar >= 0. One channel goes through a sigmoid, several go
        through a softmax, and each of them but the background is then a picture of its own; the pictures'
        losses are averaged.

    Raises:
        InputError: an option is wrong or the weights cannot be had (at construction); the shapes differ (at
            the call).
    """

    def __init__(
        self,
        *,
        pretrained: bool | str = True,
        form: Literal["folded", "literal"] = "folded",
        size: int = 224,
    ) -> None:
        check_choice("form", form, ("folded", "literal"))
        if size < _SMALLEST:
            raise InputError(f"Loss option size must be at least {_SMALLEST} pixels, got {size}.")
        self.form = form
        self.size = size
        with torch.random.fork_rng(devices=[]):  # repeatable, and the model's own numbers stay what they were
            torch.default_generator.manual_seed(0)
            network = create_encoder("vgg16", levels=(0, 1, 2, 3), pretrained=pretrained)
        self._normalise = Normalise.named("imagenet")
        if form == "folded":
            first = _first_convolution(network)
            folded = fold_first_convolution(first, self._normalise.mean, self._normalise.std)
            _replace_first_convolution(network, folded)
        self._network = network.eval().requires_grad_(False)

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        with full_precision(logits.device):
            logits, target = prepare(logits, target, spatial=True)
            self._network.to(logits.device, logits.dtype)
            several = logits.shape[1] > 1
            p = logits.softmax(1)[:, 1:] if several else logits.sigmoid()
            y = target[:, 1:] if several else target
            with torch.no_grad():
                wanted = self._features(y)
            loss = torch.zeros((), device=logits.device, dtype=logits.dtype)
            for found, reference in zip(self._features(p), wanted, strict=True):
                loss = loss + F.mse_loss(found, reference)  # Eq. (5), Eq. (6)
            return loss

    def _features(self, maps: Tensor) -> Sequence[Tensor]:
        """VGG's four levels of (B, C, H, W) maps in [0, 1], each map a picture of its own."""
        x = maps.flatten(0, 1)[:, None]  # (B * C, 1, H, W)
        if self.form == "literal":
            mean, std = self._normalise.mean.to(x), self._normalise.std.to(x)
            return self._network(self._resize((x.expand(-1, 3, -1, -1) - mean) / std))
        x = self._resize(x)  # (B * C, 1, size, size)
        return self._network(torch.cat([x, torch.ones_like(x)], dim=1))

    def _resize(self, x: Tensor) -> Tensor:
        return F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False)


def fold_first_convolution(first: nn.Conv2d, mean: Tensor, std: Tensor) -> nn.Conv2d:
    """Fold repetition to three channels and normalisation into a convolution.

    Args:
        first: a zero-padded convolution of (x - mean_c) / std_c.
        mean: subtracted from each channel, (1, 3, 1, 1).
        std: each channel is divided by it, (1, 3, 1, 1).

    Returns:
        The same function, up to rounding, of two channels: the map x itself, and ones.
    """
    weight = first.weight.detach().double() / std.double()  # (out, 3, k, k)
    offset = -(weight * mean.double()).sum(1)
    folded = copy.deepcopy(first)
    folded.in_channels = 2
    folded.weight = nn.Parameter(torch.stack([weight.sum(1), offset], dim=1).to(first.weight.dtype))
    return folded


def _first_convolution(network: nn.Module) -> nn.Conv2d:
    return next(module for module in network.modules() if isinstance(module, nn.Conv2d))


def _replace_first_convolution(network: nn.Module, replacement: nn.Conv2d) -> None:
    first = _first_convolution(network)
    name = next(name for name, module in network.named_modules() if module is first)
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, replacement)
