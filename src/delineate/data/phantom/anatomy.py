"""What a synthetic lesion is: the choices of a phantom, and the parameters of one image."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from delineate.checks import InputError

LABELS = ("benign", "malignant")
Pattern = Literal["network", "globules", "streaks", "structureless"]
PATTERNS: tuple[Pattern, ...] = ("network", "globules", "streaks", "structureless")

FIELD_OF_VIEW_MM = 16.0
"""Width of the picture on the skin, millimetres; the ruler's ticks are one millimetre apart."""


@dataclass(frozen=True)
class Spread:
    """A normal distribution cut off at both ends."""

    mean: float
    """Mean before the cut, in the unit of the quantity."""
    deviation: float
    """Standard deviation before the cut, > 0, in the unit of the quantity."""
    low: float
    """Smallest value."""
    high: float
    """Largest value, > `low`."""

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value with exactly one uniform number, so that later draws never shift."""
        bottom = ndtr((self.low - self.mean) / self.deviation)
        top = ndtr((self.high - self.mean) / self.deviation)
        value = self.mean + self.deviation * float(ndtri(bottom + (top - bottom) * rng.random()))
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Features:
    """How the visible signs of one diagnosis are distributed, each independently of the others."""

    asymmetry: Spread
    """Asymmetry of outline and colour, 0 (two mirror axes) to 1."""
    irregularity: Spread
    """Irregularity of the border, 0 (smooth ellipse) to 1 (deeply notched)."""
    variegation: Spread
    """Number and strength of colours, 0 (one brown) to 1 (brown, black, red, blue-grey, white)."""
    diameter_mm: Spread
    """Diameter of the circle of equal area, millimetres; 3.2 mm covers 3 % of the picture, 14 mm 60 %."""
    contrast: Spread
    """Optical density of the lesion's pigment above the skin's, 0.25 (barely visible) to 2 (nearly black)."""


@dataclass(frozen=True)
class PhantomOptions:
    """Every choice of a phantom data set; the defaults make a set on which neither task is trivial."""

    benign: Features = Features(
        asymmetry=Spread(0.27, 0.16, 0.0, 1.0),
        irregularity=Spread(0.27, 0.16, 0.0, 1.0),
        variegation=Spread(0.22, 0.16, 0.0, 1.0),
        diameter_mm=Spread(6.0, 1.9, 3.2, 14.0),
        contrast=Spread(0.95, 0.32, 0.25, 2.0),
    )
    """Signs of the benign lesions."""
    malignant: Features = Features(
        asymmetry=Spread(0.55, 0.18, 0.0, 1.0),
        irregularity=Spread(0.55, 0.18, 0.0, 1.0),
        variegation=Spread(0.60, 0.18, 0.0, 1.0),
        diameter_mm=Spread(8.2, 2.1, 3.2, 14.0),
        contrast=Spread(1.15, 0.35, 0.25, 2.0),
    )
    """Signs of the malignant lesions."""
    malignant_fraction: float = 0.4
    """Share of malignant lesions, 0 to 1; each run of twenty images keeps it, as near as whole images can."""
    skin_types: tuple[float, float, float, float, float, float] = (0.16, 0.26, 0.24, 0.16, 0.11, 0.07)
    """Relative frequency of Fitzpatrick skin types I to VI among patients, each >= 0, not all 0."""
    images_per_patient: tuple[float, float, float] = (0.5, 0.3, 0.2)
    """Relative frequency of patients with 1, 2 and 3 images, each >= 0, not all 0."""
    touches_frame: float = 0.12
    """Probability that a lesion is placed so that the picture's edge cuts it, 0 to 1."""
    hairs: float = 0.45
    """Probability of hairs, 0 to 1."""
    bubbles: float = 0.25
    """Probability of air bubbles in the contact gel, 0 to 1."""
    ruler: float = 0.25
    """Probability of a ruler, 0 to 1."""
    ink: float = 0.06
    """Probability of a surgeon's purple ink marks, 0 to 1."""
    vignette: float = 0.45
    """Probability of dark corners, 0 to 1."""
    glare: float = 0.30
    """Probability of specular highlights, 0 to 1."""
    blur: float = 0.30
    """Probability of a visible defocus, 0 to 1."""
    noise: float = 0.012
    """Standard deviation of the sensor noise, share of full scale, 0 to 0.1; varies by a third around it."""
    white_balance: float = 0.045
    """Standard deviation of the logarithmic gain of red and blue against green, 0 to 0.3."""

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InputError: a value is outside the range that its field documents.
        """
        limits = {"noise": 0.1, "white_balance": 0.3}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float | int):
                top = limits.get(entry.name, 1.0)
                if not 0 <= value <= top:
                    raise InputError(
                        f"Phantom option {entry.name} must be between 0 and {top:g}, got {value:g}."
                    )
            elif isinstance(value, tuple) and (min(value) < 0 or sum(value) <= 0):
                raise InputError(f"Phantom option {entry.name} must be weights >= 0, not all 0, got {value}.")
            elif isinstance(value, Features):
                _check_features(entry.name, value)


_SIGN_RANGES = {
    "asymmetry": (0.0, 1.0),
    "irregularity": (0.0, 1.0),
    "variegation": (0.0, 1.0),
    "diameter_mm": (2.0, 15.0),
    "contrast": (0.1, 3.0),
}


def _check_features(label: str, features: Features) -> None:
    for name, (low, high) in _SIGN_RANGES.items():
        spread: Spread = getattr(features, name)
        if not (low <= spread.low < spread.high <= high and spread.deviation > 0):
            raise InputError(
                f"Phantom option {label}.{name} needs {low:g} <= low < high <= {high:g} and deviation > 0, "
                f"got low {spread.low:g}, high {spread.high:g}, deviation {spread.deviation:g}."
            )


@dataclass(frozen=True)
class Skin:
    """The skin of one patient."""

    fitzpatrick: int
    """Skin type, 1 (very light) to 6 (very dark)."""
    tone: float
    """Position on the scale of skin types, `fitzpatrick` -1 to `fitzpatrick` (0 to 6)."""
    redness: float
    """Blood in the skin, 0 (pale) to 1 (flushed)."""
    freckles: float
    """Density of freckles, 0 (none) to 1."""


@dataclass(frozen=True)
class LesionParameters:
    """Everything that decides a picture, except for the random details."""

    label: str
    """"benign" or "malignant"; not used for rendering, the signs below are all that a picture shows of it."""
    asymmetry: float
    """0 to 1, see Features."""
    irregularity: float
    """0 to 1, see Features."""
    variegation: float
    """0 to 1, see Features."""
    diameter_mm: float
    """Millimetres, see Features; the visible part is smaller when the frame cuts the lesion."""
    contrast: float
    """Optical density, see Features."""
    elongation: float
    """Relative half difference of the long and the short axis, 0 (round) to 0.3."""
    x_mm: float
    """Column of the centre, millimetres from the left edge, 0 to 16."""
    y_mm: float
    """Row of the centre, millimetres from the upper edge, 0 to 16."""
    softness_mm: float
    """Mean width over which the border fades, 0.05 (abrupt) to 0.6; it varies along the border."""
    pattern: Pattern
    """Dermoscopic structure of the pigment."""
    skin: Skin
    """The patient's skin."""
    hairs: int = 0
    """Number of hairs."""
    bubbles: int = 0
    """Number of air bubbles."""
    ruler: bool = False
    """Whether a ruler is in the picture."""
    ink: bool = False
    """Whether the skin bears purple ink marks."""
    vignette: float = 0.0
    """Darkness of the corners, 0 (none) to 1 (black)."""
    glare: float = 0.0
    """Strength of the specular highlights, 0 (none) to 1."""
    blur_mm: float = 0.0
    """Standard deviation of the defocus, millimetres."""
    noise: float = 0.0
    """Standard deviation of the sensor noise, share of full scale."""
    red_gain: float = 1.0
    """White balance: gain of the red channel."""
    blue_gain: float = 1.0
    """White balance: gain of the blue channel."""


def sample_skin(options: PhantomOptions, rng: np.random.Generator) -> Skin:
    """Draw the skin of one patient."""
    weights = np.cumsum(options.skin_types)
    kind = int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
    kind = min(kind, len(weights) - 1)
    freckles = rng.random() * (rng.random() < 0.35)
    return Skin(kind + 1, kind + float(rng.random()), float(rng.random()), float(freckles))


def sample_lesion(
    label: str, options: PhantomOptions, rng: np.random.Generator, *, skin: Skin | None = None
) -> LesionParameters:
    """Draw the parameters of one picture.

    Args:
        label: "benign" or "malignant".
        options: the distributions.
        rng: source of all randomness; the number of draws is the same for every outcome.
        skin: the patient's skin; None draws one.

    Raises:
        InputError: `label` is neither of the two.
    """
    if label not in LABELS:
        raise InputError(f"A phantom's label must be 'benign' or 'malignant', got {label!r}.")
    own_skin = sample_skin(options, rng)
    features = options.malignant if label == "malignant" else options.benign
    signs = {name: getattr(features, name).sample(rng) for name in _SIGN_RANGES}
    x_mm, y_mm = _place(signs["diameter_mm"], rng.random() < options.touches_frame, rng)
    has = {name: rng.random() < getattr(options, name) for name in _ARTEFACTS}
    vignette, glare, blur = rng.uniform((0.3, 0.3, 0.04), (1.0, 1.0, 0.16))
    hairs, bubbles = int(3 + 22 * rng.random() ** 2), int(rng.integers(2, 14))
    red, blue = np.exp(options.white_balance * np.clip(rng.standard_normal(2), -2.5, 2.5))
    return LesionParameters(
        label=label,
        **signs,
        elongation=float(rng.uniform(0.0, 0.22)),
        x_mm=x_mm,
        y_mm=y_mm,
        softness_mm=float(0.08 + 0.37 * rng.random() ** 1.5),
        pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
        skin=own_skin if skin is None else skin,
        hairs=hairs * has["hairs"],
        bubbles=bubbles * has["bubbles"],
        ruler=bool(has["ruler"]),
        ink=bool(has["ink"]),
        vignette=float(vignette * has["vignette"]),
        glare=float(glare * has["glare"]),
        blur_mm=float(blur * has["blur"]),
        noise=float(options.noise * rng.uniform(0.67, 1.33)),
        red_gain=float(red),
        blue_gain=float(blue),
    )


_ARTEFACTS = ("hairs", "bubbles", "ruler", "ink", "vignette", "glare", "blur")


def _place(diameter: float, cut: bool, rng: np.random.Generator) -> tuple[float, float]:
    """Choose the centre: inside the frame, or so that one edge cuts off a part of the lesion."""
    free = max(FIELD_OF_VIEW_MM / 2 - 0.58 * diameter, 0.3)  # 0.58: room for the lobes of the outline
    offset = np.clip(rng.standard_normal(2) * 0.45, -1, 1) * free
    edge, depth = int(rng.integers(4)), rng.uniform(0.5, 0.95)
    if cut:
        beyond = FIELD_OF_VIEW_MM / 2 - depth * diameter / 2
        offset[edge % 2] = beyond if edge < 2 else -beyond
    x, y = FIELD_OF_VIEW_MM / 2 + offset
    return float(x), float(y)
