"""Pictures of a report: an image with outlines or an activation map, as SVG that scales to any width."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from delineate.explain.overlay import colour_map

LONGEST = 440
"""Longer side of a picture in a report, pixels."""


def thumbnail(image: NDArray[np.uint8], longest: int = LONGEST) -> NDArray[np.uint8]:
    """Shrink an RGB image (H, W, 3) so that its longer side is at most `longest` pixels."""
    height, width = _fitting(image.shape[0], image.shape[1], longest)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def outline(mask: NDArray[np.uint8], size: tuple[int, int]) -> str:
    """Trace the outlines of every class of a mask.

    Args:
        mask: (H, W) uint8 class index, 0 background, at any size.
        size: (height, width) of the picture that the outlines lie on.

    Returns:
        SVG path data in pixels of the picture, closed curves, one decimal; "" for an empty mask.
    """
    from matplotlib.figure import Figure  # slow to import

    height, width = size
    parts = []
    for index in np.unique(mask[mask > 0]).tolist():
        member = Image.fromarray((mask == index).astype(np.uint8) * 255)
        small = np.asarray(member.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64) / 255
        padded = np.pad(small, 1)  # so that a region at the frame has a closed outline too
        axes = Figure().add_subplot()
        for curve in axes.contour(padded, levels=[0.5]).allsegs[0]:
            points = np.asarray(curve)[:, :2] - 0.5  # pixel centres lie at halves in SVG; minus 1 of padding
            parts.append(_path(np.clip(_thinned(points), 0, [width, height])))
    return "".join(parts)


def overlay_svg(image: NDArray[np.uint8], outlines: Mapping[str, str], title: str) -> Markup:
    """Compose an image with outlines.

    Args:
        image: (H, W, 3) uint8, as `thumbnail` gives.
        outlines: CSS class ("reference", "prediction") -> path data from `outline`, drawn in this order.
        title: text for readers who do not see the picture.
    """
    picture = _image(jpeg_uri(image), image.shape)
    return _svg(image.shape[0], image.shape[1], picture + _outlined(outlines), title)


def shared_overlays(
    image: NDArray[np.uint8], drawings: Sequence[tuple[Mapping[str, str], str]], key: str
) -> list[Markup]:
    """Compose one image with several sets of outlines; the page holds the image only once.

    Args:
        image: (H, W, 3) uint8, as `thumbnail` gives.
        drawings: per picture its outlines and its title, as in `overlay_svg`.
        key: id of the image on the page, unique there.
    """
    height, width = image.shape[:2]
    picture = Markup('<image id="{}" width="{}" height="{}" href="{}"/>').format(
        key, width, height, jpeg_uri(image)
    )
    again = Markup('<use href="#{}"/>').format(key)
    return [
        _svg(height, width, (again if number else picture) + _outlined(outlines), title)
        for number, (outlines, title) in enumerate(drawings)
    ]


def activation_svg(
    image: NDArray[np.uint8], activation: NDArray[np.float32], outlines: Mapping[str, str], title: str
) -> Markup:
    """Compose an image with an activation map laid over it.

    Args:
        image: (H, W, 3) uint8, as `thumbnail` gives.
        activation: (h, w) in [0, 1], at any size; stretched over the image.
        outlines: as in `overlay_svg`.
        title: text for readers who do not see the picture.
    """
    paths = Markup("").join(
        Markup('<path class="{} faint" d="{}"/>').format(name, path)
        for name, path in outlines.items()
        if path
    )
    layers = _image(jpeg_uri(image), image.shape) + _image(heat_uri(activation), image.shape) + paths
    return _svg(image.shape[0], image.shape[1], layers, title)


def heat_uri(activation: NDArray[np.float32]) -> str:
    """Encode a map in [0, 1] as a PNG whose opacity rises with the value; 0 shows the image unchanged."""
    return _uri(Image.fromarray(colour_map(activation)), "png", optimize=True)


def jpeg_uri(image: NDArray[np.uint8]) -> str:
    """Encode an RGB image as a JPEG data address."""
    return _uri(Image.fromarray(image), "jpeg", quality=82, optimize=True)


def fitted_size(image: NDArray[np.uint8], longest: int) -> tuple[int, int]:
    """Return (height, width) of `image` shrunk to a longer side of at most `longest`."""
    return _fitting(image.shape[0], image.shape[1], longest)


def _fitting(height: int, width: int, longest: int) -> tuple[int, int]:
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _image(uri: str, shape: tuple[int, ...]) -> Markup:
    markup = Markup('<image width="{}" height="{}" preserveAspectRatio="none" href="{}"/>')
    return markup.format(shape[1], shape[0], uri)


def _outlined(outlines: Mapping[str, str]) -> Markup:
    # A dark casing keeps an outline visible on a surface of its own colour; casings lie below outlines.
    drawn = {name: path for name, path in outlines.items() if path}
    return Markup("").join(
        [Markup('<path class="casing" d="{}"/>').format(path) for path in drawn.values()]
        + [Markup('<path class="{}" d="{}"/>').format(name, path) for name, path in drawn.items()]
    )


def _svg(height: int, width: int, content: Markup, title: str) -> Markup:
    markup = Markup('<svg class="picture" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>')
    return markup.format(width, height, title, content)


def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep about one point per 1.5 pixels of the way, the first and the last always."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    bins = np.floor(np.concatenate([[0.0], np.cumsum(steps)]) / 1.5)
    keep = np.concatenate([[True], np.diff(bins) > 0])
    keep[-1] = True
    return points[keep]


def _path(points: NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
