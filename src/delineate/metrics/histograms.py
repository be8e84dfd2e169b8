"""What set-level scores need of each image, compact, so that it can be kept, merged and resampled.

Some scores of a set are no means of per-image scores: the best threshold of PraNet's averaged curves, and the
AUC and calibration of all pixels together. Keeping every probability map would take gigabytes; three
histograms per image and class do:

 - pixels by the highest of PraNet's 256 thresholds they reach, object and background: exact;
 - pixels by probability in 1021 bins (1/1020 apart), object and background: exact for maps of 8-bit values;
   otherwise pixels of one bin count as ties, and `Stack.auc_bound` says by how much the AUC may be off;
 - pixels, summed probability and object pixels in 15 bins, and the summed squared error: exact.

That is about 10 KB per image and class, whatever the image's size. `Histograms` collects them by image id;
processes (or ranks) fill one each and `merge` puts them together, every image exactly once.
"""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError
from delineate.files import atomic_path
from delineate.metrics import pixels, pranet
from delineate.metrics.calibration import BINS, Calibration
from delineate.metrics.saliency import FloatMap, prepare

FloatArray = npt.NDArray[np.float64]

RANKS = 1021
_LEVELS = 2 * pranet.LEVELS
_WIDTH = _LEVELS + 2 * RANKS + 2 * BINS
_FORMAT = 1


@dataclass(frozen=True)
class ImageHistograms:
    """One image, K classes."""

    counts: npt.NDArray[np.uint32]
    """(K, 2584) pixels: by PraNet level, by probability (background, then object, each), then all and object
    pixels by calibration bin."""
    sums: FloatArray
    """(K, 16): probability summed in each calibration bin, then the summed squared error."""


def image_histograms(
    reference: npt.NDArray[np.uint8], probability: FloatMap, *, classes: Sequence[str]
) -> ImageHistograms:
    """Make the histograms of one image.

    Args:
        reference: (H, W) uint8 index map, as for `score_image`.
        probability: (H, W) for one class, or (classes + 1, H, W) with channel 0 the background; 0 to 1.
        classes: names of the foreground classes.

    Raises:
        InputError: shapes, types or values do not fit.
    """
    wanted = reference.shape if len(classes) == 1 else (len(classes) + 1, *reference.shape)
    if probability.shape != wanted:
        raise InputError(
            f"The probability map must be {[*wanted]}, got {[*probability.shape]}; "
            "resize it to the reference."
        )
    channels = [probability] if len(classes) == 1 else [*probability[1:]]
    rows = [_of_class(reference == index, channel) for index, channel in enumerate(channels, start=1)]
    return ImageHistograms(np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]))


def _of_class(
    reference: npt.NDArray[np.bool_], probability: FloatMap
) -> tuple[npt.NDArray[np.uint32], FloatArray]:
    stretched = prepare(reference, probability, stretch=True)
    clean = prepare(reference, probability, stretch=False)
    rank = np.rint(clean * (RANKS - 1)).astype(np.intp)
    rank += RANKS * reference
    ranks = np.bincount(rank.ravel(), minlength=2 * RANKS)
    all_pixels, probabilities, objects = pixels.reliability_sums(reference, clean)
    levels = pranet.level_histogram(reference, stretched).ravel()
    counts = np.concatenate([levels, ranks, all_pixels, objects]).astype(np.uint32)
    return counts, np.append(probabilities, pixels.squared_error(reference, clean))


@dataclass(frozen=True)
class Stack:
    """The histograms of one class in N images, ready for resampling."""

    counts: npt.NDArray[np.uint32]
    """(N, 2584)."""
    sums: FloatArray
    """(N, 16)."""

    @cached_property
    def curves(self) -> dict[str, FloatArray]:
        """PraNet's curves of each image, (N, 256)."""
        return pranet.curves(self.counts[:, :_LEVELS].reshape(-1, 2, pranet.LEVELS))

    @cached_property
    def ranks(self) -> FloatArray:
        """(N, 2 * 1021): background, then object pixels by probability."""
        return self.counts[:, _LEVELS : _LEVELS + 2 * RANKS].astype(np.float64)

    @cached_property
    def bins(self) -> FloatArray:
        """(N, 2 * 15): all, then object pixels by calibration bin."""
        return self.counts[:, _LEVELS + 2 * RANKS :].astype(np.float64)

    def auc_bound(self) -> float:
        """Largest possible error of the pooled AUC: half of the pairs that share a bin; 0 for 8-bit maps."""
        background, objects = self.ranks.sum(axis=0).reshape(2, RANKS)
        pairs = background.sum() * objects.sum()
        return float((background * objects).sum() / 2 / pairs) if pairs else 0.0

    def reliability(self) -> Calibration:
        """The reliability diagram of all pixels together; empty bins hold NaN."""
        count, objects = self.bins.sum(axis=0).reshape(2, BINS)
        some = count > 0
        confidence = np.divide(self.sums[:, :BINS].sum(axis=0), count, out=np.full(BINS, np.nan), where=some)
        frequency = np.divide(objects, count, out=np.full(BINS, np.nan), where=some)
        return Calibration(np.linspace(0, 1, BINS + 1), confidence, frequency, count.astype(np.int64))


class Histograms:
    """Histograms of many images by their ids; fill it image by image, merge it over processes.

    Args:
        classes: names of the foreground classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._images: dict[str, ImageHistograms] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._images

    def add(self, image_id: str, image: ImageHistograms) -> None:
        """Take one image in.

        Raises:
            InputError: the image is there already, or has another number of classes.
        """
        if image_id in self._images:
            raise InputError(f"The histograms hold the image {image_id!r} already; add every image once.")
        if image.counts.shape != (len(self.classes), _WIDTH):
            raise InputError(
                f"The histograms of {image_id!r} are of {image.counts.shape[0]} classes, "
                f"not of {', '.join(self.classes)}; score all images with the same classes."
            )
        self._images[image_id] = image

    def merge(self, other: "Histograms") -> "Histograms":
        """Take in what another process collected, and return self.

        Raises:
            InputError: the classes differ, or an image is in both; self is then unchanged.
        """
        if self.classes != other.classes:
            raise InputError(
                f"Histograms of {', '.join(self.classes)} and of {', '.join(other.classes)} cannot be "
                "merged; score all images with the same classes."
            )
        twice = sorted(self._images.keys() & other._images.keys())
        if twice:
            raise InputError(
                f"The image {twice[0]!r} is in both parts of the histograms; score every image once."
            )
        self._images |= other._images
        return self

    def stack(self, ids: Iterable[str], label: str) -> Stack:
        """Return the histograms of one class, one row per id.

        Raises:
            InputError: an image or the class is not there.
        """
        wanted = list(ids)
        if label not in self.classes:
            raise InputError(f"The histograms have no class {label!r}; they have {', '.join(self.classes)}.")
        missing = [image_id for image_id in wanted if image_id not in self._images]
        if missing:
            raise InputError(
                f"The histograms lack {len(missing)} image(s) of the table, for example {missing[0]!r}; "
                "collect them in the same run."
            )
        index = self.classes.index(label)
        images = [self._images[image_id] for image_id in wanted]
        counts = (
            np.stack([image.counts[index] for image in images]) if images else np.zeros((0, _WIDTH), "u4")
        )
        sums = np.stack([image.sums[index] for image in images]) if images else np.zeros((0, BINS + 1))
        return Stack(counts, sums)

    def save(self, path: Path) -> None:
        """Write to a compressed .npz file, whole or not at all."""
        shape = (0, len(self.classes))
        counts = [image.counts for image in self._images.values()]
        sums = [image.sums for image in self._images.values()]
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(_FORMAT),
                classes=np.array(self.classes, dtype=np.str_),
                ids=np.array([*self._images], dtype=np.str_),
                counts=np.stack(counts) if counts else np.zeros((*shape, _WIDTH), np.uint32),
                sums=np.stack(sums) if sums else np.zeros((*shape, BINS + 1)),
            )

    @classmethod
    def load(cls, path: Path) -> "Histograms":
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            InputError: the file is missing, damaged or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                if int(content["format"]) != _FORMAT:
                    raise InputError(
                        f"{path} was written by another version; run `delineate evaluate` again."
                    )
                found = cls([str(name) for name in content["classes"]])
                rows = zip(content["ids"], content["counts"], content["sums"], strict=True)
                for image_id, counts, sums in rows:
                    found.add(str(image_id), ImageHistograms(counts, sums))
                return found
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing; run `delineate evaluate` again.") from error
        except InputError:
            raise
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is damaged; run `delineate evaluate` again.") from error


# Set-level scores: the histograms of N images and weights (R, N) -> (R,), NaN where undefined.


def best_of_mean_curve(stack: Stack, weights: FloatArray, curve: str) -> FloatArray:
    """Largest value of a PraNet curve that is averaged over the images first."""
    total = weights.sum(axis=1)
    best = (weights @ stack.curves[curve]).max(axis=1)
    return _ratio(best, total)


def pooled_auc(stack: Stack, weights: FloatArray) -> FloatArray:
    """Area under the ROC curve over the pixels of all images together, ties half."""
    summed = (weights @ stack.ranks).reshape(-1, 2, RANKS)
    background, objects = summed[:, 0], summed[:, 1]
    below = background.cumsum(axis=1) - background
    ordered = (objects * (below + background / 2)).sum(axis=1)
    return _ratio(ordered, objects.sum(axis=1) * background.sum(axis=1))


def pooled_ece(stack: Stack, weights: FloatArray) -> FloatArray:
    """Expected calibration error over the pixels of all images together."""
    gap = stack.bins[:, BINS:] - stack.sums[:, :BINS]
    return _ratio(np.abs(weights @ gap).sum(axis=1), _pixels(stack, weights))


def pooled_brier(stack: Stack, weights: FloatArray) -> FloatArray:
    """Mean squared error over the pixels of all images together."""
    return _ratio(weights @ stack.sums[:, BINS], _pixels(stack, weights))


def _pixels(stack: Stack, weights: FloatArray) -> FloatArray:
    return weights @ stack.bins[:, :BINS].sum(axis=1)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
