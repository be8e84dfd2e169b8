"""The sheet that the analyses draw on: house colours, readable text, one PNG."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from delineate.files import atomic_path
from delineate.study.charts import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = tuple(PALETTE[name] for name in ("s1", "s2", "s3", "s4", "s5", "s6"))
"""Colours that colour-blind readers tell apart."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Shapes that go with them, for readers without colour."""
_DOTS_PER_INCH = 160


@contextmanager
def sheet(path: Path, *, width: float, height: float) -> Iterator["Figure"]:
    """Give an empty figure on white; it is written to `path` (PNG) when the block ends without an error.

    Args:
        path: the picture; its folder is made if needed.
        width: in inches; text is 9 points high.
        height: in inches.
    """
    from matplotlib import rc_context  # slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "text.parse_math": False,  # a "$" in a file's name is a dollar
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.edgecolor": PALETTE["muted"],
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelcolor": PALETTE["ink"],
        "axes.titlecolor": PALETTE["ink"],
        "axes.axisbelow": True,
        "grid.color": PALETTE["grid"],
        "grid.linewidth": 0.7,
        "text.color": PALETTE["ink"],
        "xtick.color": PALETTE["muted"],
        "ytick.color": PALETTE["muted"],
        "xtick.labelcolor": PALETTE["ink"],
        "ytick.labelcolor": PALETTE["ink"],
    }
    with rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=_DOTS_PER_INCH, facecolor="white", format="png")


def name_points(axes: "Axes", x: Sequence[float], y: Sequence[float], names: Sequence[str]) -> None:
    """Write a name beside each point, where it covers neither another name nor a point.

    Call it when the limits of the axes are final. A name that fits nowhere stands to the right.
    """
    from matplotlib.transforms import Bbox

    canvas: Any = axes.figure.canvas
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # a sub-figure has no such method
    renderer = canvas.get_renderer()
    scale = axes.figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    dots = axes.transData.transform(list(zip(x, y, strict=True)))
    taken = [Bbox.from_bounds(px - 4 * scale, py - 4 * scale, 8 * scale, 8 * scale) for px, py in dots]
    places: list[tuple[int, int, Literal["left", "center", "right"]]] = [
        (right, up, "left" if right > 0 else "right" if right < 0 else "center")
        for distance in (7, 14, 22, 32)
        for right, up in (
            (distance, 0), (-distance, 0), (0, distance), (0, -distance),
            (distance, distance), (distance, -distance), (-distance, distance), (-distance, -distance),
        )
    ]  # fmt: skip
    for px, py, name in zip(x, y, names, strict=True):
        label = axes.annotate(
            name, (px, py), (places[0][0], 0), textcoords="offset points", va="center", fontsize=8.5
        )
        for right, up, side in places:
            label.set_position((right, up))
            label.set_horizontalalignment(side)
            box = label.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                if max(abs(right), abs(up)) > 10:  # far from its point: a thin line leads back
                    label.set_bbox({"boxstyle": "square,pad=0", "facecolor": "none", "edgecolor": "none"})
                    axes.annotate(
                        "", (px, py), (right, up), textcoords="offset points",
                        arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": PALETTE["muted"]},
                    )  # fmt: skip
                break
        else:
            label.set_position((places[0][0], 0))
            label.set_horizontalalignment("left")
        taken.append(label.get_window_extent(renderer))
