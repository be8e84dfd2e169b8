"""Convolution with a fixed all-ones kernel, without the convolution."""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delineate.checks import InputError

BoxForm = Literal["exact", "literal"]


def box_sum(x: Tensor, kernel: int) -> Tensor:
    """Add up all channels of every kernel x kernel window; the map is zero-padded.

    Args:
        x: (B, C, H, W) float.
        kernel: side of the window in pixels, odd.

    Returns:
        (B, 1, H, W): each output channel of a convolution whose C x kernel x kernel weights are all 1.
    """
    summed = x.sum(dim=1, keepdim=True)  # (B, 1, H, W)
    # `divisor_override=1` would do the same, but exporters do not know it or silently ignore it.
    return F.avg_pool2d(summed, kernel, stride=1, padding=kernel // 2) * kernel**2


class FullOneFilter(nn.Module):
    """ReLU(BatchNorm(all-ones convolution)), C -> C channels, at the input's size.

    The all-ones convolution gives the same map in every output channel. "exact" therefore computes it once
    (`box_sum`) and spreads it over the channels of the normalisation, which still has its own scale and shift
    for each. The kernel is fixed and no part of the state dict, so one state dict fits both forms. The
    convolution has no bias: the released code of M2SNet has one that is fixed at 0.

    Args:
        channels: C.
        kernel: side of the window in pixels, odd.
        form: "exact", or "literal" to convolve with the ones as published.

    Shape:
        (B, C, H, W) float -> (B, C, H, W), non-negative.

    Raises:
        InputError: `kernel` is even, or `form` is none of the above.

    Source:
        Zhao et al., M2SNet, arXiv:2303.10894, section 3.1 ("full one filter").
    """

    ones: Tensor | None

    def __init__(self, channels: int, kernel: int, form: BoxForm = "exact") -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise InputError(f"The side of a box filter must be odd and positive, got {kernel}.")
        if form not in get_args(BoxForm):
            raise InputError(f"The form of a box filter must be 'exact' or 'literal', got {form!r}.")
        self.kernel = kernel
        ones = torch.ones(channels, channels, kernel, kernel) if form == "literal" else None
        self.register_buffer("ones", ones, persistent=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.ones is not None:
            return F.relu(self.norm(F.conv2d(x, self.ones, padding=self.kernel // 2)), inplace=True)
        summed = box_sum(x, self.kernel)  # (B, 1, H, W)
        norm: Any = self.norm  # torch types its statistics and affine parameters as optional
        if norm.training:
            return F.relu(norm(summed.expand_as(x)), inplace=True)  # (B, C, H, W) from C views of one map
        # With known statistics the normalisation is a scale and a shift of each channel, in one pass.
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        return torch.addcmul(shift.view(1, -1, 1, 1), scale.view(1, -1, 1, 1), summed).relu_()
