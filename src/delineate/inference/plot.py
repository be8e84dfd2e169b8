"""Pictures of one prediction: a figure, and the short summary that a notebook shows.

Only drawing imports this module, so matplotlib may be imported at its head.
"""

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from delineate.data.cache import resize_image, resize_mask
from delineate.explain.overlay import overlay_map
from delineate.inference.backends import TorchBackend
from delineate.inference.measurements import MEASUREMENTS
from delineate.inference.results import ImagePrediction
from delineate.inference.writers.pictures import COLOURS, draw_outline

NOTICE = "For research, not for diagnosis."
_PANEL = 3.2  # inches
_MOST_PIXELS = 900  # of the longer side of a panel; more is not seen, and slow to draw
_SUMMARY_PIXELS = 360
_SUMMARY_LESIONS = 3
_SUMMARY_VALUES = ("area_px", "area_mm2", "feret_max_px", "feret_max_mm")

Panel = tuple[str, Callable[[Axes], None]]


class NotebookFigure(Figure):
    """A figure that a notebook shows although pyplot, which would register it there, is not loaded."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()


def plot(prediction: ImagePrediction, *, explain: bool | None = None) -> Figure:
    """Draw what `ImagePrediction.plot` says; arguments and errors as there."""
    image = prediction.image
    origin = prediction.origin
    if explain is None:
        predictor = None if origin is None else origin.predictor
        explain = predictor is not None and any(isinstance(m, TorchBackend) for m in predictor.members)
    panels = list(_panels(prediction, image, explain))
    figure = NotebookFigure(figsize=(_PANEL * len(panels), _PANEL), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, draw) in zip(axes, panels, strict=True):
        axis.set_title(title, fontsize="medium", loc="left")
        draw(axis)
    figure.supxlabel(NOTICE, fontsize="x-small", x=0.0, ha="left")
    return figure


def _panels(prediction: ImagePrediction, image: NDArray[np.uint8], explain: bool) -> list[Panel]:
    panels: list[Panel] = [
        ("image" if prediction.mask is None else "outline", _shows(_outlined(prediction, image)))
    ]
    if prediction.probability is not None:
        foreground = prediction.probability
        if foreground.ndim == 3:
            foreground = 1 - foreground[0]
        panels.append(("probability", _shows_map(foreground)))
    if explain:
        activation = prediction.explain()
        panels.append(("activation map", _shows(_small(overlay_map(image, activation)))))
    found = prediction.uncertainty
    if found is not None and found.entropy is not None:
        panels.append((f"entropy, look {found.look:.2f}", _shows_map(found.entropy)))
    if found is not None and found.variance is not None:
        panels.append(("standard deviation", _shows_map(np.sqrt(found.variance), largest=0.5)))
    if prediction.label is not None:
        panels.append(("label", _bars(prediction.label, prediction.chosen_label)))
    return panels


def html_summary(prediction: ImagePrediction) -> str:
    """Return the outline, the labels and the largest lesions as a small piece of HTML."""
    if prediction.origin is None:
        return f"<pre>{html.escape(repr(prediction))}</pre>"
    image = prediction.image
    parts = [_data_image(_outlined(prediction, image, _SUMMARY_PIXELS))]
    tables = []
    if prediction.label is not None:
        rows = [(name, f"{value:.3f}") for name, value in prediction.label.items()]
        tables.append(_table(("label", "probability"), rows))
    if prediction.mask is not None:
        tables.append(_lesions(prediction))
    if prediction.uncertainty is not None:
        tables.append(f"<p>look: {prediction.uncertainty.look:.2f} of 1</p>")
    parts.append(f"<div>{''.join(tables)}<p><small>{NOTICE}</small></p></div>")
    return f'<div style="display:flex;gap:1em;align-items:flex-start">{"".join(parts)}</div>'


def _lesions(prediction: ImagePrediction) -> str:
    lesions = prediction.measure()
    if not lesions:
        return "<p>empty mask</p>"
    names = [n for n in _SUMMARY_VALUES if any(lesion.values.get(n) is not None for lesion in lesions)]
    head = ["lesion", *(f"{MEASUREMENTS[n].summary} ({MEASUREMENTS[n].unit})" for n in names)]
    rows = [
        (
            f"{lesion.class_name} {lesion.index}",
            *(_figure(lesion.values[n]) for n in names),
        )
        for lesion in sorted(lesions, key=lambda lesion: -(lesion.values["area_px"] or 0))[:_SUMMARY_LESIONS]
    ]
    more = len(lesions) - len(rows)
    return _table(head, rows) + (f"<p>and {more} smaller</p>" if more > 0 else "")


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _outlined(
    prediction: ImagePrediction, image: NDArray[np.uint8], longest: int = _MOST_PIXELS
) -> NDArray[np.uint8]:
    """The image made small, with the outline drawn after that, so that its line can be seen."""
    small = _small(image, longest)
    if prediction.mask is None:
        return small
    return draw_outline(small, resize_mask(prediction.mask, (small.shape[0], small.shape[1])))


def _small(image: NDArray[np.uint8], longest: int = _MOST_PIXELS) -> NDArray[np.uint8]:
    factor = longest / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(round(side * factor), 1) for side in image.shape[:2])
    return resize_image(image, (height, width))


def _shows(image: NDArray[np.uint8]) -> Callable[[Axes], None]:
    def draw(axis: Axes) -> None:
        axis.imshow(image)
        axis.set_axis_off()

    return draw


def _shows_map(values: NDArray[np.float32], largest: float = 1.0) -> Callable[[Axes], None]:
    step = -(-max(values.shape) // _MOST_PIXELS)

    def draw(axis: Axes) -> None:
        drawn = axis.imshow(values[::step, ::step], cmap="viridis", vmin=0, vmax=largest)
        axis.set_axis_off()
        axis.figure.colorbar(drawn, ax=axis, shrink=0.8)

    return draw


def _bars(label: dict[str, float], chosen: str | None) -> Callable[[Axes], None]:
    colours = [tuple(c / 255 for c in COLOURS[0 if name == chosen else -1]) for name in label]

    def draw(axis: Axes) -> None:
        places = np.arange(len(label))
        axis.barh(places, list(label.values()), color=colours)
        axis.set_yticks(places, list(label))
        axis.invert_yaxis()
        axis.set_xlim(0, 1)
        for place, value in enumerate(label.values()):
            inside = value > 0.7
            axis.text(
                value - 0.02 if inside else value + 0.02,
                place,
                f"{value:.2f}",
                va="center",
                ha="right" if inside else "left",
                color="white" if inside else "black",
            )
        axis.spines[["top", "right"]].set_visible(False)

    return draw


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _data_image(image: NDArray[np.uint8]) -> str:
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="outline on the image" src="data:image/png;base64,{data}">'
