"""Lightning's Trainer as this package uses it: one device per process, whole checkpoints, the run's clock."""

import inspect
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from delineate.config import Recipe
from delineate.files import atomic_path
from delineate.processes import Processes
from delineate.record import now
from delineate.training.checkpoints import AtomicCheckpointIO
from delineate.training.module import TrainingModule
from delineate.training.run import RunFolder


def create_trainer(
    recipe: Recipe, folder: RunFolder, callbacks: list[Callback], processes: Processes, *, validate: bool
) -> lightning.Trainer:
    """Build the Trainer of a run.

    Args:
        recipe: epochs, precision, clipping, selection.
        folder: where checkpoints go; the first process writes them.
        callbacks: what else listens.
        processes: those that train together.
        validate: whether there is a validation split.
    """
    training = recipe.training
    checkpoints = folder.last.parent
    callbacks = list(callbacks)
    if validate:
        callbacks.append(_keep(checkpoints, "best", "score"))
        if training.patience:
            callbacks.append(
                EarlyStopping("score", patience=training.patience, mode="max", check_on_train_epoch_end=True)
            )
    # Last, so that it holds what the others know about this epoch.
    callbacks.append(_keep(checkpoints, "last", None))
    return lightning.Trainer(
        max_epochs=training.epochs,
        precision=training.precision,
        gradient_clip_val=training.gradient_clip or None,
        deterministic=training.deterministic,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validate else 0,
        use_distributed_sampler=False,
        default_root_dir=folder.root,
        **_where(processes),
    )


@contextmanager
def repeatable(deterministic: bool) -> Iterator[None]:
    """Let Lightning switch PyTorch to repeatable operations, and leave the process as it was afterwards."""
    settings: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    fill = settings.fill_uninitialized_memory
    # Filling fresh memory guards against reading it, which no layer here does, at a pass over each tensor.
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(before)


@contextmanager
def interruptible(trainer: lightning.Trainer) -> Iterator[None]:
    """Let Ctrl-C end training as KeyboardInterrupt: Lightning turns it into an exit and then ignores more."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if trainer.interrupted:
        raise KeyboardInterrupt


class Clock(Callback):
    """Adds up the time of all sessions of a run and counts them, inside the checkpoint."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.before = 0.0
        self.resumed = 0
        self.started = now()

    def seconds(self) -> float:
        """Seconds of all sessions until now."""
        return self.before + time.monotonic() - self.start

    def state_dict(self) -> dict[str, object]:
        return {"seconds": self.seconds(), "resumed": self.resumed, "started": self.started}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.before, self.resumed = float(str(state["seconds"])), int(str(state["resumed"])) + 1
        self.started = str(state["started"])


class History(Callback):
    """Writes history.csv whole after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._write(module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._write(module)

    def _write(self, module: lightning.LightningModule) -> None:
        if isinstance(module, TrainingModule) and module.history:
            with atomic_path(self.path) as temporary:
                table = pd.DataFrame(module.history).astype({"epoch": int})
                table.to_csv(temporary, index=False, float_format="%.6g")


class _Started(ClusterEnvironment):
    """Tells Lightning that the processes run and are connected already, each with one device of its own."""

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self.processes = processes

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        raise RuntimeError("The processes are connected; nobody needs their address.")

    @property
    def main_port(self) -> int:
        raise RuntimeError("The processes are connected; nobody needs their port.")

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.processes.size

    def set_world_size(self, size: int) -> None:
        """Nothing: the launcher has decided."""

    def global_rank(self) -> int:
        return self.processes.rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing: the launcher has decided."""

    def local_rank(self) -> int:
        return 0  # the place of its device in a list that holds only that one

    def node_rank(self) -> int:
        return self.processes.rank


def _where(processes: Processes) -> dict[str, Any]:
    """Arguments of Trainer about devices and processes."""
    checkpoints = AtomicCheckpointIO()
    if processes.size == 1 or processes.device is None:
        # One device and no launcher, whatever the environment holds: a single process of a SLURM job, or one
        # on a machine with several GPUs, is not to wait for others.
        return {"devices": 1, "plugins": [checkpoints, LightningEnvironment()]}
    # Batch-norm statistics are the same everywhere already; sending them at each step would cost time, and
    # in validation, where the number of batches differs, it would never end.
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {buffers: False}
    strategy = DDPStrategy(
        parallel_devices=[processes.device],
        cluster_environment=_Started(processes),
        find_unused_parameters=True,  # auxiliary heads that a recipe gives no loss
        **options,
    )
    return {"strategy": strategy, "plugins": [checkpoints]}


def _keep(folder: Path, name: str, monitor: str | None) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder,
        filename=name,
        monitor=monitor,
        mode="max",
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
