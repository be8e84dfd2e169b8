"""One phantom picture from its parameters."""

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.phantom import artefacts
from delineate.data.phantom.anatomy import LesionParameters
from delineate.data.phantom.render import paint
from delineate.data.phantom.shape import draw_outline

MIN_SIZE, MAX_SIZE = 32, 4096


def check_size(size: int) -> None:
    """Refuse a picture too small to show a lesion or too large for memory.

    Raises:
        InputError: `size` is not between 32 and 4096.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError(f"A phantom's size must be between {MIN_SIZE} and {MAX_SIZE} pixels, got {size}.")


def render_phantom(
    parameters: LesionParameters, rng: np.random.Generator, *, size: int = 256
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one picture and its true mask.

    Every part has random numbers of its own, so changing one parameter, or switching an artefact on or off,
    under the same generator state leaves everything else in the picture as it was.

    Args:
        parameters: what to show.
        rng: source of the details; eight numbers are taken from it.
        size: S, side of the picture, pixels, 32 to 4096.

    Returns:
        image, (S, S, 3) uint8 RGB, and mask, (S, S) uint8, 255 inside the lesion's outline and 0 outside;
        what lies over the lesion (hairs, bubbles, ink) still counts as lesion.

    Raises:
        InputError: `size` is out of range.
    """
    check_size(size)
    seeds = rng.integers(2**63, size=8)
    form, colour, ink, ruler, bubbles, hairs, light, sensor = (np.random.default_rng(int(s)) for s in seeds)
    outline = draw_outline(parameters, form, size)
    image = paint(parameters, outline, colour)
    if parameters.ink:
        image = artefacts.add_ink(image, ink)
    if parameters.ruler:
        image = artefacts.add_ruler(image, ruler)
    if parameters.hairs:
        image = artefacts.add_hairs(image, parameters.hairs, hairs)
    if parameters.bubbles:
        image = artefacts.add_bubbles(image, parameters.bubbles, bubbles)
    image = artefacts.add_light(image, parameters, light)
    return artefacts.photograph(image, parameters, sensor), outline.mask.astype(np.uint8) * np.uint8(255)
