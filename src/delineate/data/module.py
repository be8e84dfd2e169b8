"""The Lightning data module: loaders that give the same batches whatever the workers, and after a resume."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from delineate.checks import InputError
from delineate.data.cache import Cache, Plan, Progress, Size
from delineate.data.case import Case
from delineate.data.dataset import Batch, CaseDataset, collate
from delineate.data.splits import SPLITS
from delineate.data.transforms import Augmentation


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Yield this process's part of each batch as (epoch, position), in an order of seed and epoch alone.

    The epoch travels with every position because persistent worker processes hold a copy of the data set,
    which no later call can reach. Lightning calls `set_epoch` at the start of every epoch, resumed or not.

    All processes together see every case exactly once in an epoch, in the batches that one process would see.
    Shuffled batches are for learning, in which all processes take part in every step: each gets an equal
    share of every batch, up to one case. Batches in order are for scoring and are dealt out whole, in turn.

    Args:
        length: number of cases.
        batch_size: cases in a batch, of all processes together. Shuffled, a last batch with fewer cases than
            processes, or of one case alone, joins the batch before it: every process needs a case in every
            step, and batch normalisation has no variance over one.
        seed: seed of the order.
        shuffle: whether the order is random; without it positions come in order.
        rank: number of this process when several train together; use Trainer(use_distributed_sampler=False).
        world: number of processes.

    Raises:
        InputError: there are fewer cases than processes to share them.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if shuffle and length < world:
            raise InputError(
                f"{world} processes cannot share {length} training case(s); start at most one per case."
            )
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0
        starts = list(range(0, length, batch_size))
        fewest = min(batch_size, max(2, world))
        if shuffle and len(starts) > 1 and length - starts[-1] < fewest:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], length], strict=True))

    @property
    def sampler(self) -> Self:
        """Itself: Lightning looks here for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._mine())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.length)
        if self.shuffle:
            text = f"order/{self.seed}/{self.epoch}".encode()
            key = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
            order = np.random.Generator(np.random.PCG64(key)).permutation(self.length)
        for start, stop in self._mine():
            batch = order[start:stop]
            mine = batch[self.rank :: self.world] if self.shuffle else batch
            yield [(self.epoch, int(position)) for position in mine]

    def _mine(self) -> list[tuple[int, int]]:
        """First and last position, exclusive, of the batches that this process has a part in."""
        return self._bounds if self.shuffle else self._bounds[self.rank :: self.world]


class CaseDataModule(lightning.LightningDataModule):
    """Loaders for the splits of a data set.

    Args:
        cases: cases that all have a split (`complete_splits`).
        size: (height, width) of the samples.
        batch_size: cases per batch, of all processes together; see `EpochSampler`.
        classes: as in `CaseDataset`.
        labels: as in `CaseDataset`.
        ignore_labels: as in `CaseDataset`.
        augmentation: what is varied in training; validation and test are never varied.
        workers: processes per loader, kept alive between epochs; 0 loads in the main process.
        cache: whether decoded and resized files are kept on disk.
        cache_folder: where; None for the default folder.
        seed: seed of order and augmentation.

    Raises:
        InputError: a case without a split, or what `CaseDataset` and `Cache` refuse.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        size: Size,
        batch_size: int,
        classes: Sequence[str] = ("foreground",),
        labels: Mapping[str, Sequence[str]] | None = None,
        ignore_labels: Sequence[str] = (),
        augmentation: Augmentation | None = None,
        workers: int = 0,
        cache: bool = True,
        cache_folder: Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for case in cases:
            if case.split is None:
                raise InputError(f"Case {case.id!r} has no split; split the cases first (complete_splits).")
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}.")
        if workers < 0:
            raise InputError(f"workers must be 0 or more, got {workers}.")
        # With fewer validation batches than processes, some have none to score.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.size = size
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self._cache = Cache(cache_folder) if cache else None
        self._prepared = False
        options: dict[str, Any] = {
            "size": size,
            "classes": classes,
            "labels": labels,
            "ignore_labels": ignore_labels,
            "cache": self._cache,
        }
        self.datasets: dict[str, CaseDataset] = {}
        for split in SPLITS:
            members = sorted((case for case in cases if case.split == split), key=lambda case: case.id)
            varied = augmentation if split == "train" else None
            self.datasets[split] = CaseDataset(members, augmentation=varied, seed=seed, **options)
        self._samplers: list[EpochSampler] = []

    def prepare_data(self) -> None:
        """Fill the cache, once; Lightning calls this before anything is loaded."""
        self.fill_cache()

    def fill_cache(
        self, progress: Progress | None = None, *, on_plan: Callable[[Plan], None] | None = None
    ) -> None:
        """Decode and resize what the cache does not hold yet.

        Args:
            progress: called with (done, total).
            on_plan: told what will be written, before it is.
        """
        if self._cache is not None and not self._prepared:
            cases = [case for dataset in self.datasets.values() for case in dataset.cases]
            self._cache.prepare(cases, self.size, progress=progress, on_plan=on_plan)
        self._prepared = True

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, for loops other than Lightning's, which calls the samplers itself."""
        for sampler in self._samplers:
            sampler.set_epoch(epoch)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the split train, shuffled and augmented."""
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the split val, in the order of ids."""
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the split test, in the order of ids."""
        return self.loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as `test_dataloader`."""
        return self.loader("test")

    def loader(self, split: str, *, shuffle: bool = False) -> DataLoader[Batch]:
        """Batches of one split.

        Args:
            split: "train", "val" or "test".
            shuffle: whether the order is drawn from seed and epoch; augmentation belongs to the split train.

        Raises:
            InputError: the split has no cases.
        """
        dataset = self.datasets[split]
        if not dataset.cases:
            raise InputError(
                f"There are no cases in the split {split}; name some in split.csv or split anew."
            )
        rank, world = _place_among_processes()
        sampler = EpochSampler(
            len(dataset),
            batch_size=self.batch_size,
            seed=self.seed,
            shuffle=shuffle,
            rank=rank,
            world=world,
        )
        self._samplers.append(sampler)
        batches: DataLoader[Any] = _LateDataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            # A generator of its own: else each epoch takes a number from the global one, and how many depends
            # on the workers.
            generator=torch.Generator().manual_seed(self.seed),
        )
        return batches


class _LateDataLoader(DataLoader[Any]):
    """A loader that draws nothing before its first batch is asked for.

    Lightning makes the first iterator of a run before it sets the epoch. Worker processes would then be sent
    the positions of epoch 0, also when a run is resumed at a later one.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator, so the body runs late
        yield from super().__iter__()


def _place_among_processes() -> tuple[int, int]:
    """Rank and number of processes that train together, (0, 1) for a single one."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
