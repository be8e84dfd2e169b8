"""Train a model as a recipe says: data in, run folder out; resumable to the same bits.

Started in several processes by a launcher, `train` is called in each of them. The first one checks the data
and writes the run; all train, each on its share of every batch.
"""

import platform
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback

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
    SplitManifest,
    apply_manifest,
    check_cases,
    dropped,
    fingerprint,
    index,
    make_manifest,
    read_manifest,
)
from delineate.data.gate.report import LEVELS
from delineate.data.splits import SPLITS
from delineate.files import atomic_path
from delineate.models.checkpoint import build_model, save_model
from delineate.models.transfer import start_from
from delineate.processes import Processes, joined
from delineate.record import RunRecord, describe_environment, now, write_record
from delineate.training.batch_norm import synchronise_batch_norm
from delineate.training.figures import Row
from delineate.training.loop import Clock, History, create_trainer, interruptible, repeatable
from delineate.training.module import TrainingModule
from delineate.training.pseudo_labels import apply_pseudo_labels, assign_pseudo_labels
from delineate.training.run import RunFolder, open_run, start_run
from delineate.training.splitting import ProtocolChoice, SplitCases, split_for_training


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
    with the same weights as one that was not (same machine, same number of threads and processes; with
    another number of processes up to rounding).

    Under `torchrun` or `srun` every process calls this with the same arguments, and gets the record. The
    batch size is that of all processes together, so a recipe means the same for any number of them.

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
        listener: told about progress, in the first process.

    Raises:
        InputError: recipe, data and run do not fit together, or the data gate found errors; with several
            processes the same error in all of them.
    """
    if recipe.training.precision == "16-mixed" and not torch.cuda.is_available():
        raise InputError("training.precision 16-mixed needs a GPU; set it to bf16-mixed or 32-true.")
    with joined() as processes:
        _check_shares(recipe, processes)
        listener = listener if listener is not None and processes.first else Listener()
        folder, clock = RunFolder(run), Clock(time.monotonic())

        def prepare() -> _Start:
            open_run(run, recipe, resume=resume)
            return _prepare(recipe, root, folder, dataset, split, resume, ignore_gate, accept, listener)

        start = processes.share(prepare)
        # One process of each machine first: the others then find downloaded weights and cached images.
        module, data = processes.one_after_another(
            lambda leads: (
                _module(recipe, listener, processes, resume),
                _data(start, recipe) if leads else None,
            )
        )
        # From here on the folder is a run; what was wrong before has left no trace.
        manifest = processes.share(lambda: _begin(recipe, folder, start))
        own_data = processes.one_after_another(
            lambda _: _filled(data or _data(start, recipe), start, listener)
        )
        if listener.on_groups is not None:
            listener.on_groups(module.groups)

        own = [History(folder.history), *listener.callbacks] if processes.first else []
        trainer = create_trainer(recipe, folder, [clock, *own], processes, validate=_has(start.cases, "val"))
        with (
            repeatable(recipe.training.deterministic),
            interruptible(trainer),
            processes.failing_together(),
        ):
            trainer.fit(module, datamodule=own_data, ckpt_path=start.checkpoint, weights_only=True)
        device = _device_name(trainer, processes)

        def finish() -> RunRecord:
            selected = _load_selected(module, recipe, folder)
            save_model(folder.root, module.model, recipe, window=_common_window(start.cases))
            record = RunRecord(
                recipe=recipe.name,
                recipe_sha256=recipe.sha256(),
                data_root=str(root.absolute()),
                dataset=dataset,
                protocol=manifest.protocol,
                data_fingerprint=fingerprint(manifest),
                cases={name: sum(case.split == name for case in start.cases) for name in SPLITS},
                seed=recipe.training.seed,
                started=clock.started,
                finished=now(),
                wall_seconds=round(clock.seconds(), 1),
                epochs=len(module.history),
                selected_epoch=selected,
                resumed=clock.resumed,
                gate={level: sum(f.level == level for f in start.report.findings) for level in LEVELS},
                gate_overridden=bool(start.report.errors),
                gate_accepted=tuple(sorted({error.code for error in start.report.errors})),
                environment=describe_environment(device),
            )
            write_record(folder.record, record)
            return record

        return processes.share(finish)


@dataclass(frozen=True)
class _Start:
    """What the first process finds out for all."""

    cases: list[Case]
    """All cases, each with its split."""
    labelled: list[Case]
    """The same, with pseudo-labels where the recipe asks for them."""
    pseudo_labels: pd.DataFrame | None
    """Those, when they are new."""
    report: CheckReport
    """Of the gate."""
    split: SplitManifest | SplitCases
    """The manifest of the run that goes on, or how a new one is split."""
    dropped: tuple[str, ...]
    """Ids that the split leaves out."""
    checkpoint: Path | None
    """What training goes on from."""


def _check_shares(recipe: Recipe, processes: Processes) -> None:
    size, batch = processes.size, recipe.training.batch_size
    if batch % size:
        raise InputError(
            f"training.batch_size {batch} is that of all processes together and cannot be shared by {size}; "
            f"set it to a multiple, such as {-(-batch // size) * size}, or start another number of processes."
        )


def _prepare(
    recipe: Recipe,
    root: Path,
    folder: RunFolder,
    dataset: str,
    split: ProtocolChoice | Path | None,
    resume: bool,
    ignore_gate: bool,
    accept: Collection[str],
    listener: Listener,
) -> _Start:
    """Find the cases, split them, and let the gate check them; nothing is written."""
    found = index(root, dataset, partial=True)  # the gate counts what is there
    chosen: SplitManifest | SplitCases
    if resume:
        chosen = read_manifest(folder.splits)
        cases = apply_manifest(found, chosen)
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
            f"`delineate data check` lists all; mend them, or train anyway with {accepting}, "
            "or --ignore-gate."
        )

    labelled, pseudo_labels = _with_pseudo_labels(cases, recipe, folder if resume else None, listener)
    return _Start(
        cases=cases,
        labelled=labelled,
        pseudo_labels=pseudo_labels,
        report=report,
        split=chosen,
        dropped=dropped(found, cases),
        checkpoint=folder.last if resume and folder.last.exists() else None,
    )


def _module(recipe: Recipe, listener: Listener, processes: Processes, resume: bool) -> TrainingModule:
    """Build the network and what trains it, from the recipe's seed."""
    lightning.seed_everything(recipe.training.seed, workers=True, verbose=False)
    model = build_model(recipe)
    start_from(
        model,
        # The checkpoint of a run that goes on has these weights already.
        encoder_from=None if resume else recipe.model.encoder_from,
        decoder_from=None if resume else recipe.model.decoder_from,
        freeze_encoder=recipe.model.freeze_encoder,
    )
    synchronise_batch_norm(model, processes)
    if recipe.training.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return TrainingModule(recipe, model, on_epoch=listener.on_epoch, processes=processes)


def _data(start: _Start, recipe: Recipe) -> CaseDataModule:
    return CaseDataModule(
        start.labelled,
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


def _begin(recipe: Recipe, folder: RunFolder, start: _Start) -> SplitManifest:
    """Write what a new run starts with; returns the manifest of its split."""
    if isinstance(start.split, SplitManifest):
        manifest = start.split
    else:
        manifest = make_manifest(
            start.cases, protocol=start.split.protocol, seed=start.split.seed, dropped=start.dropped
        )
        start_run(folder, recipe, manifest)
    if start.pseudo_labels is not None:
        with atomic_path(folder.pseudo_labels) as temporary:
            start.pseudo_labels.to_csv(temporary, index=False)
    return manifest


def _filled(data: CaseDataModule, start: _Start, listener: Listener) -> CaseDataModule:
    """Fill the cache of this machine, and see that the machine has what all read."""
    if start.checkpoint is not None and not start.checkpoint.is_file():
        raise InputError(
            f"{start.checkpoint} cannot be seen on the machine {platform.node()}; keep runs on a disk that "
            "all machines share, or resume on one machine."
        )
    with listener.bar("filling the cache") as update:
        data.fill_cache(update, on_plan=listener.on_cache)
    return data


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


def _device_name(trainer: lightning.Trainer, processes: Processes) -> str:
    device = trainer.strategy.root_device
    return processes.describe(torch.cuda.get_device_name(device) if device.type == "cuda" else device.type)
