"""C: the colours of a lesion."""

import numpy as np

from delineate.inference.measurements.border import bands
from delineate.inference.measurements.shape import FloatArray
from delineate.inference.measurements.view import View

COLOURS = {
    "white": (0xF2, 0xF3, 0xF4),  # white
    "red": (0xAB, 0x4E, 0x52),  # moderate red
    "light_brown": (0xA6, 0x7B, 0x5B),  # light brown
    "dark_brown": (0x42, 0x25, 0x18),  # dark brown
    "blue_grey": (0x81, 0x87, 0x8B),  # bluish gray
    "black": (0x22, 0x22, 0x22),  # black
}
"""The six colours of the ABCD rule of dermoscopy, as sRGB: the NBS/ISCC centroid of each name (Kelly and
Judd, NBS Special Publication 440, 1976, as listed in Color::Library::Dictionary::NBS_ISCC)."""
PRESENT = 0.05
"""Share of the lesion that a colour must cover to count."""
FEWEST_SKIN_PIXELS = 16


def colour(view: View) -> dict[str, float | None]:
    """Measure the colours inside a region, and how much they vary.

    Returns:
        colour_NAME: share of the pixels nearest to that colour, for each of COLOURS; colours: how many of
        these cover at least 5 %; colour_sd_l, _a, _b: standard deviations of CIELAB; colour_variegation:
        root of the sum of their squares over 100. All None without an image.
    """
    names = [f"colour_{name}" for name in COLOURS]
    spread = ["colour_sd_l", "colour_sd_a", "colour_sd_b"]
    if view.lab is None:
        return dict.fromkeys([*names, "colours", *spread, "colour_variegation"])
    pixels = view.lab[view.cover >= view.half]
    shares = _shares(pixels, _skin(view))
    deviations = pixels.std(axis=0)
    values: dict[str, float | None] = dict(zip(names, shares.tolist(), strict=True))
    values["colours"] = float((shares >= PRESENT).sum())
    values |= dict(zip(spread, deviations.tolist(), strict=True))
    values["colour_variegation"] = float(np.sqrt((deviations**2).sum()) / 100)
    return values


def _skin(view: View) -> FloatArray | None:
    """The median colour around the lesion, or None when too little of it is in the picture."""
    around = bands(view)[3]
    if view.lab is None or np.count_nonzero(around) < FEWEST_SKIN_PIXELS:
        return None
    median: FloatArray = np.median(view.lab[around], axis=0)
    return median


def _shares(pixels: FloatArray, skin: FloatArray | None) -> FloatArray:
    """The share of pixels nearest to each colour; those nearest to the skin have none of the six."""
    from skimage.color import rgb2lab

    colours = rgb2lab(np.array(list(COLOURS.values()), dtype=np.uint8)[None])[0]
    references = colours if skin is None else np.concatenate([skin[None], colours])  # a tie is skin
    first = len(references) - len(colours)
    distances = ((pixels[:, None, :] - references[None]) ** 2).sum(axis=2)
    if skin is not None:  # white counts only where it is lighter than the skin
        distances[pixels[:, 0] <= skin[0], first] = np.inf
    shares: FloatArray = np.bincount(distances.argmin(axis=1), minlength=len(references)) / len(pixels)
    return shares[first:]
