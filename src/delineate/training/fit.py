"""Train a model as a recipe says: data in, run folder out; resumable to the same bits."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.data import (
    READERS,
    Augmentation,
    Cache,
    Case,
    CaseDataModule,
    CheckReport,
    Plan,
    apply_manifest,
    check_cases,
    dropped,
    fingerprint,
    index,
    make_manifest,
    read_manifest,
)
from delineate.files import atomic_path
from delineate.models.checkpoint import build_model, save_model
from delineate.models.transfer import start_from
from delineate.record import RunRecord, describe_environment, now, write_record
from delineate.training.checkpoints import AtomicCheckpointIO
from delineate.training.module import Row, TrainingModule
from delineate.training.pseudo_labels import apply_pseudo_labels, assign_pseudo_labels
from delineate.training.run import RunFolder, open_run, start_run
from delineate.training.splitting import ProtocolChoice, split_for_training


@dataclass(frozen=True)
class Listener:
    """What a caller wants to hear of; every function may be left out."""

    progress: Callable[[str], AbstractContextManager[Callable[[int, int], None]]] | None = None
    """Opens a progress bar of a title; the function it gives is called with (done, all)."""
    on_gate: Callable[[CheckReport], None] | None = None
    """The findings of the data gate, before training."""
    on_cache: Callable[[Plan], None] | None = None
    """What the cache is about to write, before it does."""
    on_groups: Callable[[list[dict[str, object]]], None] | None = None
    """The optimiser's groups: name, rate and number of weights."""
    on_epoch: Callable[[Row], None] | None = None
    """The figures of a finished epoch."""
    callbacks: Sequence[Callback] = ()
    """Further Lightning callbacks, for example a progress bar."""

    def bar(self, title: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
        """Open a progress bar, or nothing when nobody listens."""
        return nullcontext() if self.progress is None else self.progress(title)


def train(
    recipe: Recipe,
    root: Path,
    run: Path,
    *,
    dataset: str = "folder",
    split: ProtocolChoice | Path | None = None,
    resume: bool = False,
    ignore_gate: bool = False,
    accept: Collection[str] = (),
    listener: Listener | None = None,
) -> RunRecord:
    """Train from a data set into a run folder.

    The test split is never read here. A run that was killed continues from its last whole epoch and ends
    with the same weights as one that was not (same machine, same number of threads).

    Args:
        recipe: all choices.
        root: folder of the data set.
        run: folder to write; new, empty, or with `resume` an unfinished run.
        dataset: name of the reader.
        split: a protocol, or a manifest file that fixes one; None for the data set's own split, completed
            as the recipe says. A run that is resumed keeps its split.
        resume: continue the run in `run`.
        ignore_gate: train in spite of any errors in the data, or on an incomplete data set.
        accept: codes of findings, such as "group-in-two-splits", to train in spite of; the record names the
            codes of all errors that were passed over.
        listener: told about progress.

    Raises:
        InputError: recipe, data and run do not fit together, or the data gate found errors.
    """
    if recipe.training.precision == "16-mixed" and not torch.cuda.is_available():
        raise InputError("training.precision 16-mixed needs a GPU; set it to bf16-mixed or 32-true.")
    listener = listener or Listener()
    folder = open_run(run, recipe, resume=resume)
    started, clock = now(), time.monotonic()

    found = index(root, dataset, partial=True)  # the gate counts what is there
    if resume:
        manifest = read_manifest(folder.splits)
        cases = apply_manifest(found, manifest)
    else:
        chosen = split_for_training(found, recipe, split)
        cases = chosen.cases
    with listener.bar("checking the data") as update:
        report = check_cases(cases, about=READERS[dataset].about, whole=found, progress=update)
    if listener.on_gate is not None:
        listener.on_gate(report)
    errors = [error for error in report.errors if error.code not in accept]
    if errors and not ignore_gate:
        accepting = " ".join(f"--accept {code}" for code in dict.fromkeys(error.code for error in errors))
        raise InputError(
            f"The data gate found {len(errors)} error(s) in {root}, the first: {errors[0].message} "
            f"`delineate data check` lists all; mend them, or train anyway with {accepting}, or --ignore-gate."
        )

    labelled, pseudo_labels = _with_pseudo_labels(cases, recipe, folder if resume else None, listener)
    data = CaseDataModule(
        labelled,
        classes=recipe.task.classes,
        labels=recipe.task.labels,
        ignore_labels=recipe.task.ignore_labels,
        size=recipe.data.size,
        batch_size=recipe.training.batch_size,
        workers=recipe.data.workers,
        cache=recipe.data.cache,
        augmentation=Augmentation(**recipe.augmentation.model_dump()),
        seed=recipe.training.seed,
    )
    lightning.seed_everything(recipe.training.seed, workers=True, verbose=False)
    model = build_model(recipe)
    start_from(
        model,
        # The checkpoint of a run that goes on has these weights already.
        encoder_from=None if resume else recipe.model.encoder_from,
        decoder_from=None if resume else recipe.model.decoder_from,
        freeze_encoder=recipe.model.freeze_encoder,
    )
    if recipe.training.channels_last:
        model = model.to(memory_format=torch.channels_last)
    module = TrainingModule(recipe, model, on_epoch=listener.on_epoch)
    if not resume:  # from here on the folder is a run; what was wrong before has left no trace
        manifest = make_manifest(
            cases, protocol=chosen.protocol, seed=chosen.seed, dropped=dropped(found, cases)
        )
        start_run(folder, recipe, manifest)
    if pseudo_labels is not None:
        with atomic_path(folder.pseudo_labels) as temporary:
            pseudo_labels.to_csv(temporary, index=False)
    with listener.bar("filling the cache") as update:
        data.fill_cache(update, on_plan=listener.on_cache)
    if listener.on_groups is not None:
        listener.on_groups(module.groups)

    clockwork = _Clock(clock)
    trainer = _trainer(
        recipe,
        folder,
        [clockwork, _History(folder.history), *listener.callbacks],
        validate=_has(cases, "val"),
    )
    with _repeatable(recipe.training.deterministic):
        last = folder.last if resume and folder.last.exists() else None
        trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt

    selected = _load_selected(module, recipe, folder)
    save_model(folder.root, module.model, recipe, window=_common_window(cases))
    record = RunRecord(
        recipe=recipe.name,
        recipe_sha256=recipe.sha256(),
        data_root=str(root.absolute()),
        dataset=dataset,
        protocol=manifest.protocol,
        data_fingerprint=fingerprint(manifest),
        cases={split: sum(case.split == split for case in cases) for split in ("train", "val", "test")},
        seed=recipe.training.seed,
        started=clockwork.started or started,
        finished=now(),
        wall_seconds=round(clockwork.seconds(), 1),
        epochs=len(module.history),
        selected_epoch=selected,
        resumed=clockwork.resumed,
        gate={
            level: sum(f.level == level for f in report.findings) for level in ("error", "warning", "info")
        },
        gate_overridden=bool(report.errors),
        gate_accepted=tuple(sorted({error.code for error in report.errors})),
        environment=describe_environment(_device_name(trainer)),
    )
    write_record(folder.record, record)
    return record


def _with_pseudo_labels(
    cases: list[Case], recipe: Recipe, resumed: RunFolder | None, listener: Listener
) -> tuple[list[Case], pd.DataFrame | None]:
    """Give the cases the labels that the recipe asks to make; returns them and, when new, their table.

    The manifest keeps what the data set says, so that an evaluation never takes them for a reference.
    """
    if recipe.task.pseudo_labels is None:
        return cases, None
    if resumed is not None and resumed.pseudo_labels.is_file():
        table = pd.read_csv(resumed.pseudo_labels, dtype=str, keep_default_na=False)
        return apply_pseudo_labels(cases, table), None
    cache = Cache() if recipe.data.cache else None
    with listener.bar("grouping the images") as update:
        return assign_pseudo_labels(cases, recipe, cache=cache, progress=update)


@contextmanager
def _repeatable(deterministic: bool) -> Iterator[None]:
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


def _trainer(
    recipe: Recipe, folder: RunFolder, callbacks: list[Callback], *, validate: bool
) -> lightning.Trainer:
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
        plugins=[AtomicCheckpointIO()],
    )


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


def _load_selected(module: TrainingModule, recipe: Recipe, folder: RunFolder) -> int:
    """Put the selected epoch's weights into the model; returns the epoch, from 1."""
    path = folder.best if recipe.training.select == "best" else folder.last
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    return len(checkpoint["delineate"]["history"])


def _common_window(cases: Sequence[Case]) -> tuple[float, float] | None:
    """The window that all images share, which new images are then read with too."""
    windows = {case.window for case in cases}
    return windows.pop() if len(windows) == 1 else None


def _has(cases: Sequence[Case], split: str) -> bool:
    return any(case.split == split for case in cases)


def _device_name(trainer: lightning.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class _Clock(Callback):
    """Adds up the time of all sessions of a run and counts them, inside the checkpoint."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.before = 0.0
        self.resumed = 0
        self.started: str | None = now()

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def state_dict(self) -> dict[str, object]:
        return {"seconds": self.seconds(), "resumed": self.resumed, "started": self.started}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.before, self.resumed = float(str(state["seconds"])), int(str(state["resumed"])) + 1
        self.started = str(state["started"])


class _History(Callback):
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
