"""Bilinear enlargement of a pyramid without its full-size map, out of operations that every runtime has.

Enlarged twofold, the pixels of a map fall into four phases (even or odd row, even or odd column), and within
one phase each pixel is the same weighted mean of 2 x 2 neighbours: a depthwise convolution with constant
weights. Coarser levels (4, 8, 16, ... pixels of the image per cell) bend only where 2 x 2 blocks of pixels
meet. At these corners they are evaluated and added, at half the image's size; from there each phase is again
one depthwise convolution. All of it is exact.

The image is taken in strips of rows, so that what one operation writes is still in the processor's cache when
the next one reads it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP = 400_000
"""Values of one strip's map, per image of the batch: 16 rows of 176 cells with 128 channels."""

_NEAR, _FAR = 0.75, 0.25
"""Weights of the two neighbours in twofold linear enlargement."""


def doubles(shapes: list[tuple[int, int]], size: tuple[int, int]) -> bool:
    """Say whether the levels, two or more, have exactly 1/2, 1/4, 1/8, ... of the image's height and width.

    Never so for sizes that a trace keeps open: strips need numbers.
    """
    fixed = all(isinstance(side, int) for shape in (*shapes, size) for side in shape)
    return (
        fixed
        and len(shapes) > 1
        and all((h * 2 ** (i + 1), w * 2 ** (i + 1)) == size for i, (h, w) in enumerate(shapes))
    )


def phased(
    first: Tensor,
    level_map: Callable[[Tensor], Tensor],
    coarse: list[Tensor],
    decide: Callable[[Tensor], Tensor],
    strip: int | None = None,
) -> Tensor:
    """Enlarge all levels to the image's size, add them and apply `decide` to each pixel.

    Args:
        first: features at half the image's size, (B, C0, h, w).
        level_map: 1x1 operations that make of rows of `first` a map of C channels.
        coarse: maps (B, C, h / 2, w / 2), (B, C, h / 4, w / 4), ...; see `doubles`.
        decide: applied to (B, C, rows, w); keeps the size and gives K channels.
        strip: rows of `first` at a time, even; by default as many as `STRIP` allows.

    Returns:
        (B, K, 2 * h, 2 * w), as if all maps had been resized with `align_corners=False`.
    """
    channels, height, width = coarse[0].shape[1], first.shape[2], first.shape[3]
    if strip is None:
        strip = max(2, STRIP // (width * channels) // 2 * 2)
    rows = []
    deeper = corners_of_deeper(coarse[1:])
    for start in range(0, height, strip):
        stop = min(start + strip, height)
        own = level_map(_bordered(first, start, stop))  # (B, C, rows + 2, w + 2)
        rest = corners(_bordered(coarse[0], start // 2, stop // 2))  # (B, C, rows + 1, w + 1)
        if deeper is not None:
            rest = rest + lift(deeper[:, :, start // 2 : stop // 2 + 1])
        phases = [decide(_phase(own, rest, down, right)) for down in (0, 1) for right in (0, 1)]
        rows.append(torch.stack(phases, dim=2).flatten(1, 2))  # (B, K * 4, rows, w)
    return F.pixel_shuffle(torch.cat(rows, dim=2), 2)


def _bordered(x: Tensor, start: int, stop: int) -> Tensor:
    """Return rows `start` to `stop` with one more cell on every side; the map's border is repeated."""
    above, below = int(start == 0), int(stop == x.shape[2])
    x = x[:, :, start + above - 1 : stop + 1 - below]
    return F.pad(x, (1, 1, above, below), mode="replicate")


def corners(x: Tensor) -> Tensor:
    """Evaluate a bilinear map at the corners and the middles of its cells, from x with a border of one cell.

    Shape:
        (B, C, n + 2, m + 2) -> (B, C, 2 * n + 1, 2 * m + 1).
    """
    return lift(x)[..., 1:-1, 1:-1]


def lift(x: Tensor) -> Tensor:
    """Halve the spacing of a grid linearly: (B, C, n, m) -> (B, C, 2 * n - 1, 2 * m - 1)."""
    size = (2 * x.shape[2] - 1, 2 * x.shape[3] - 1)
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def corners_of_deeper(maps: list[Tensor]) -> Tensor | None:
    """Add levels of halving size at the corners and middles of the first one's cells; None for no level."""
    total = None
    for x in reversed(maps):
        own = corners(_bordered(x, 0, x.shape[2]))
        total = own if total is None else own + lift(total)
    return total


def _phase(own: Tensor, rest: Tensor, down: int, right: int) -> Tensor:
    """Return one of the four phases, from maps that `phased` describes: (B, C, rows, w)."""
    vertical = own.new_tensor([_NEAR, _FAR] if down else [_FAR, _NEAR])
    horizontal = own.new_tensor([_NEAR, _FAR] if right else [_FAR, _NEAR])
    kernel = vertical[:, None] * horizontal
    channels = own.shape[1]
    # The map with the border needs a corner of the 3 x 3 kernel: no copy of a part of it has to be made.
    wide = F.pad(kernel, (right, 1 - right, down, 1 - down)).expand(channels, 1, 3, 3)
    narrow = kernel.flip(0, 1).expand(channels, 1, 2, 2)
    return F.conv2d(own, wide, groups=channels) + F.conv2d(rest, narrow, groups=channels)
