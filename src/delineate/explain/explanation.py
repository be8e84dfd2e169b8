"""The table of explanations, and one call for all of them."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError, choose
from delineate.explain.activation import Method, activation_map
from delineate.explain.occlusion import occlusion_map
from delineate.explain.targets import Target


@dataclass(frozen=True)
class Explanation:
    """One row of the table."""

    summary: str
    """One line."""
    source: str
    """Where it comes from."""
    passes: str
    """What it costs."""


EXPLANATIONS: dict[str, Explanation] = {
    "clnet": Explanation(
        "gradients averaged over places weigh channels, ReLU before the sum, all levels",
        "CLNet, Eqs. (2) and (3)",
        "one forward and one short backward pass",
    ),
    "gradcam": Explanation(
        "gradients averaged over places weigh channels, ReLU after the sum",
        "Selvaraju et al., Grad-CAM, ICCV 2017, Eqs. (1) and (2)",
        "one forward and one short backward pass",
    ),
    "gradcam++": Explanation(
        "as Grad-CAM, with weights for each place, for several objects in one image",
        "Chattopadhyay et al., Grad-CAM++, WACV 2018, Eqs. (5) and (19)",
        "one forward and one short backward pass",
    ),
    "occlusion": Explanation(
        "how far the score falls when a window is hidden; needs no gradient",
        "Zeiler and Fergus, ECCV 2014, section 4.2",
        "one forward pass per window, about 120",
    ),
}


def explanation_map(
    model: nn.Module,
    image: Tensor,
    *,
    method: str,
    target: Target = "label",
    index: int | None = None,
    region: Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Draw a map by any method of `EXPLANATIONS`; arguments, result and errors as in `activation_map`."""
    choose("explanation", method, EXPLANATIONS)
    if method == "occlusion":
        return occlusion_map(model, image, target=target, index=index, region=region, size=size)
    return activation_map(
        model,
        image,
        method=cast(Method, method),
        target=target,
        index=index,
        region=region,
        size=size,
    )


def lesion_region(mask: NDArray[np.uint8], place: str) -> NDArray[np.bool_]:
    """Choose one connected region (8 neighbours) of a mask.

    Args:
        mask: (H, W) class indices, 0 background.
        place: "largest", or a pixel "ROW,COLUMN" inside the region, see `parse_place`.

    Returns:
        bool (H, W); regions of two classes that touch are two.

    Raises:
        InputError: the mask is empty, or `place` is no pixel of a region.
    """
    from skimage.measure import label  # slow to import

    pixel = parse_place(place)
    regions = label(mask, connectivity=2)  # equal values connect, 0 is left out
    if regions.max() == 0:
        raise InputError(
            "Nothing of what is to be explained was found, so there is no region of it; use the whole image."
        )
    if pixel is None:
        areas = np.bincount(regions.ravel())
        return cast(NDArray[np.bool_], regions == 1 + int(areas[1:].argmax()))
    if pixel[0] >= mask.shape[0] or pixel[1] >= mask.shape[1] or regions[pixel] == 0:
        raise InputError(
            f"The region's pixel must be one of those found of what is explained, within {mask.shape[0]} x "
            f"{mask.shape[1]}, got {place!r}; choose one inside the outline."
        )
    return cast(NDArray[np.bool_], regions == regions[pixel])


def parse_place(place: str) -> tuple[int, int] | None:
    """Read the name of a region: None for "largest", (row, column), counted from 0, for "ROW,COLUMN".

    Raises:
        InputError: it is neither.
    """
    if place == "largest":
        return None
    try:
        row, column = (int(part) for part in place.split(","))
    except ValueError:
        row = column = -1
    if row < 0 or column < 0:
        raise InputError(
            f"The region must be all, largest, or ROW,COLUMN of a pixel in it such as 120,64, got {place!r}."
        )
    return row, column
