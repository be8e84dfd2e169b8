"""What comes between a lesion and its picture: hairs, gel, ruler, ink, light, lens and sensor."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from delineate.data.phantom.anatomy import FIELD_OF_VIEW_MM, LesionParameters
from delineate.data.phantom.noise import Field, smooth_noise, smoothstep

Colour = NDArray[np.float32]
"""Channels first, (3, S, S): whole planes are faster than three numbers at a time."""
Stroke = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Points (n, 2) as (x, y) and widths (n,), both in millimetres."""

_OVERSAMPLING = 3  # strokes are drawn this much finer and averaged, against stair steps


def add_ink(image: Colour, rng: np.random.Generator) -> Colour:
    """Scribble one or two purple marks of a skin marker, away from the centre."""
    strokes: list[Stroke] = []
    for _ in range(int(rng.integers(1, 3))):
        start = _near_edge(rng, 1.0, 3.0)
        direction = rng.uniform(0, 2 * np.pi)
        along = np.linspace(-1, 1, 40) * rng.uniform(1.0, 2.6)
        across = 0.35 * np.where(np.arange(40) % 2 == 0, 1, -1) * rng.uniform(0.4, 1.2, 40)
        x = start[0] + along * np.cos(direction) - across * np.sin(direction)
        y = start[1] + along * np.sin(direction) + across * np.cos(direction)
        strokes.append((np.stack([x, y], 1), np.full(40, 0.16)))
    size = image.shape[1]
    share = _draw(strokes, size) * np.clip(0.8 + 0.25 * smooth_noise(rng, 40, size), 0.2, 0.95)
    purple = np.array([0.36, 0.22, 0.60], np.float32) * np.float32(rng.uniform(0.8, 1.2))
    return _blend(image, purple, share * np.float32(0.85))


def add_ruler(image: Colour, rng: np.random.Generator) -> Colour:
    """Print a ruler near an edge: a tick each millimetre, longer ones each five, and marks like digits."""
    distance, length = rng.uniform(1.2, 3.0), int(rng.integers(6, 12))
    start, turn = rng.uniform(1.0, FIELD_OF_VIEW_MM - 1.0 - length), rng.normal(0, 0.05)
    side = int(rng.integers(4))
    lines: list[tuple[float, float, float, float]] = [(0, 0, length, 0)]
    lines += [(tick, 0, tick, -0.75 if tick % 5 == 0 else -0.4) for tick in range(length + 1)]
    lines += [(tick + 0.5, 0, tick + 0.5, -0.22) for tick in range(length)]
    for place in range(0, length + 1, 5):
        corners = rng.uniform((-0.16, 0.2), (0.16, 0.75), (4, 2)) + (place, 0.05)
        lines += [(*corners[i], *corners[i + 1]) for i in range(3)]
    width = rng.uniform(0.06, 0.10)
    strokes: list[Stroke] = []
    for x0, y0, x1, y1 in lines:
        points = np.array([[x0 + start, y0], [x1 + start, y1]])
        points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        points[:, 1] += FIELD_OF_VIEW_MM - distance
        if side in (1, 3):
            points = points[:, ::-1]
        if side in (2, 3):
            points = FIELD_OF_VIEW_MM - points
        strokes.append((points, np.full(2, width)))
    tone = np.full(3, rng.uniform(0.05, 0.25), np.float32)
    return _blend(image, tone, _draw(strokes, image.shape[1]) * np.float32(rng.uniform(0.6, 0.9)))


def add_hairs(image: Colour, count: int, rng: np.random.Generator) -> Colour:
    """Lay curved hairs over the picture, tapered at both ends, each with a faint shadow."""
    common = rng.uniform(0, 2 * np.pi)
    strokes: list[Stroke] = []
    t = np.linspace(0, 1, 24)
    for _ in range(count):
        root = rng.uniform(-1.0, FIELD_OF_VIEW_MM + 1.0, 2)
        direction = common + rng.normal(0, 0.7)
        length, curl = rng.uniform(3.0, 14.0), rng.normal(0, 0.8)
        heading = direction + curl * t + rng.normal(0, 0.15) * np.sin(6 * t)
        steps = np.stack([np.cos(heading), np.sin(heading)], 1) * (length / t.size)
        width = rng.uniform(0.05, 0.13) * np.minimum(1, 6 * np.minimum(t + 0.05, 1.02 - t))
        strokes.append((root + np.cumsum(steps, 0), width))
    size = image.shape[1]
    share = _draw(strokes, size)
    shadow = np.roll(ndimage.uniform_filter(share, 3), max(1, round(0.012 * size)), (0, 1))
    image = image * (1 - np.float32(0.16) * shadow)
    tones = np.array(
        [[0.06, 0.05, 0.05], [0.16, 0.10, 0.07], [0.34, 0.22, 0.13], [0.60, 0.56, 0.52]], np.float32
    )
    tone = tones[min(int(rng.random() * 4.4), 3) if rng.random() < 0.6 else 0]
    return _blend(image, tone, share * np.float32(0.88))


def add_bubbles(image: Colour, count: int, rng: np.random.Generator) -> Colour:
    """Put air bubbles into the gel: a bright rim, a dark line inside it, and a highlight."""
    size = image.shape[1]
    pixel = FIELD_OF_VIEW_MM / size
    light = np.zeros((size, size), np.float32)
    cluster = rng.uniform(1, FIELD_OF_VIEW_MM - 1, 2)
    for _ in range(count):
        centre = cluster + rng.normal(0, 2.6, 2)
        radius = rng.uniform(0.18, 0.32) * (1 + 2.0 * rng.random() ** 3)
        glow, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.0)
        low = np.clip(((centre - 1.4 * radius) / pixel).astype(int), 0, size)
        high = np.clip(((centre + 1.4 * radius) / pixel).astype(int) + 2, 0, size)
        if (low >= high).any():
            continue
        x = ((np.arange(low[0], high[0]) + 0.5) * pixel - centre[0])[None, :] / radius
        y = ((np.arange(low[1], high[1]) + 0.5) * pixel - centre[1])[:, None] / radius
        r = np.hypot(x, y)
        thick = max(0.13, 0.6 * pixel / radius)
        facing = 0.6 + 0.4 * np.cos(np.arctan2(y, x) - glow)
        ring = 0.42 * facing * np.exp(-(((r - 1) / thick) ** 2)) - 0.16 * np.exp(-(((r - 0.72) / thick) ** 2))
        spot = np.hypot(x - 0.45 * np.cos(glow), y - 0.45 * np.sin(glow))
        ring += 0.5 * np.exp(-((spot / max(0.2, thick)) ** 2))
        light[low[1] : high[1], low[0] : high[0]] += (strength * ring).astype(np.float32)
    return np.asarray(image + light, np.float32)


def add_light(image: Colour, parameters: LesionParameters, rng: np.random.Generator) -> Colour:
    """Light the skin unevenly, add the dark corners of the lens tube and specular glare."""
    size = image.shape[1]
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5) * 2
    x, y = axis[None, :], axis[:, None]
    slope, exposure = rng.normal(0, 0.05, 2), rng.uniform(0.90, 1.05)
    spot, shift = rng.uniform(-1.1, 1.1, 2), rng.normal(0, 0.05, 2)
    inner, fade = rng.uniform(0.95, 1.2), rng.uniform(0.08, 0.45)
    image = image * (exposure + np.float32(slope[0]) * x + np.float32(slope[1]) * y)
    if parameters.vignette:
        radius = np.hypot(x - np.float32(shift[0]), y - np.float32(shift[1]))
        dark = smoothstep(inner, inner + fade, radius)
        image *= 1 - np.float32(0.95 * parameters.vignette) * dark
    if parameters.glare:
        flecks = smoothstep(
            1.7, 2.6, smooth_noise(rng, 90, size) + np.float32(0.7) * smooth_noise(rng, 8, size)
        )
        spread = np.exp(-((x - np.float32(spot[0])) ** 2 + (y - np.float32(spot[1])) ** 2) / np.float32(0.35))
        share = np.float32(parameters.glare) * (0.75 * flecks * (0.3 + spread) + 0.22 * spread**2)
        image = _blend(image, np.ones(3, np.float32), np.minimum(share, 0.95))
    return image


def photograph(image: Colour, parameters: LesionParameters, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Focus, balance, expose and quantise: (3, S, S) light to (S, S, 3) uint8."""
    size = image.shape[1]
    # Even a sharp lens blurs by about half a pixel of a small picture.
    sigma = max(parameters.blur_mm * size / FIELD_OF_VIEW_MM, 0.35)
    image = ndimage.gaussian_filter(image, (0, sigma, sigma), mode="nearest", truncate=3.0)
    image *= np.array([parameters.red_gain, 1, parameters.blue_gain], np.float32)[:, None, None]
    image += np.float32(parameters.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    np.clip(image, 0, 1, out=image)
    image *= np.float32(255)
    return np.ascontiguousarray(np.rint(image).astype(np.uint8).transpose(1, 2, 0))


def _near_edge(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float64]:
    """Draw a point between `low` and `high` millimetres from one of the four edges."""
    point = rng.uniform(low, FIELD_OF_VIEW_MM - low, 2)
    depth, side = rng.uniform(low, high), int(rng.integers(4))
    point[side % 2] = depth if side < 2 else FIELD_OF_VIEW_MM - depth
    return point


def _draw(strokes: Iterable[Stroke], size: int) -> Field:
    """Draw strokes of varying width, (size, size) float32 coverage 0 to 1."""
    scale = size * _OVERSAMPLING / FIELD_OF_VIEW_MM
    canvas = Image.new("L", (size * _OVERSAMPLING,) * 2)
    pen = ImageDraw.Draw(canvas)
    for points, widths in strokes:
        places = np.rint(points * scale).astype(int).tolist()
        for begin, end, width in zip(places, places[1:], widths, strict=False):
            pen.line((*begin, *end), fill=255, width=max(1, round(width * scale)))
    return np.asarray(canvas.reduce(_OVERSAMPLING), np.float32) / np.float32(255)


def _blend(image: Colour, colour: Colour, share: Field) -> Colour:
    return np.asarray(image + share * (colour[:, None, None] - image), np.float32)
