"""Cases as tensors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from delineate.checks import InputError
from delineate.data.cache import Cache, Size, sized_image, sized_mask
from delineate.data.case import Case
from delineate.data.transforms import Augmentation, augment

MISSING_LABEL = -1


class Sample(NamedTuple):
    """One case as tensors."""

    image: Tensor
    """(3, H, W) uint8 RGB, not normalised."""
    mask: Tensor
    """(H, W) uint8 class indices; zeros when there is no mask."""
    has_mask: bool
    """Whether `mask` is a reference."""
    label: int
    """Index of the label, or -1 when it is missing."""
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """Position of the case in the data set."""


class Batch(NamedTuple):
    """Several cases as tensors."""

    image: Tensor
    """(B, 3, H, W) uint8 RGB, not normalised; the model's side converts it on its device."""
    mask: Tensor
    """(B, H, W) uint8 class indices: 0 background, i + 1 the class i; zeros where there is no mask."""
    has_mask: Tensor
    """(B,) bool, whether a case counts towards the mask's loss and scores."""
    label: Tensor
    """(B,) int64, -1 where missing."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """(B,) int64, positions of the cases in the data set."""


class CaseDataset(Dataset[Sample]):
    """Cases as tensors of one size.

    Args:
        cases: what to read.
        size: (height, width) of the samples.
        classes: names of the task's mask classes; empty for a task without masks, which then are not read.
        labels: label name of the task -> the data set's label names that mean it, in the order of the label
            indices; empty for a task without labels.
        ignore_labels: data set labels that count as missing.
        cache: where decoded and resized files are kept, or None to decode every time.
        augmentation: what is varied, or None for nothing (validation and test).
        seed: seed of the augmentation.

    Indexing takes a position, or (epoch, position): the augmentation depends on seed, epoch and position
    alone, so any number of worker processes, persistent or not, gives the same samples.

    Raises:
        InputError: a data label that no task label names, one that two name, or masks with other classes than
            `classes`. A binary mask fits any single class name.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        size: Size,
        classes: Sequence[str] = ("foreground",),
        labels: Mapping[str, Sequence[str]] | None = None,
        ignore_labels: Sequence[str] = (),
        cache: Cache | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.cases = tuple(cases)
        self.size = size
        self.classes = tuple(classes)
        self.cache = cache
        self.augmentation = augmentation
        self.seed = seed
        self._labels = label_indices(self.cases, labels or {}, ignore_labels)
        if self.classes:
            _check_classes(self.cases, self.classes)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        case = self.cases[index]
        pixels, indices = self._read(case)
        # A copy, because cached arrays are read-only views of a file.
        image = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
        mask = None if indices is None else torch.from_numpy(np.array(indices))
        if self.augmentation is not None:
            generator = torch.Generator().manual_seed(sample_seed(self.seed, epoch, index))
            with _one_thread():
                image, mask = augment(image, mask, self.augmentation, generator)
        has_mask = mask is not None
        if mask is None:
            mask = torch.zeros(self.size, dtype=torch.uint8)
        return Sample(image, mask, has_mask, self._labels[index], index)

    def _read(self, case: Case) -> tuple[np.ndarray, np.ndarray | None]:
        with_mask = case.mask is not None and bool(self.classes)
        if self.cache is not None:
            image = self.cache.image(case, self.size)
            return image, self.cache.mask(case, self.size) if with_mask else None
        return sized_image(case, self.size), sized_mask(case, self.size) if with_mask else None


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size into a batch."""
    return Batch(
        image=torch.stack([sample.image for sample in samples]),
        mask=torch.stack([sample.mask for sample in samples]),
        has_mask=torch.tensor([sample.has_mask for sample in samples], dtype=torch.bool),
        label=torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        index=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
    )


def label_indices(
    cases: Sequence[Case], labels: Mapping[str, Sequence[str]], ignore: Sequence[str] = ()
) -> list[int]:
    """Label index of every case: its place in `labels`, or -1 when it has none or an ignored one.

    Args:
        cases: cases with the data set's own label names.
        labels: label name of the task -> data set label names; empty for a task without labels.
        ignore: data set labels that count as missing.

    Raises:
        InputError: a data set label is named by nobody, or twice.
    """
    index_of: dict[str, int] = dict.fromkeys(ignore, MISSING_LABEL)
    for index, (name, members) in enumerate(labels.items()):
        for member in members:
            if member in index_of:
                raise InputError(
                    f"The data label {member!r} is named twice, again under {name!r}; name it once."
                )
            index_of[member] = index
    if not labels:
        return [MISSING_LABEL] * len(cases)
    for case in cases:
        if case.label is not None and case.label not in index_of:
            raise InputError(
                f"Case {case.id!r} has the label {case.label!r}, which the task's labels "
                f"({', '.join(sorted(index_of))}) do not name; add it to one of them or to ignore_labels."
            )
    return [MISSING_LABEL if case.label is None else index_of[case.label] for case in cases]


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """A 63-bit seed that is unrelated between neighbours, the same on every machine."""
    return int.from_bytes(sha256(f"{seed}/{epoch}/{index}".encode()).digest()[:8], "big") >> 1


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread, as worker processes do anyway.

    On single small images further threads only wait for each other (up to 50 times slower on a busy machine),
    and the bits would not have to be those of a worker.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_classes(cases: Sequence[Case], classes: tuple[str, ...]) -> None:
    for case in cases:
        found = case.encoding.classes
        binary = len(classes) == 1 and case.encoding.values is None
        if case.mask is not None and not binary and found != classes:
            raise InputError(
                f"The mask classes of case {case.id!r} are {', '.join(found)}, but the task segments "
                f"{', '.join(classes)}; name the same classes in the same order in both places."
            )
