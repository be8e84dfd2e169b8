"""Pseudo-labels: image classes made by grouping the images, for data sets without class labels.

FCP-Net, section V.B and table XIII: without class labels, K-means, a Gaussian mixture or an autoencoder stand
in for them (in the table: K-means on PH2). The paper says neither what is grouped nor how many groups there
are. Readings: as many groups as `task.labels` has names, and these features of an image:

    kmeans, gaussian_mixture   mean, deviation and five quantiles of each colour channel, standardised, beside
                               a 16 x 16 thumbnail reduced by PCA to at most 8 numbers; both weigh the same
    autoencoder                the 16 numbers to which a small convolutional network compresses a 32 x 32
                               thumbnail, grouped by K-means

Everything is fitted on the training split. Validation images get the group they fall into. Test images get no
label, so that no result is ever scored against a pseudo-label.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.config import PseudoLabels, Recipe
from delineate.data import Cache, Case, CaseDataset
from delineate.data.cache import resize_image

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float64]

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_THUMBNAIL, _COMPONENTS = 16, 8
_CODE_SIDE, _CODE, _STEPS, _BATCH = 32, 16, 200, 32


def assign_pseudo_labels(
    cases: Sequence[Case],
    recipe: Recipe,
    *,
    cache: Cache | None = None,
    region: Literal["image", "mask"] = "image",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Case], pd.DataFrame]:
    """Label training and validation cases with the groups that their images form.

    Args:
        cases: cases with a split and without labels; labels in `task.ignore_labels` count as none and are
            taken away. Files of test cases are not opened.
        recipe: `task.pseudo_labels` says how; `task.labels` names the groups, the first name for the largest
            group of the training split. Images are read at `data.size`.
        cache: where decoded images are kept, or None to decode each file here.
        region: "image" looks at the whole image; "mask" at the reference mask's pixels and bounding box, or
            the whole image where there is no mask or an empty one.
        progress: called with (done, total) after each image that was read.

    Returns:
        The cases in the order given, with one of the names as label in the splits train and val and None in
        test; and a table of the labels with the columns image_id, split and label, sorted by image_id. The
        same input gives the same labels.

    Raises:
        InputError: the recipe asks for no pseudo-labels or its labels do not stand for themselves, the data
            set has labels or no splits, or there are fewer different training images than names.
    """
    settings = _check(cases, recipe)
    names = list(recipe.task.labels)
    members = sorted((case for case in cases if case.split in ("train", "val")), key=lambda case: case.id)
    training = np.array([case.split == "train" for case in members], dtype=bool)
    if training.sum() < len(names):
        raise _too_few(len(names), f"{training.sum()} images")
    side = _CODE_SIDE if settings.method == "autoencoder" else _THUMBNAIL
    statistics, thumbnails = _read(members, recipe, cache, region, side, progress)
    if settings.method == "autoencoder":
        x = _code(thumbnails, training, settings.seed)
    else:
        x = _features(statistics, thumbnails, training)
    group = _group(x, training, len(names), settings)
    sizes = np.bincount(group[training], minlength=len(names))
    if not sizes.all():
        raise _too_few(len(names), f"{(sizes > 0).sum()} groups of images")
    # Largest first; of equal ones, the one that holds the first id.
    order = sorted(range(len(names)), key=lambda g: (-sizes[g], int(np.argmax(training & (group == g)))))
    label = [names[order.index(g)] for g in group]
    table = pd.DataFrame(
        {"image_id": [c.id for c in members], "split": [c.split for c in members], "label": label}
    )
    return apply_pseudo_labels(cases, table), table


def apply_pseudo_labels(cases: Sequence[Case], table: pd.DataFrame) -> list[Case]:
    """Give cases the labels of a table from `assign_pseudo_labels`, and None to those of the test split.

    Raises:
        InputError: a training or validation case is not in the table.
    """
    label_of = dict(zip(table["image_id"].astype(str), table["label"].astype(str), strict=True))
    done = []
    for case in cases:
        if case.split != "test" and case.id not in label_of:
            raise InputError(
                f"Case {case.id!r} has no pseudo-label in the table; use the table made for this split."
            )
        done.append(replace(case, label=None if case.split == "test" else label_of[case.id]))
    return done


def _check(cases: Sequence[Case], recipe: Recipe) -> PseudoLabels:
    settings = recipe.task.pseudo_labels
    if settings is None:
        raise InputError("The recipe has task.pseudo_labels: null; give it a method and a seed.")
    for name, members in recipe.task.labels.items():
        if members != (name,):
            raise InputError(
                f"With pseudo-labels every name in task.labels stands for itself, but {name!r} stands for "
                f"{[*members]}; write {name}: [{name}]."
            )
    for case in cases:
        if case.label is not None and case.label not in recipe.task.ignore_labels:
            raise InputError(
                f"Case {case.id!r} has the label {case.label!r}, but pseudo-labels are for data sets without "
                "labels; set task.pseudo_labels to null, or name the data set's labels in task.ignore_labels "
                "to train as if it had none."
            )
        if case.split is None:
            raise InputError(f"Case {case.id!r} has no split; split the cases first (complete_splits).")
    return settings


def _too_few(names: int, found: str) -> InputError:
    return InputError(
        f"Pseudo-labels need {names} groups of training images, one per name in task.labels, but there are "
        f"only {found}; name fewer labels."
    )


# --- features -----------------------------------------------------------------------------------------


def _read(
    members: Sequence[Case],
    recipe: Recipe,
    cache: Cache | None,
    region: Literal["image", "mask"],
    side: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Vectors, Vectors]:
    """Colour statistics (N, 21) and thumbnails (N, side, side, 3) of the images, both in [0, 1]."""
    classes = recipe.task.classes if region == "mask" else ()
    dataset = CaseDataset(members, size=recipe.data.size, classes=classes, cache=cache)
    statistics, thumbnails = [], []
    for done in range(len(dataset)):
        sample = dataset[done]
        image = sample.image.permute(1, 2, 0).numpy()  # (H, W, 3)
        pixels, picture = _region(image, sample.mask.numpy() > 0)
        values = pixels / 255
        spread = np.quantile(values, _QUANTILES, axis=0)
        statistics.append(np.concatenate([values.mean(0), values.std(0), spread.ravel()]))
        thumbnails.append(resize_image(picture, (side, side)) / 255)
        if progress is not None:
            progress(done + 1, len(dataset))
    return np.stack(statistics), np.stack(thumbnails)


def _region(image: Pixels, inside: NDArray[np.bool_]) -> tuple[Pixels, Pixels]:
    """Pixels (n, 3) inside a mask and its bounding box with their mean around it; all, when it is empty."""
    if not inside.any():
        return image.reshape(-1, 3), image
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixels = image[inside]
    mean = pixels.mean(0).round().astype(np.uint8)
    return pixels, np.ascontiguousarray(np.where(inside[box][..., None], image[box], mean))


def _features(statistics: Vectors, thumbnails: Vectors, training: NDArray[np.bool_]) -> Vectors:
    """Standardised statistics beside the thumbnails' principal components, of equal total variance."""
    from sklearn.decomposition import PCA

    known = statistics[training]
    deviation = known.std(0)
    first = (statistics - known.mean(0)) / np.where(deviation > 1e-9, deviation, 1)
    flat = thumbnails.reshape(len(thumbnails), -1)
    components = min(_COMPONENTS, int(training.sum()))
    second = PCA(components, svd_solver="full").fit(flat[training]).transform(flat)
    first_variance, second_variance = first[training].var(0).sum(), second[training].var(0).sum()
    scale = np.sqrt(first_variance / second_variance) if min(first_variance, second_variance) > 1e-12 else 1.0
    return np.concatenate([first, second * scale], axis=1)


def _code(thumbnails: Vectors, training: NDArray[np.bool_], seed: int) -> Vectors:
    """What an autoencoder, trained here on the training images, makes of all: (N, 16)."""
    images = torch.from_numpy(thumbnails).float().permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    known = images[torch.from_numpy(training)]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # the weights of the model to be trained do not depend on this
        torch.default_generator.manual_seed(seed)
        encoder, decoder = _autoencoder()
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
    for _ in range(_STEPS):
        batch = known[torch.randperm(len(known), generator=generator)[:_BATCH]]
        loss = nn.functional.mse_loss(decoder(encoder(batch)), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        code: Tensor = encoder(images)
    return code.double().numpy()


def _autoencoder() -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder (B, 3, 32, 32) -> (B, 16), and decoder back to [0, 1]."""
    widths = (16, 32, 64)
    deepest = (widths[-1], _CODE_SIDE // 8, _CODE_SIDE // 8)
    numbers = deepest[0] * deepest[1] * deepest[2]
    down: list[nn.Module] = []
    for before, after in zip((3, *widths), widths, strict=False):
        down += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    up: list[nn.Module] = [nn.Linear(_CODE, numbers), nn.ReLU(), nn.Unflatten(1, deepest)]
    for before, after in ((64, 32), (32, 16), (16, 3)):
        up += [nn.ConvTranspose2d(before, after, 2, stride=2), nn.ReLU()]
    return nn.Sequential(*down, nn.Flatten(), nn.Linear(numbers, _CODE)), nn.Sequential(
        *up[:-1], nn.Sigmoid()
    )


# --- groups -------------------------------------------------------------------------------------------


def _group(x: Vectors, training: NDArray[np.bool_], count: int, settings: PseudoLabels) -> NDArray[np.intp]:
    """Fit `count` groups on the training rows; returns the group of every row."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model: Any
    if settings.method == "gaussian_mixture":
        # Diagonal and with a floor: a full covariance has more numbers than a small data set has images.
        model = GaussianMixture(
            count, covariance_type="diag", reg_covar=1e-3, n_init=5, random_state=settings.seed
        )
    else:
        model = KMeans(count, n_init=10, random_state=settings.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an empty group is refused by the caller
        group: NDArray[np.intp] = model.fit(x[training]).predict(x)
    return group.astype(np.intp)
