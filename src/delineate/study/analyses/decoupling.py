"""CHNet's study of what encoder and decoder owe to each other (section 4 of its paper).

Models that share one kind of backbone are trained end to end. Each trained backbone is then frozen, every
decoder is attached to it, and only the decoder is trained: one backbone under several decoders shows what the
decoders can infer (Fig. 3), one decoder on several backbones what the backbones have learned (Fig. 4).

    OUT/runs/<name>/       a run folder each, see decoupling_plan.py
    OUT/untrained/         the backbone that has seen no medical image: one set of weights for all decoders
    OUT/decoupling.csv     a row per run
    OUT/decoupling.png     curves of the retrained decoders
    OUT/decoupling.md      both, and what was varied

Paper: Wei et al., Only Classification Head is Sufficient for Medical Image Segmentation, PRCV 2023.

Readings: the depth of the shared backbone is not given; CHNet's four levels are all it can be. How well a
decoder does is measured on the validation split unless asked otherwise, so that nothing is chosen on the test
split; the paper has no validation split. Learning rates are those of the base recipe for every decoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.data import index
from delineate.inference.evaluate import evaluate
from delineate.models.checkpoint import INFO, build_model, save_model
from delineate.recipe_io import load_recipe
from delineate.record import read_record
from delineate.study.analyses.decoupling_plan import (
    UNTRAINED,
    PlannedRun,
    check_base,
    recipe_of,
    same_training,
)
from delineate.study.analyses.decoupling_results import write_results
from delineate.training.fit import Listener, train
from delineate.training.run import RunFolder

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class StudyListener:
    """What a caller wants to hear of; every function may be left out."""

    on_run: Callable[[PlannedRun, int, int], Listener] | None = None
    """Called as (run, number from 1, number of all) before a training; gives that training's listener."""
    on_failure: Callable[[PlannedRun, str], None] | None = None
    """Called as (run, reason)."""


@dataclass(frozen=True)
class StudyResult:
    """What a study measured."""

    table: pd.DataFrame
    """The rows of decoupling.csv."""
    failed: dict[str, str]
    """Run -> why it has no result."""


def study_decoupling(
    base: Recipe,
    root: Path,
    out: Path,
    *,
    runs: Sequence[PlannedRun],
    split: str = "val",
    dataset: str = "folder",
    resume: bool = False,
    listener: StudyListener | None = None,
) -> StudyResult:
    """Train and evaluate what the study plans, and write table, picture and page.

    A run that fails is reported and does not stop the others; what needs it is left out. Called again with
    `resume`, finished runs are not repeated, a killed one goes on, and failed ones are tried again.

    Args:
        base: recipe from which those of all runs are derived, see `decoupling_plan.recipe_of`.
        root: folder of the data set.
        out: folder of the study; new or empty, or with `resume` one of the same base recipe.
        runs: from `decoupling_plan.plan`.
        split: the split whose Dice is reported: "val", "train" or "test".
        dataset: name of the data set's reader.
        resume: continue the study in `out`.
        listener: told about progress.

    Raises:
        InputError: the base recipe does not suit the study, `out` holds other things, or no run succeeded.
    """
    check_base(base)
    if split not in SPLITS:
        raise InputError(f"The split must be one of {', '.join(SPLITS)}, got {split!r}.")
    listener = listener or StudyListener()
    folder, untrained = out.absolute() / "runs", out.absolute() / "untrained"
    recipes = {run.name: recipe_of(run, base, folder, untrained) for run in runs}
    _check_folder(out, folder, recipes, resume=resume)
    _check_split(root, dataset, base, split)
    if any(run.backbone == UNTRAINED for run in runs):
        _write_untrained(untrained, base, next(run for run in runs if not run.frozen))

    failed: dict[str, str] = {}
    for number, run in enumerate(runs, 1):
        absent = [name for name in run.needs if name in failed]
        try:
            if absent:
                raise InputError(f"It needs the run {absent[0]}, which failed.")
            place = RunFolder(folder / run.name)
            if not place.record.is_file():
                heard = listener.on_run(run, number, len(runs)) if listener.on_run else None
                started = place.recipe.is_file()
                train(recipes[run.name], root, place.root, dataset=dataset, resume=started, listener=heard)
            if split not in read_record(place.record).evaluations:
                evaluate(place.root, root=root, dataset=dataset, split=split)
        except Exception as error:  # a fault of one run, whatever it is, must not cost the others
            failed[run.name] = _reason(error)
            if listener.on_failure is not None:
                listener.on_failure(run, failed[run.name])
    if len(failed) == len(runs):
        raise InputError(f"No run of the study succeeded; the first failed so: {failed[runs[0].name]}")
    table = write_results(out, base, runs, folder, split=split, failed=failed)
    return StudyResult(table, failed)


def _check_split(root: Path, dataset: str, base: Recipe, split: str) -> None:
    """Refuse before the first training what the last evaluation would miss."""
    given = {case.split for case in index(root, dataset)}
    made = {
        "train": True,
        "val": base.data.val_fraction > 0,
        "test": given == {None} and base.data.test_fraction,
    }
    if split not in given and not made[split]:
        raise InputError(
            f"The study scores the split {split!r}, but {root} has none and the recipe makes none; "
            f"set data.{split}_fraction above 0, or choose another --split."
        )


def _check_folder(out: Path, folder: Path, recipes: dict[str, Recipe], *, resume: bool) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not resume:
        raise InputError(
            f"{out} is not empty; continue a study there with --resume, or choose another --out."
        )
    if resume and not folder.is_dir():
        raise InputError(f"There is no study to resume in {out}; leave out --resume to start one.")
    for name, recipe in recipes.items():
        path = RunFolder(folder / name).recipe
        if path.is_file() and not same_training(load_recipe(path), recipe):
            raise InputError(
                f"{path.parent} was started with another recipe than this study now derives; resume with the "
                "same recipe and --set, or choose another --out."
            )


def _write_untrained(folder: Path, base: Recipe, first: PlannedRun) -> None:
    """Save one untrained network, so that every decoder gets the very same backbone, random or not."""
    if (folder / INFO).is_file():
        return
    recipe = recipe_of(first, base, folder.parent / "runs", folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(base.training.seed)
        model = build_model(recipe)
    save_model(folder, model, recipe)


def _reason(error: Exception) -> str:
    """Put an error into one line; a sentence for users stands alone, others carry their kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
