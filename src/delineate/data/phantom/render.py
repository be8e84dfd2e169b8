"""Colour and texture of skin and lesion: pigment and blood as optical densities that add up."""

import numpy as np
from numpy.typing import NDArray

from delineate.data.phantom.anatomy import FIELD_OF_VIEW_MM, LesionParameters, Skin
from delineate.data.phantom.noise import Field, fractal_noise, smooth_noise, smoothstep
from delineate.data.phantom.shape import Outline

Colour = NDArray[np.float32]

# Colours of Fitzpatrick types I to VI under dermoscopic light (share of full scale), with both ends repeated.
_SKIN = np.array(
    [
        [0.965, 0.875, 0.820],
        [0.945, 0.825, 0.745],
        [0.895, 0.735, 0.620],
        [0.790, 0.600, 0.460],
        [0.600, 0.415, 0.290],
        [0.410, 0.275, 0.200],
        [0.300, 0.200, 0.150],
    ]
)
# Optical density per unit of pigment in red, green and blue: melanin browns, blood reddens.
_MELANIN = np.array([0.60, 0.95, 1.36], np.float32)
_BLOOD = np.array([0.05, 0.42, 0.34], np.float32)
_VEIL = np.array([0.42, 0.47, 0.58], np.float32)  # melanin deep in the skin scatters blue
_SCAR = np.array([0.94, 0.83, 0.77], np.float32)  # regression leaves pale skin


def skin_densities(skin: Skin) -> Colour:
    """Return the optical density of the skin in red, green and blue, (3,) float32."""
    rows = np.log(_SKIN)
    colour = [np.interp(skin.tone, np.arange(len(rows)), rows[:, channel]) for channel in range(3)]
    return np.asarray(-np.array(colour) + (skin.redness - 0.3) * 0.45 * _BLOOD, np.float32)


def paint(parameters: LesionParameters, outline: Outline, rng: np.random.Generator) -> Colour:
    """Paint skin and lesion without artefacts.

    Returns:
        (3, S, S) float32, light that comes back, 0 to 1.
    """
    size = outline.mask.shape[0]
    melanin, blood = _skin_texture(parameters.skin, rng, size)
    lesion, red, veil, scar = _lesion(parameters, outline, rng)
    # The lesion's own structure replaces the freckles of the skin beneath it.
    melanin = melanin * (1 - outline.cover) + lesion
    blood = blood + red
    base = skin_densities(parameters.skin)
    light = np.exp(-base)
    image = np.empty((3, *melanin.shape), np.float32)
    for channel in range(3):
        density = base[channel] + _MELANIN[channel] * melanin + _BLOOD[channel] * blood
        image[channel] = 0.025 + 0.975 * np.exp(-np.maximum(density, 0))
    # On dark skin the veil is darker and a scar less pale.
    brightness = np.float32(light.mean())
    for colour, share in (
        (_VEIL * (0.45 + 0.55 * brightness), veil),
        (0.5 * light + 0.5 * _SCAR * np.minimum(brightness / np.float32(0.8), 1), scar),
    ):
        image += share * (colour[:, None, None] - image)
    return image


def _skin_texture(skin: Skin, rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Return variations of melanin and blood in healthy skin, optical density, mean about 0."""
    # Skin lines form a fine net of furrows: the zero lines of a noise field.
    furrows = 1 - np.minimum(np.abs(smooth_noise(rng, 46, size)), 1)
    mottled, flush = fractal_noise(rng, (5, 11, 90), size), smooth_noise(rng, 8, size)
    melanin = 0.025 * mottled + 0.035 * (furrows - np.float32(0.4))
    blood = 0.07 * flush - 0.04 * mottled
    vessels = smoothstep(0.85, 1.0, 1 - np.abs(smooth_noise(rng, 9, size)))
    blood += np.float32(0.25 * skin.redness) * vessels * smoothstep(0.2, 1.2, flush)
    if skin.freckles:
        rare = 2.5 - 0.9 * skin.freckles
        spots = smoothstep(rare, rare + 0.9, fractal_noise(rng, (26, 14), size, 0.7))
        melanin += np.float32(0.8 * skin.freckles) * spots
    return melanin, blood


def _lesion(
    parameters: LesionParameters, outline: Outline, rng: np.random.Generator
) -> tuple[Field, Field, Field, Field]:
    """Return melanin and blood of the lesion (optical density), and the shares of blue veil and pale scar."""
    size = outline.mask.shape[0]
    variegation, cover = np.float32(parameters.variegation), outline.cover
    # Feature size follows the lesion, so that a small one also has room for several colours.
    cells = max(4, round(2.6 * FIELD_OF_VIEW_MM / parameters.diameter_mm))
    body = smoothstep(1.15, 0.25, outline.reach)  # pigment thins out towards the border
    tilt = np.cos(outline.angle - np.float32(rng.uniform(-np.pi, np.pi))) * np.minimum(outline.reach, 1)
    cloud = fractal_noise(rng, (cells, 2 * cells, 4 * cells), size)

    amount = 0.78 + 0.32 * body + np.float32(0.48 * parameters.asymmetry) * tilt
    amount = amount + (0.07 + 0.20 * variegation) * cloud
    amount = amount * (1 + _pattern(parameters, outline, rng))
    melanin = np.float32(parameters.contrast) * np.maximum(amount, 0.12)

    # Colours join one after another as variegation rises; dark brown is usually the first, as in moles.
    place = np.argsort(np.argsort(np.array([0.3, -0.5, 0.3, 0.5, 0.5]) + 0.45 * rng.standard_normal(5)))
    share: list[Field] = []
    for rank, seed in zip(place.tolist(), rng.integers(2**63, size=5).tolist(), strict=True):
        strength = np.float32(np.clip(3.6 * parameters.variegation - 0.62 * rank - 0.10, 0, 1))
        if strength:
            zone = smooth_noise(np.random.default_rng(seed), cells, size) + np.float32(0.45) * cloud
            # Set by rank within the lesion, so that each colour covers about a quarter of it.
            middle = float(np.quantile(zone[outline.mask], 0.76))
            share.append(strength * smoothstep(middle - 0.35, middle + 0.35, zone))
        else:
            share.append(np.zeros_like(cloud))
    black, dark, red, veil, scar = share
    melanin = melanin * (1 + 0.55 * dark) + 1.5 * black
    melanin = melanin * (1 - 0.65 * red * (1 - black))
    blood = np.float32(0.10) * cover + 1.7 * red
    return melanin * cover, blood * cover, 0.70 * veil * body * cover, 0.62 * scar * (1 - black) * cover


def _pattern(parameters: LesionParameters, outline: Outline, rng: np.random.Generator) -> Field:
    """Return the relative change of the pigment by its dermoscopic structure, mean about 0."""
    size = outline.mask.shape[0]
    spacing = rng.uniform(0.5, 0.85)
    turn = rng.uniform(0, np.pi)
    warp_x, warp_y = smooth_noise(rng, 14, size), smooth_noise(rng, 14, size)
    grain = fractal_noise(rng, (24, 48), size)
    spokes = int(rng.integers(16, 34))
    # An atypical structure comes and goes; it is a sign of many colours, not a sign of its own.
    patchy = 1 - np.float32(0.6 * parameters.variegation) * smoothstep(-0.6, 0.8, smooth_noise(rng, 6, size))
    if parameters.pattern == "structureless":
        return 0.10 * grain
    if parameters.pattern == "streaks":
        rays = np.cos(spokes * outline.angle + 2.5 * warp_x + 1.5 * grain)
        rim = smoothstep(0.45, 0.95, outline.reach)
        return np.asarray(
            patchy * rim * 0.55 * smoothstep(-0.3, 0.9, rays) - 0.12 * rim + 0.08 * grain, np.float32
        )
    grid = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(FIELD_OF_VIEW_MM / size)
    x, y = grid[None, :] + 0.30 * warp_x, grid[:, None] + 0.30 * warp_y
    wave = np.float32(2 * np.pi / spacing)
    lattice = sum(  # three plane waves at 120 degrees: a hexagonal lattice of bright dots in a dark net
        np.cos(wave * (np.float32(np.cos(turn + k)) * x + np.float32(np.sin(turn + k)) * y))
        for k in (0, 2 * np.pi / 3, 4 * np.pi / 3)
    )
    lattice = np.asarray(lattice, np.float32)
    if parameters.pattern == "network":
        holes = smoothstep(-0.8, 1.8, lattice + 0.6 * grain)
        return np.asarray(patchy * (0.22 - 0.55 * holes) + 0.06 * grain, np.float32)
    dots = smoothstep(0.6, 1.8, lattice + 0.9 * grain)
    return np.asarray(patchy * (0.75 * dots - 0.12) + 0.06 * grain, np.float32)
