"""Outlines of a mask as polygons along the edges of its pixels, so that nothing of the mask is lost.

Convention: x runs to the right and y down, in pixels; the pixel of row r and column c is the square from
(c, r) to (c + 1, r + 1), its centre (c + 0.5, r + 0.5). Every vertex is a corner of a pixel, so coordinates
are whole numbers, the area of a polygon is its number of pixels, and drawing it by pixel centres gives back
the mask.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delineate.inference.writers.base import Output

Ring = NDArray[np.int64]
"""(N, 2) vertices (x, y), the first not repeated at the end."""

_STEPS = np.array(
    [[1, 0], [0, 1], [-1, 0], [0, -1]]
)  # along the upper, right, lower and left edge of a pixel


@dataclass(frozen=True)
class Region:
    """One connected region of a class; pixels that touch at a corner belong together."""

    index: int
    """1, 2, ... in the order of the topmost, then leftmost pixels of the regions of a class."""
    polygons: tuple[tuple[Ring, ...], ...]
    """Each an outer ring and its holes; several when parts of the region touch at corners only. Outer rings
    have a positive area by the shoelace formula in (x, y), holes a negative one."""
    area: int
    """Number of pixels."""
    box: tuple[int, int, int, int]
    """x, y, width and height of the smallest box of pixels around it."""
    pixels: NDArray[np.bool_]
    """(height, width) of the box: which of its pixels belong to the region."""

    def mean(self, values: NDArray[np.floating]) -> float:
        """Mean of a map (H, W) of the whole image over the region."""
        x, y, width, height = self.box
        return float(values[y : y + height, x : x + width][self.pixels].mean(dtype=np.float64))


def regions(mask: NDArray) -> Iterator[Region]:
    """Find the connected regions of a mask and trace their outlines.

    Args:
        mask: (H, W), true or non-zero inside.

    Yields:
        Regions in order of their `index`.
    """
    from scipy.ndimage import find_objects, label

    labels, _ = label(mask != 0, structure=np.ones((3, 3)))
    for index, (rows, columns) in enumerate(find_objects(labels), start=1):
        pixels = labels[rows, columns] == index
        height, width = pixels.shape
        corner = np.array([columns.start, rows.start])
        yield Region(
            index=index,
            polygons=tuple(tuple(ring + corner for ring in polygon) for polygon in _polygons(pixels)),
            area=int(pixels.sum()),
            box=(columns.start, rows.start, width, height),
            pixels=pixels,
        )


def _polygons(pixels: NDArray[np.bool_]) -> list[list[Ring]]:
    """The outlines of all parts of a mask that hold together by their edges, each with its holes."""
    from scipy.ndimage import label

    parts, count = label(pixels)
    padded = np.pad(parts, 1)
    starts, directions, owners = _edges(padded)
    found: list[list[Ring]] = [[] for _ in range(count)]
    for edges in _cycles(starts, directions, owners, padded.shape[1]):
        turning = directions[edges] != directions[np.roll(edges, 1)]
        ring = starts[edges[turning]]
        # The outer ring runs around its holes, so it comes first.
        position = 0 if signed_area(ring) > 0 else len(found[owners[edges[0]] - 1])
        found[owners[edges[0]] - 1].insert(position, ring)
    return found


def _edges(padded: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Edges between inside and outside: start (x, y), direction (index of `_STEPS`) and the part inside."""
    inside = padded > 0
    neighbours = (
        np.roll(inside, 1, 0),
        np.roll(inside, -1, 1),
        np.roll(inside, -1, 0),
        np.roll(inside, 1, 1),
    )
    offsets = ((0, 0), (1, 0), (1, 1), (0, 1))  # from a pixel's upper left corner to where its edges start
    starts, directions, owners = [], [], []
    for direction, (neighbour, offset) in enumerate(zip(neighbours, offsets, strict=True)):
        rows, columns = np.nonzero(inside & ~neighbour)
        starts.append(np.stack([columns, rows], 1) - 1 + offset)
        directions.append(np.full(len(rows), direction))
        owners.append(padded[rows, columns])
    return np.concatenate(starts), np.concatenate(directions), np.concatenate(owners)


def _cycles(starts: NDArray, directions: NDArray, owners: NDArray, width: int) -> Iterator[NDArray]:
    """Link the edges to closed rings; each as the positions of its edges, in order."""
    keys = starts[:, 1] * width + starts[:, 0]
    ends = starts + _STEPS[directions]
    order = np.argsort(keys, kind="stable")
    first = np.searchsorted(keys[order], ends[:, 1] * width + ends[:, 0])
    one = order[first]
    # Where two pixels touch at a corner, two edges start. Pixels of one part stay joined there and those of
    # two parts apart, so that no ring touches itself.
    two = order[np.minimum(first + 1, len(order) - 1)]
    fork = (keys[one] == keys[two]) & (one != two)
    turn = np.where(owners[one] == owners[two], directions - 1, directions + 1) % 4
    following = np.where(fork & (directions[two] == turn), two, one).tolist()

    done = bytearray(len(following))
    for edge in range(len(following)):
        ring = []
        while not done[edge]:
            done[edge] = 1
            ring.append(edge)
            edge = following[edge]
        if ring:
            yield np.array(ring)


def signed_area(ring: Ring) -> float:
    """Area within a ring by the shoelace formula, negative when it runs the other way round."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


def mean_probability(output: Output, region: Region, class_index: int) -> float | None:
    """Mean probability of a class within a region, to six digits; None for a mask without probabilities."""
    probability = output.prediction.probability
    if probability is None:
        return None
    of_class = probability if probability.ndim == 2 else probability[class_index]
    return round(region.mean(of_class), 6)


def rounded(labels: dict[str, float] | None) -> dict[str, float] | None:
    """Label probabilities to six digits."""
    return None if labels is None else {name: round(value, 6) for name, value in labels.items()}
