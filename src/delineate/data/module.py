"""The Lightning data module: loaders that give the same batches whatever the workers, and after a resume."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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


class EpochSampler(Sampler[tuple[int, int]]):
    """Yield (epoch, position), in an order that depends on seed and epoch alone.

    The epoch travels with every position because persistent worker processes hold a copy of the data set,
    which no later call can reach. Lightning calls `set_epoch` at the start of every epoch, resumed or not.

    Args:
        length: number of cases.
        seed: seed of the order.
        shuffle: whether the order is random; without it positions come in order.
        batch_size: a last batch of one case is dropped when `shuffle` is on, because batch normalisation has
            no variance there; another case is left out in every epoch. 1 drops nothing.
        rank: number of this process when several train together.
        world: number of processes; each takes every `world`-th position. When shuffling, all take equally
            many, so that none waits; use Trainer(use_distributed_sampler=False).
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        batch_size: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._count = len(range(rank, length, world))
        if shuffle:
            self._count = max(1, length // world) if length else 0
            if batch_size > 1 and self._count > batch_size and self._count % batch_size == 1:
                self._count -= 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.length)
        if self.shuffle:
            text = f"order/{self.seed}/{self.epoch}".encode()
            key = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
            order = np.random.Generator(np.random.PCG64(key)).permutation(self.length)
        mine = order[self.rank :: self.world][: self._count]
        yield from ((self.epoch, int(position)) for position in mine)


class CaseDataModule(lightning.LightningDataModule):
    """Loaders for the splits of a data set.

    Args:
        cases: cases that all have a split (`complete_splits`).
        size: (height, width) of the samples.
        batch_size: cases per batch; a last training batch of one case is dropped, see `EpochSampler`.
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
            seed=self.seed,
            shuffle=shuffle,
            batch_size=self.batch_size,
            rank=rank,
            world=world,
        )
        self._samplers.append(sampler)
        batches: DataLoader[Any] = _LateDataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
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
