"""Pairs of pictures that look the same, among up to hundreds of thousands.

Two steps. The first finds candidates: pairs whose 64-bit perceptual hashes (the signs of the lowest
frequencies of a cosine transform against their median, Zauner, "Implementation and benchmarking of perceptual
image hash functions", 2010) differ in at most `HAMMING` bits, directly or after mirroring one from left to
right. The second confirms them on the thumbnails: correlation after local contrast normalisation (Jarrett et
al., ICCV 2009), because a dark vignette or the shape of an ultrasound fan makes the plain correlation of any
two images of a modality high: it reaches 0.97 between different lesions of PH2, the normalised one not 0.8.

`SIMILAR` and `SAME` were chosen on BUSI, ISIC 2017, Kvasir-SEG and PH2, by looking at the pairs: from 0.95 on
two files differ by compression, callipers or labels drawn on them, or by a frame of the same sweep.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

HAMMING = 10
"""Most bits in which the hashes of a candidate pair differ."""
SIMILAR = 0.8
"""Correlation from which two pictures count as near-duplicates."""
MIRRORED = 0.9
"""The same for mirror images: a mirrored picture is a copy or nothing, never the next frame of a sweep."""
SAME = 0.95
"""Correlation from which they count as practically the same picture."""
FLAT = 2.0
"""Thumbnails with a smaller standard deviation, in grey levels, are not compared: they are all alike."""

_LOW = 8  # frequencies of the hash in each direction
_SIGMA = 2.0  # of the local mean and contrast, in pixels of the thumbnail
_FLOOR = 2.0  # grey levels below which local contrast counts as noise
_ROWS, _COLUMNS = 128, 512  # of a tile of the search: its differences, 512 KiB, stay in the processor's cache
_CONFIRM = 2048  # pairs whose thumbnails are compared at once


class Pair(NamedTuple):
    """Two pictures that look the same."""

    first: int
    """Position."""
    second: int
    """Position, in the second set when two sets were compared."""
    score: float
    """Correlation, at most 1."""
    mirrored: bool
    """Whether one is the mirror image of the other."""


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash thumbnails so that similar ones differ in few bits.

    Args:
        thumbnails: (N, S, S) uint8 grey levels, S at least 8.

    Returns:
        (N,) uint64; the bit of the mean grey level is always 0.
    """
    side = thumbnails.shape[1]
    frequency, position = np.mgrid[:_LOW, :side]
    basis = np.cos(np.pi * frequency * (2 * position + 1) / (2 * side)).astype(np.float32)
    hashes = np.empty(len(thumbnails), dtype=np.uint64)
    for start in range(0, len(thumbnails), _CONFIRM):
        block = thumbnails[start : start + _CONFIRM].astype(np.float32)
        low = (basis @ block @ basis.T).reshape(len(block), -1)
        above = low > np.median(low[:, 1:], axis=1, keepdims=True)
        above[:, 0] = False
        hashes[start : start + _CONFIRM] = np.packbits(above, axis=1).view(">u8").ravel()
    return hashes


def close_hashes(
    first: NDArray[np.uint64],
    second: NDArray[np.uint64] | None = None,
    *,
    distance: int = HAMMING,
    ordered: bool = False,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Find all pairs of hashes that differ in at most `distance` bits, exactly, in bounded memory.

    Args:
        first: (N,) uint64.
        second: (M,) uint64; None compares `first` with itself, each pair i < j once.
        distance: in bits.
        ordered: only pairs i < j, for hashes of the same pictures in `second`.

    Yields:
        Positions in `first` and in `second`, a block of pairs at a time.
    """
    others = first if second is None else second
    ordered = ordered or second is None
    width = min(_COLUMNS, max(1, len(others)))
    differences = np.empty((_ROWS, width), dtype=np.uint64)
    numbers = np.empty((_ROWS, width), dtype=np.uint8)
    near = np.empty((_ROWS, width), dtype=np.bool_)
    for top in range(0, len(first), _ROWS):
        rows = first[top : top + _ROWS, None]
        for left in range(top // width * width if ordered else 0, len(others), width):
            columns = others[None, left : left + width]
            tile = np.s_[: len(rows), : columns.shape[1]]
            np.bitwise_xor(rows, columns, out=differences[tile])
            np.bitwise_count(differences[tile], out=numbers[tile])
            np.less_equal(numbers[tile], distance, out=near[tile])
            if near[tile].any():
                i, j = np.nonzero(near[tile])
                i, j = i + top, j + left
                keep = i < j if ordered else np.ones(len(i), dtype=np.bool_)
                if keep.any():
                    yield i[keep], j[keep]


def near_pairs(
    thumbnails: NDArray[np.uint8],
    others: NDArray[np.uint8] | None = None,
    *,
    skip: NDArray[np.int64] | None = None,
) -> Iterator[Pair]:
    """Find the pairs of pictures that look the same or like mirror images.

    Args:
        thumbnails: (N, S, S) uint8 grey levels.
        others: (M, S, S), another set; None compares `thumbnails` with themselves, each pair once.
        skip: (N,) numbers of which equal ones are not compared, for example of the volume that a slice is
            from; negative numbers equal none. Only without `others`.

    Yields:
        Pairs with a score of at least `SIMILAR`, or `MIRRORED`, in no particular order.
    """
    seconds = thumbnails if others is None else others
    use = np.flatnonzero(_varied(thumbnails))
    use_second = use if others is None else np.flatnonzero(_varied(others))
    # Hashed before the flat ones are left out, because leaving out copies the thumbnails of all others.
    hashes = perceptual_hashes(thumbnails)[use]
    hashes_second = None if others is None else perceptual_hashes(seconds)[use_second]
    turned = perceptual_hashes(seconds[:, :, ::-1])[use_second]
    for mirrored, blocks in (
        (False, close_hashes(hashes, hashes_second)),
        (True, close_hashes(hashes, turned, ordered=others is None)),
    ):
        for rows, columns in blocks:
            i, j = use[rows], use_second[columns]
            if skip is not None:
                keep = (skip[i] != skip[j]) | (skip[i] < 0)
                i, j = i[keep], j[keep]
            for start in range(0, len(i), _CONFIRM):
                part = np.s_[start : start + _CONFIRM]
                yield from _confirmed(thumbnails, seconds, i[part], j[part], mirrored)


def _confirmed(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    i: NDArray[np.intp],
    j: NDArray[np.intp],
    mirrored: bool,
) -> Iterator[Pair]:
    one, two = _normalised(first[i]), _normalised(second[j])
    direct = np.einsum("nij,nij->n", one, two)
    # The neighbourhood of a pixel is symmetric, so mirroring and normalising may change places.
    turned = np.einsum("nij,nij->n", one, two[:, :, ::-1])
    scores = turned if mirrored else direct
    # A symmetric picture is like its mirror image: such a pair is reported once, as what it is rather.
    wanted = (
        (scores >= MIRRORED) & (turned > direct) if mirrored else (scores >= SIMILAR) & (direct >= turned)
    )
    for k in np.flatnonzero(wanted):
        yield Pair(int(i[k]), int(j[k]), float(scores[k]), mirrored)


def _normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Local contrast normalisation, then unit length, so that a product is a correlation."""
    pixels = thumbnails.astype(np.float32)
    over = (0, _SIGMA, _SIGMA)
    detail = pixels - gaussian_filter(pixels, over)
    detail /= np.sqrt(gaussian_filter(detail * detail, over)) + _FLOOR
    detail -= detail.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((detail * detail).sum(axis=(1, 2), keepdims=True))
    return detail / np.maximum(length, 1e-6)


def _varied(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    varied = np.empty(len(thumbnails), dtype=np.bool_)
    for start in range(0, len(thumbnails), _CONFIRM):
        block = thumbnails[start : start + _CONFIRM]
        varied[start : start + _CONFIRM] = block.std(axis=(1, 2), dtype=np.float32) >= FLAT
    return varied
