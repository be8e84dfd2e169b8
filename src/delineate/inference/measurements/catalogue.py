"""MEASUREMENTS: everything that is measured of a lesion, with unit, definition and source.

`measure` gives each lesion a value, or None, under every one of these names, so that tables have the same
columns whatever was measured. docs/reference/measurements.md is written from this table.
"""

from dataclasses import dataclass
from typing import Literal

from delineate.inference.measurements.border import ABRUPT, BAND, NO_EDGE, SHORTEST
from delineate.inference.measurements.colour import COLOURS, PRESENT
from delineate.inference.measurements.view import SMALLEST_AREA

Needs = Literal["mask", "image", "spacing"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one number of a lesion means."""

    unit: str
    """px, px2, mm, mm2, L*a*b* for a distance in CIELAB, or "" for a number without a unit."""
    summary: str
    """A few words, for a table's head or a tooltip."""
    definition: str
    """How it is computed, its range, and when it is None."""
    source: str
    """Who defined it, or "own definition"."""
    needs: Needs = "mask"
    """What must be given beyond the mask: without it the value is None."""


STOLZ = "Stolz et al., Eur J Dermatol 1994;4:521-527"
_SPECK = f" None below {SMALLEST_AREA} pixels."
_LENGTHS = {
    "perimeter": (
        "length of the outline",
        "Crofton's formula with four directions, outlines of holes included. Of discs at most 2.5 % off "
        "from 10 pixels radius and 0.5 % from 50; about 5 % too short for a square along the axes.",
        "scikit-image, perimeter_crofton; extended to oblong pixels",
    ),
    "equivalent_diameter": (
        "diameter of the disc of the same area",
        "2 sqrt(area / pi).",
        "scikit-image, equivalent_diameter_area",
    ),
    "feret_max": (
        "largest diameter",
        "Longest distance of two points of the region, its pixels taken as squares: exact, so a pixel has "
        "sqrt(2), and a disc of radius r 1 to 1.5 pixels more than 2 r.",
        "definition, on the convex hull",
    ),
    "feret_min": (
        "smallest width",
        "Smallest distance of two parallel lines that enclose the region, pixels taken as squares: exact.",
        "definition, on the convex hull",
    ),
    "major_axis": (
        "long axis of the ellipse with the same second moments",
        "4 sqrt(larger eigenvalue of the covariance of the pixel centres); 0 for one pixel.",
        "scikit-image, axis_major_length",
    ),
    "minor_axis": (
        "short axis of the ellipse with the same second moments",
        "4 sqrt(smaller eigenvalue of the covariance of the pixel centres); 0 for a line one pixel wide.",
        "scikit-image, axis_minor_length",
    ),
}
LENGTHS = tuple(_LENGTHS)
"""Names that exist with _px and with _mm."""


def _lengths() -> dict[str, Measurement]:
    rows = {}
    for name, (summary, definition, source) in _LENGTHS.items():
        rows[f"{name}_px"] = Measurement("px", summary, definition, source)
        same = f"As {name}_px, with the height and the width of a pixel."
        rows[f"{name}_mm"] = Measurement("mm", summary, same, source, "spacing")
    return rows


def _colours() -> dict[str, Measurement]:
    rows = {}
    for name, rgb in COLOURS.items():
        spoken = name.replace("_", "-")
        definition = (
            f"Share, 0 to 1, of the region's pixels to which #{bytes(rgb).hex()} is nearest in CIELAB, of "
            "the six colours and the median colour of the skin around the lesion"
        )
        definition += ", and which are lighter than that skin." if name == "white" else "."
        rows[f"colour_{name}"] = Measurement(
            "",
            f"share of {spoken}",
            definition + _SPECK,
            f"colours: {STOLZ}; values: NBS/ISCC centroids; rule: own definition",
            "image",
        )
    return rows


MEASUREMENTS: dict[str, Measurement] = {
    "area_px": Measurement("px2", "area", "Number of the region's pixels; holes do not count.", "definition"),
    "area_mm2": Measurement("mm2", "area", "area_px times the area of a pixel.", "definition", "spacing"),
    **_lengths(),
    "eccentricity": Measurement(
        "",
        "how elongated",
        "sqrt(1 - (minor axis / major axis)^2): 0 for a disc, 1 for a line.",
        "scikit-image, eccentricity",
    ),
    "solidity": Measurement(
        "",
        "share of the convex hull",
        "Area over the area of the convex hull, pixels taken as squares: at most 1; 0.98 for a disc of 50 "
        "pixels radius, because its edge is stepped.",
        "definition; scikit-image counts the hull's pixels instead",
    ),
    "circularity": Measurement(
        "",
        "how round",
        "4 pi area / perimeter^2: 1 for a disc, less for other shapes and with holes; above 1, up to 1.75, "
        "for specks, because the perimeter is an estimate.",
        "definition; also called form factor",
    ),
    "touches_frame": Measurement(
        "",
        "touches the frame",
        "1 when the region has a pixel in the first or last row or column: size and shape are then those of "
        "the visible part. Else 0.",
        "definition",
    ),
    "asymmetry_1": Measurement(
        "",
        "A: asymmetry about the better axis",
        "The region is mirrored about each of its two principal axes through the centroid; the smaller "
        "share, 0 to 1, of its area that falls outside it. With equal axes the rows and columns are taken."
        + _SPECK,
        f"idea: {STOLZ}; axes and area: own definition after the folding used in the literature",
    ),
    "asymmetry_2": Measurement(
        "",
        "A: asymmetry about both axes",
        "Sum of the two shares of asymmetry_1, 0 to 2." + _SPECK,
        "as asymmetry_1",
    ),
    "colour_asymmetry_1": Measurement(
        "L*a*b*",
        "A: colour asymmetry about the better axis",
        "Mean colour difference (CIE 1976) of the pixels and their mirror images about a principal axis, "
        "where both are in the region; the smaller of the two axes." + _SPECK,
        f"idea: {STOLZ}, which judges colour and structure besides the outline; own definition",
        "image",
    ),
    "colour_asymmetry_2": Measurement(
        "L*a*b*",
        "A: colour asymmetry about the worse axis",
        "As colour_asymmetry_1, the larger of the two axes." + _SPECK,
        "as colour_asymmetry_1",
        "image",
    ),
    "border_compactness": Measurement(
        "",
        "B: irregularity of the outline",
        "perimeter^2 / (4 pi area) of the region with its holes filled: about 1 for a disc, else more."
        + _SPECK,
        "irregularity index, Golston et al., Comput Med Imaging Graph 1992;16:199-203",
    ),
    "border_fractal_dimension": Measurement(
        "",
        "B: fractal dimension of the outline",
        "Box counting on the outline, holes filled, with boxes of 1, 2, 4, ... pixels up to a quarter of the "
        "longer side: about 1 when smooth. Of oblong pixels the longer side counts. None for a region "
        f"shorter than {SHORTEST} pixels or of fewer than {SMALLEST_AREA}.",
        "box counting; for skin lesions: Piantanelli et al., Med Biol Eng Comput 2005;43:436-442",
    ),
    "border_cutoff": Measurement(
        "",
        "B: abruptness of the border",
        "In each of eight segments around the centroid: L* in a band just outside the outline minus L* in a "
        "band just inside, over the same difference well outside and well inside, kept between 0 and 1; mean "
        f"of the segments. The bands are {BAND:.0%} of the equivalent diameter wide; a segment whose "
        f"lightness differs by less than {NO_EDGE:g} has 0. None when a segment leaves the picture." + _SPECK,
        f"idea: {STOLZ}; own definition",
        "image",
    ),
    "border_cutoff_segments": Measurement(
        "",
        "B: segments with an abrupt border",
        f"Number, 0 to 8, of the segments of border_cutoff with at least {ABRUPT:.2f}.",
        f"idea: {STOLZ}; own threshold, not validated",
        "image",
    ),
    "colours": Measurement(
        "",
        "C: number of colours",
        f"How many of the six colours cover at least {PRESENT:.0%} of the lesion, 0 to 6." + _SPECK,
        f"idea: {STOLZ}; own threshold, not validated",
        "image",
    ),
    **_colours(),
    **{
        f"colour_sd_{channel}": Measurement(
            "L*a*b*",
            f"C: spread of {channel.upper() if channel == 'l' else channel}*",
            "Standard deviation inside the region." + _SPECK,
            "CIELAB, D65, of the picture taken as sRGB",
            "image",
        )
        for channel in "lab"
    },
    "colour_variegation": Measurement(
        "",
        "C: colour variegation",
        "Root mean square distance of the pixels from their mean colour in CIELAB, over 100, the distance of "
        "black and white." + _SPECK,
        "own definition",
        "image",
    ),
}
