"""The reference masks that some analyses draw beside what a model found."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import read_case_mask


def read_reference(
    mask: Case | None, classes: tuple[str, ...], image: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """Read the mask of an image: binary for one class (a JPEG at 128), else class indices.

    Args:
        mask: a case whose image is the mask file, as `find_images` lists it, or None.
        classes: names of the classes.
        image: uint8 (H, W, 3), for its size.

    Returns:
        uint8 (H, W), or None without a mask.

    Raises:
        InputError: the mask cannot be read or does not fit the image.
    """
    if mask is None:
        return None
    values = tuple(range(1, len(classes) + 1)) if len(classes) > 1 else None
    lossy = mask.image.suffix.lower() in (".jpg", ".jpeg") and values is None
    encoding = MaskEncoding(classes, values=values, threshold=128 if lossy else None)
    reference = read_case_mask(replace(mask, mask=mask.image, encoding=encoding))
    if reference.shape != image.shape[:2]:
        raise InputError(
            f"The mask {mask.image} is {reference.shape[1]} x {reference.shape[0]} pixels, its image "
            f"{image.shape[1]} x {image.shape[0]}; give masks at the size of their images."
        )
    return reference
