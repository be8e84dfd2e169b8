"""Predictions that any program wrote, as files: masks, class indices or probability maps.

Pictures (PNG, BMP, TIFF, JPEG), NumPy arrays (.npy, .npz) and NIfTI volumes are read with every bit they
have. What the numbers mean is decided once for the whole set, never file by file: a map whose probabilities
stay below 2/255 looks like a mask of 0 and 1 when it is looked at alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError, require
from delineate.data import nifti, pictures
from delineate.data.case import MaskEncoding
from delineate.data.opening import check_not_empty, naming_faults
from delineate.data.volumes import is_nifti

Kind = Literal["auto", "mask", "probability"]

ARRAYS = (".npy", ".npz")
ENDINGS = (*pictures.ENDINGS, *ARRAYS, *nifti.ENDINGS)
"""Endings of files that predictions are read from, in lower case."""

_MOST_VALUES = 256
_REMEDY = "write the prediction again"
_TOPS = {np.dtype(bool): 1, np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


@dataclass(frozen=True)
class Contents:
    """What one prediction holds, before anybody says what it means."""

    floating: bool
    shape: tuple[int, ...]
    low: float
    high: float
    values: frozenset[int] | None
    """The whole numbers in it; None for fractions and for more than 256 different numbers."""
    top: int | None
    """Largest value of its type, which a probability of 1 has: 255 or 65535; None for other types."""


@dataclass(frozen=True)
class Reading:
    """What the numbers of all predictions mean."""

    kind: Literal["mask", "probability"]
    index: Mapping[int, int] | None = None
    """Of masks: file value -> class index, 0 the background."""

    def __str__(self) -> str:
        if self.index is None:
            return "probability maps"
        pairs = ", ".join(f"{value} is {index}" for value, index in sorted(self.index.items()))
        return f"masks (file value and class: {pairs})"


def read_prediction(path: Path, position: int | None = None) -> NDArray:
    """Read the numbers of a prediction as they are in the file.

    Args:
        path: a picture, an array or a NIfTI volume.
        position: the axial slice of a volume, from 0; volumes are turned as the references' are.

    Returns:
        (H, W), or (C, H, W) for an array of three axes; bool, whole numbers or floating point.

    Raises:
        InputError: the file is missing, damaged or of another kind, or holds NaN or infinite values.
    """
    name = path.name.lower()
    with naming_faults(path, _REMEDY):
        check_not_empty(path)
        if name.endswith(ARRAYS):
            values = _read_array(path)
        elif is_nifti(path):
            values = _volume(path, path.stat().st_mtime_ns)[position or 0]
        elif pictures.is_deep(path):
            with Image.open(path) as image:
                values = np.array(image)
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
            if image.mode.startswith("I;16"):
                values = values.astype(np.uint16)
        else:
            values = pictures.read_values(path, lossy=name.endswith((".jpg", ".jpeg")))
    if values.ndim not in (2, 3) or values.dtype.kind not in "buif" or 0 in values.shape:
        raise InputError(
            f"{path} holds {values.dtype} of shape {[*values.shape]}, but a prediction is one grey picture "
            "or one array (H, W) or (classes + 1, H, W) of numbers; write it so."
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{path} holds NaN or infinite values, which are no probabilities; {_REMEDY}.")
    return values[0] if values.ndim == 3 and values.shape[0] == 1 else values


def look_into(values: NDArray) -> Contents:
    """Describe what `read_prediction` gave."""
    found = np.unique(values)
    whole = found.size <= _MOST_VALUES and bool((found == np.rint(found)).all())
    return Contents(
        floating=values.dtype.kind == "f",
        shape=values.shape,
        low=float(values.min()),
        high=float(values.max()),
        values=frozenset(map(int, found)) if whole else None,
        top=_TOPS.get(values.dtype),
    )


def decide_reading(contents: Mapping[Path, Contents], encoding: MaskEncoding, kind: Kind) -> Reading:
    """Decide what the numbers of a set of predictions mean.

    One class: floating point from 0 to 1 is probability; nothing but 0 and 1, or 0 and 255 (or the largest
    value of the type), is a mask, and so is a set that holds only the references' file values; other unsigned
    whole numbers are probabilities times the largest value of the type. Several classes: floating point is
    one channel per class with the background first; whole numbers are the references' file values, or class
    indices from 0. Label maps of whole numbers in floating point, as NIfTI tools write them, count as whole.

    Args:
        contents: of every file that is scored.
        encoding: of the references.
        kind: "mask" and "probability" say what "auto" finds out, and make an error of what contradicts.

    Raises:
        InputError: the numbers contradict each other, `kind` or the classes, or could mean two things.
    """
    classes = len(encoding.classes)
    floating = [path for path, one in contents.items() if one.floating]
    if floating and len(floating) < len(contents):
        other = next(path for path in contents if path not in floating)
        raise InputError(
            f"{floating[0]} holds floating point and {other} whole numbers; write all predictions in one way."
        )
    label_maps = all(one.values is not None and len(one.shape) == 2 for one in contents.values())
    if label_maps and floating and classes == 1:
        label_maps = any(one.high > 1 for one in contents.values())
    channels = classes if floating and not label_maps else 1
    for path, one in contents.items():
        _check_shape(path, one, channels)
    if floating and not label_maps:
        return _floating(contents, kind)
    found: frozenset[int] = frozenset().union(*(one.values or range(257) for one in contents.values()))
    index = _indices(found, encoding, {255} | {one.top for one in contents.values() if one.top})
    if classes > 1 and kind == "probability":
        raise InputError(
            f"Probabilities of {classes} classes need a channel for each, the background first; write .npy "
            "arrays (classes + 1, H, W) of floating point."
        )
    if index is not None and kind != "probability":
        return Reading("mask", index)
    if classes > 1 or kind == "mask":
        path = next(path for path, one in contents.items() if one.values is None or not one.values <= {0, 1})
        raise InputError(
            f"{path} holds {_shown(contents[path])}, which are not the masks' values "
            f"({_expected(encoding)}); write them so, or name the file values with --classes."
        )
    return _graded(contents, kind)


def probabilities(values: NDArray, reading: Reading, classes: int) -> NDArray[np.floating]:
    """Turn what `read_prediction` gave into what `score_image` takes.

    Args:
        values: of one prediction.
        reading: of the whole set.
        classes: number of foreground classes.

    Returns:
        (H, W) floating point for one class, (classes + 1, H, W) for several; masks give 0 and 1.
    """
    if reading.index is not None:
        return one_hot(class_indices(values, reading.index), classes)
    if values.dtype.kind == "f":
        return values.astype(np.float32) if values.dtype == np.float16 else values
    return values / np.float64(_TOPS[values.dtype])


def class_indices(values: NDArray, index: Mapping[int, int]) -> NDArray[np.uint8]:
    """Turn file values of a mask into class indices; `index` names every value in it."""
    indices = np.zeros(values.shape, dtype=np.uint8)
    for value, one in index.items():
        indices[values == value] = one
    return indices


def one_hot(indices: NDArray[np.uint8], classes: int) -> NDArray[np.floating]:
    """Give each pixel's class the probability 1: (H, W) for one class, else (classes + 1, H, W)."""
    if classes == 1:
        return indices.astype(np.float64)
    return (indices == np.arange(classes + 1, dtype=np.uint8)[:, None, None]).astype(np.float32)


def _read_array(path: Path) -> NDArray:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded as archive:
        if len(archive.files) != 1:
            raise InputError(
                f"{path} holds {len(archive.files)} arrays ({', '.join(archive.files[:5])}), but a "
                "prediction is one array; save it alone."
            )
        array: NDArray = archive[archive.files[0]]
        return array


@lru_cache(maxsize=1)
def _volume(path: Path, _stamp: int) -> NDArray:
    """A volume's values after the header's scaling: (slices, H, W), turned as `delineate.data.nifti` does."""
    nibabel = require("nibabel", "nifti")
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    data = np.asanyarray(canonical.dataobj)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim == 2:
        data = data[..., None]
    if data.ndim != 3:
        raise InputError(f"{path} has {data.ndim} axes, but a volume has three; save one volume per file.")
    return data[::-1, ::-1].transpose(2, 1, 0)


def _floating(contents: Mapping[Path, Contents], kind: Kind) -> Reading:
    if kind == "mask":
        path = next(iter(contents))
        raise InputError(f"{path} holds floating point, but masks hold whole numbers; leave --kind out.")
    for path, one in contents.items():
        if one.low < -1e-4 or one.high > 1 + 1e-4:
            raise InputError(
                f"{path} holds values from {one.low:.4g} to {one.high:.4g}, but probabilities lie between 0 "
                "and 1; apply the sigmoid or softmax before writing, or divide by the largest value."
            )
    return Reading("probability")


def _graded(contents: Mapping[Path, Contents], kind: Kind) -> Reading:
    """Whole numbers as probabilities, unless they could as well be class numbers or wrongly scaled."""
    for path, one in contents.items():
        if one.top is None or one.top == 1:
            raise InputError(
                f"{path} holds {_shown(one)} of a type without a natural largest value; write "
                "probabilities as floating point, or as unsigned whole numbers of 8 or 16 bits."
            )
    binary = {path: one.values for path, one in contents.items() if one.values and one.values <= {0, 1}}
    large = [path for path, one in contents.items() if one.values and one.values <= {0, one.top}]
    if kind == "auto" and len({*binary, *large}) == len(contents):
        path = next(path for path, values in binary.items() if 1 in values)
        other = next(path for path in large if path not in binary)
        raise InputError(
            f"{path} holds 0 and 1, and {other} 0 and {contents[other].top}; write all masks in one way, or "
            "say --kind probability if 1 is a small probability."
        )
    if kind == "auto" and all(one.high < (one.top or 0) / 2 for one in contents.values()):
        path, one = max(contents.items(), key=lambda item: item[1].high)
        raise InputError(
            f"No prediction reaches half of its range: the largest value is {one.high:g} of {one.top} in "
            f"{path}; name the classes with --classes if these are class numbers, or say --kind probability."
        )
    return Reading("probability")


def _indices(found: frozenset[int], encoding: MaskEncoding, tops: set[int]) -> dict[int, int] | None:
    """File value -> class index of predictions that are masks, None if they are not."""
    if encoding.values is not None:
        named = {encoding.background: 0}
        for i, value in enumerate(encoding.values, start=1):
            named |= dict.fromkeys((value,) if isinstance(value, int) else value, i)
        if found <= named.keys():
            return named
    plain = {i: i for i in range(len(encoding.classes) + 1)}
    if found <= plain.keys():
        return plain
    if len(encoding.classes) == 1:
        for top in sorted(tops):
            if found <= {0, top}:
                return {0: 0, top: 1}
    return None


def _check_shape(path: Path, one: Contents, classes: int) -> None:
    wanted = 2 if classes == 1 else 3
    if len(one.shape) != wanted or (wanted == 3 and one.shape[0] != classes + 1):
        form = "(H, W)" if classes == 1 else f"({classes + 1}, H, W), the background first"
        raise InputError(
            f"{path} has the shape {[*one.shape]}, but the prediction must be {form}; "
            "write it so, or name all classes with --classes."
        )


def _expected(encoding: MaskEncoding) -> str:
    plain = ", ".join(map(str, range(len(encoding.classes) + 1)))
    if encoding.values is None:
        return "0 and 1, or 0 and 255" if len(encoding.classes) == 1 else plain
    own: Sequence[object] = [encoding.background, *encoding.values]
    return f"{', '.join(map(str, own))}, or {plain}"


def _shown(one: Contents) -> str:
    if one.values is None:
        return f"many values from {one.low:g} to {one.high:g}"
    values = sorted(one.values)
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return f"the values {', '.join(map(str, values[:8]))}{more}"
