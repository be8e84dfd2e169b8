"""Make an image large enough and evenly divisible for a network, and undo it on the output."""

import torch.nn.functional as F
from torch import Tensor


def pad_image(image: Tensor, *, multiple: int = 1, minimum: int = 1) -> Tensor:
    """Pad (B, C, H, W) at the bottom and the right by repeating the border pixels.

    Repeating the border, not adding black, because a black frame is an edge that a network may react to.

    Args:
        image: any dtype that `torch.nn.functional.pad` repeats (floats, uint8 on the CPU).
        multiple: height and width of the result are divisible by it.
        minimum: height and width of the result are at least this, rounded up to `multiple`.

    Returns:
        (B, C, H', W'), H <= H', W <= W'; the very same tensor when nothing is missing.
    """
    height, width = image.shape[-2:]
    bottom = _rounded(max(height, minimum), multiple) - height
    right = _rounded(max(width, minimum), multiple) - width
    if bottom == 0 and right == 0:
        return image
    return F.pad(image, (0, right, 0, bottom), mode="replicate")


def crop_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo `pad_image`: keep the top left `size` (height, width) of (B, C, H, W)."""
    return x[..., : size[0], : size[1]]


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
