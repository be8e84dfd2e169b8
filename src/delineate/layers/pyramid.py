"""Sum of bilinearly upsampled maps, normalised, rectified and projected, without ever storing the large map.

The plain form of what this file computes is four lines:

    s = sum(F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps)   # (B, C, H, W)
    y = torch.relu((s - mean) / torch.sqrt(variance + eps) * gamma + beta)                # (B, C, H, W)
    logits = torch.einsum("kc,bchw->bkhw", weight, y) + bias                              # (B, K, H, W)

C is large and K is small, so `s` and `y` dominate time and memory. Here the image is cut into tiles (a few
rows of one image) that fit into the processor's cache; each is upsampled, used and dropped, and the backward
pass computes it again. Maps are upsampled one axis at a time, in channels-last order, which is several times
faster on a CPU than upsampling whole maps. Tiles are cut for a CPU's cache; elsewhere models use the plain
form.
Values and gradients are those of the plain form up to rounding.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from delineate.layers.precision import full_precision

CPU_TILE = 2**19
"""Values in one tile per thread: 2 MB, which a CPU core's cache holds."""


class Moments(NamedTuple):
    """Per-channel mean and biased variance over images and pixels, (C,) each."""

    mean: Tensor
    variance: Tensor


class _Tile(NamedTuple):
    images: slice
    start: int
    stop: int


def _tiles(batch: int, size: tuple[int, int], channels: int) -> Iterator[_Tile]:
    budget = CPU_TILE * torch.get_num_threads()
    row = channels * size[1]
    images = min(batch, max(1, budget // (row * size[0])))
    rows = min(size[0], max(1, budget // (row * images)))
    for first in range(0, batch, images):
        for start in range(0, size[0], rows):
            yield _Tile(slice(first, min(first + images, batch)), start, min(start + rows, size[0]))


def _neighbours(tile: _Tile, source: int, target: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows above and below each target row, and the share of the row below, (R, 1, 1)."""
    position = torch.arange(tile.start, tile.stop, device=like.device, dtype=torch.float64)
    position = ((position + 0.5) * (source / target) - 0.5).clamp_(min=0)
    above = position.floor().long()
    below = (above + 1).clamp_(max=source - 1)
    return above, below, (position - above).to(like.dtype)[:, None, None]


def _upsample(maps: list[Tensor], size: tuple[int, int], tile: _Tile) -> Tensor:
    """Sum the upsampled maps (B, h, w, C) over one tile: (b, R, W, C)."""
    total = maps[0].new_zeros(())
    for index, m in enumerate(maps):
        above, below, share = _neighbours(tile, m.shape[1], size[0], m)
        part = m[tile.images]
        rows = torch.lerp(part.index_select(1, above), part.index_select(1, below), share)
        wide = F.interpolate(
            rows.permute(0, 3, 1, 2), size=(rows.shape[1], size[1]), mode="bilinear", align_corners=False
        ).permute(0, 2, 3, 1)
        total = wide.contiguous() if index == 0 else total.add_(wide)
    return total


def _upsample_transposed(gradient: Tensor, sums: list[Tensor], size: tuple[int, int], tile: _Tile) -> None:
    """Add the transpose of `_upsample`, applied to `gradient` (b, R, W, C), to `sums` (B, h, w, C)."""
    wide = gradient.permute(0, 3, 1, 2)
    for total in sums:
        narrow = torch.ops.aten.upsample_bilinear2d_backward(
            wide,
            [wide.shape[2], size[1]],
            [wide.shape[0], wide.shape[1], wide.shape[2], total.shape[2]],
            False,
            None,
            None,
        ).permute(0, 2, 3, 1)
        above, below, share = _neighbours(tile, total.shape[1], size[0], total)
        part = total[tile.images]
        part.index_add_(1, above, narrow * (1 - share))
        part.index_add_(1, below, narrow * share)


def _weights(like: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how much each pixel of a map (B, h, w, C) counts in the upsampled map, (1, h, w, 1)."""
    height, width = like.shape[1:3]
    return torch.ops.aten.upsample_bilinear2d_backward(
        like.new_ones(1, 1, *size), [*size], [1, 1, height, width], False, None, None
    ).view(1, height, width, 1)


class _PyramidHead(torch.autograd.Function):
    """See the module's docstring; with `moments` None the batch's own, differentiated through."""

    @staticmethod
    def forward(
        ctx: Any,
        size: tuple[int, int],
        eps: float,
        moments: Moments | None,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        bias: Tensor,
        *maps: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        with full_precision(maps[0].device):
            own = moments is None
            rows = [m.permute(0, 2, 3, 1).contiguous() for m in _float(maps)]  # (B, h, w, C)
            gamma, beta, weight, bias = _float((gamma, beta, weight, bias))
            batch, channels = maps[0].shape[:2]
            if moments is None:
                moments = _moments(rows, size)
            scale = gamma * torch.rsqrt(moments.variance + eps)
            shift = beta - moments.mean * scale
            logits = rows[0].new_empty(batch, *size, weight.shape[0])
            for tile in _tiles(batch, size, channels):
                y = _upsample(rows, size, tile).mul_(scale).add_(shift).relu_()
                logits[tile.images, tile.start : tile.stop] = torch.matmul(y, weight.T) + bias
            ctx.save_for_backward(*moments, gamma, beta, weight, *rows)
            ctx.size, ctx.eps, ctx.own = size, eps, own
            ctx.types = [m.dtype for m in maps]
            ctx.mark_non_differentiable(*moments)
            return logits.permute(0, 3, 1, 2).contiguous(), *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logits: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        mean, variance, gamma, beta, weight, *rows = ctx.saved_tensors
        with full_precision(mean.device):
            size, channels = ctx.size, gamma.numel()
            g = grad_logits.to(mean.dtype).permute(0, 2, 3, 1)  # (B, H, W, K)
            inverse = torch.rsqrt(variance + ctx.eps)
            grad_gamma, grad_beta = torch.zeros_like(gamma), torch.zeros_like(beta)
            grad_weight = torch.zeros_like(weight)
            # What reaches the maps through each pixel, and (own moments only) the normalised map itself.
            direct = [torch.zeros_like(m) for m in rows]
            normalised = [torch.zeros_like(m) for m in rows] if ctx.own else []
            for tile in _tiles(g.shape[0], size, channels):
                g_tile = g[tile.images, tile.start : tile.stop]
                x = _upsample(rows, size, tile).sub_(mean).mul_(inverse)  # normalised, (b, R, W, C)
                if ctx.own:
                    _upsample_transposed(x, normalised, size, tile)
                y = torch.addcmul(beta, x, gamma).relu_()
                flat = g_tile.reshape(-1, weight.shape[0])
                grad_weight += flat.T @ y.view(-1, channels)
                grad_y = torch.matmul(g_tile, weight).mul_(y > 0)
                grad_beta += grad_y.sum((0, 1, 2))
                grad_gamma += x.mul_(grad_y).sum((0, 1, 2))
                _upsample_transposed(grad_y, direct, size, tile)
            count = g.shape[0] * size[0] * size[1]
            for i, d in enumerate(direct):
                if ctx.own:
                    d.sub_(_weights(d, size) * (grad_beta / count)).sub_(normalised[i] * (grad_gamma / count))
                d.mul_(gamma * inverse)
            grad_maps = [d.permute(0, 3, 1, 2).to(dtype) for d, dtype in zip(direct, ctx.types, strict=True)]
            return None, None, None, grad_gamma, grad_beta, grad_weight, g.sum((0, 1, 2)), *grad_maps


def _moments(rows: list[Tensor], size: tuple[int, int]) -> Moments:
    """Mean and variance of the upsampled sum, accumulated around a guess of the mean, so nothing cancels."""
    batch, channels = rows[0].shape[0], rows[0].shape[3]
    guess = torch.stack([m.mean((0, 1, 2)) for m in rows]).sum(0)
    first, second = torch.zeros_like(guess), torch.zeros_like(guess)
    for tile in _tiles(batch, size, channels):
        x = _upsample(rows, size, tile).sub_(guess)
        first += x.sum((0, 1, 2))
        second += x.square_().sum((0, 1, 2))
    count = batch * size[0] * size[1]
    offset = first / count
    return Moments(guess + offset, (second / count - offset.square()).clamp_(min=0))


def _float(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Compute in float32 at least: half precision would lose the moments."""
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def pyramid_head(
    maps: list[Tensor],
    size: tuple[int, int],
    *,
    gamma: Tensor,
    beta: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    moments: Moments | None,
) -> tuple[Tensor, Moments]:
    """Upsample, sum, batch-normalise, rectify and project, tile by tile.

    Args:
        maps: (B, C, h, w) each, any h and w up to `size`.
        size: height and width of the result.
        gamma: (C,) scale of the normalisation.
        beta: (C,) shift of the normalisation.
        weight: (K, C) projection.
        bias: (K,) of the projection.
        eps: added to the variance.
        moments: fixed mean and variance to normalise with; None takes those of this batch (training).

    Returns:
        Logits (B, K, *size), float32 (float64 for float64 maps), and the moments used, which carry no
        gradient.

    Raises:
        ValueError: batch moments of a single value per channel.
    """
    if moments is None and maps[0].shape[0] * size[0] * size[1] == 1:
        raise ValueError("Expected more than 1 value per channel when training, got one image of one pixel.")
    logits, mean, variance = _PyramidHead.apply(size, eps, moments, gamma, beta, weight, bias, *maps)
    return logits, Moments(mean, variance)
