"""Test-time augmentation: several views of one image, whose predictions are mapped back and averaged.

Flips and turns are applied to the image after it was resized to the network's size, and undone on the logits
at that size, so that nothing is interpolated twice: a network that treats all views alike gives, bit for bit,
what it gives without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from delineate.checks import InputError, choose
from delineate.data.cache import resize_image
from delineate.inference.backends import Backend, TorchBackend
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction


@dataclass(frozen=True)
class View:
    """One way to show an image to a network."""

    transpose: bool = False
    """Rows become columns, before the flips."""
    down: bool = False
    """Flip top and bottom."""
    across: bool = False
    """Flip left and right."""
    scale: float = 1.0
    """Height and width of the network's input over those it was trained with."""

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn images (B, h, w, 3)."""
        if self.transpose:
            images = images.swapaxes(1, 2)
        if self.down:
            images = images[:, ::-1]
        if self.across:
            images = images[:, :, ::-1]
        return np.ascontiguousarray(images)

    def undo(self, maps: Tensor) -> Tensor:
        """Turn maps (B, C, h, w) of such images back."""
        axes = [axis for axis, flipped in ((2, self.down), (3, self.across)) if flipped]
        if axes:
            maps = maps.flip(axes)
        return maps.transpose(2, 3) if self.transpose else maps


_BOTH = (False, True)
VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "mirror": (View(), View(across=True)),
    "flips": tuple(View(False, down, across) for down in _BOTH for across in _BOTH),
    "d4": tuple(View(turn, down, across) for turn in _BOTH for down in _BOTH for across in _BOTH),
    "scales": (View(), View(scale=0.75), View(scale=1.25)),
}
"""Name -> views, the plain one first. "d4" are the eight turns and flips of a square."""


def views_for(name: str, members: Sequence[Backend]) -> tuple[View, ...]:
    """Look up the views of a name, when every member can take them.

    Raises:
        InputError: there are no such views, or a member's size or backend does not allow them.
    """
    views = choose("test-time augmentation", name, VIEWS)
    for member in members:
        height, width = member.info.size
        if height != width and any(view.transpose for view in views):
            raise InputError(
                f"{name!r} turns images by 90 degrees, which needs a network with a square input, and "
                f"{member.info.recipe} takes {height}x{width}; choose 'flips'."
            )
        if not isinstance(member, TorchBackend) and any(view.scale != 1 for view in views):
            raise InputError(
                f"{name!r} shows the network other sizes, which {member.name} does not take; "
                "choose 'flips' or 'd4', or run the network in PyTorch."
            )
    return views


def forward_view(member: Backend, view: View, images: Sequence[NDArray[np.uint8]]) -> Prediction:
    """Run one member on one view of images of any sizes, (H, W, 3); maps are turned back.

    Returns:
        Logits on the CPU, at the size at which the network saw the view.
    """
    size = scaled_size(member, view.scale)
    shown = view.apply(np.stack([resize_image(image, size) for image in images]))
    prediction = member.forward(shown)
    if prediction.mask is None:
        return prediction
    return prediction._replace(mask=view.undo(prediction.mask))


def scaled_size(member: Backend, scale: float) -> tuple[int, int]:
    """Height and width of a view: the network's size times `scale`, rounded to what it need not pad."""
    height, width = member.info.size
    if scale == 1:
        return height, width
    model = member.model if isinstance(member, TorchBackend) else None
    multiple, minimum = (
        (model.size_multiple, model.minimum_size) if isinstance(model, SegmentationModel) else (1, 1)
    )
    least = -(-minimum // multiple) * multiple
    return (
        max(round(height * scale / multiple) * multiple, least),
        max(round(width * scale / multiple) * multiple, least),
    )
