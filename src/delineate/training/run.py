"""The folder of a run: where each file is, and whether training may start, go on, or must not touch it."""

import os
from dataclasses import dataclass
from pathlib import Path

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.data import SplitManifest, write_manifest
from delineate.files import write_text
from delineate.recipe_io import dump_recipe, load_recipe


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run, see docs/reference/run-folder.md."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The complete recipe, as run."""
        return self.root / "recipe.yaml"

    @property
    def record(self) -> Path:
        """The run record; it is written last, so its presence means that training has finished."""
        return self.root / "record.json"

    @property
    def splits(self) -> Path:
        """Ids, splits and file hashes of all cases."""
        return self.root / "splits.json"

    @property
    def pseudo_labels(self) -> Path:
        """Label of each training and validation case, of a run on pseudo-labels."""
        return self.root / "pseudo_labels.csv"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.root / "history.csv"

    @property
    def last(self) -> Path:
        """State at the end of the last whole epoch, to resume from."""
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """State at the end of the best epoch on the validation split."""
        return self.root / "checkpoints" / "best.ckpt"


def open_run(root: Path, recipe: Recipe, *, resume: bool) -> RunFolder:
    """Choose a run's folder, or find one to resume; nothing is written yet, and nothing ever overwritten.

    Raises:
        InputError: the folder holds a run and `resume` is not given, it holds other things, there is nothing
            to resume, or the run was started with another recipe.
    """
    run = RunFolder(root)
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        if resume:
            raise InputError(f"There is no run to resume in {root}; leave out --resume to start one.")
        existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
        if not os.access(existing, os.W_OK):
            raise InputError(f"Cannot write {root}: no permission in {existing}; choose another --run.")
        return run
    if not root.is_dir() or not run.recipe.is_file():
        raise InputError(f"{root} exists and is not a run; choose another folder with --run.")
    if not resume:
        raise InputError(f"{root} already holds a run; continue it with --resume or choose another --run.")
    started = load_recipe(run.recipe)
    if started != recipe:
        raise InputError(
            f"{root} was started with another recipe ({_difference(started, recipe)}); "
            "resume with that one, or choose another --run."
        )
    if run.record.is_file():
        raise InputError(
            f"The run in {root} is finished; evaluate it, or choose another --run to train again."
        )
    return run


def start_run(run: RunFolder, recipe: Recipe, manifest: SplitManifest) -> None:
    """Write what a run is started with: the recipe and the split."""
    write_text(run.recipe, dump_recipe(recipe))
    write_manifest(manifest, run.splits)


def _difference(one: Recipe, other: Recipe) -> str:
    """Name the first section and key in which two recipes differ."""
    for section, old in one.model_dump(mode="json").items():
        new = other.model_dump(mode="json")[section]
        if old == new:
            continue
        if not isinstance(old, dict):
            return f"{section} is {old!r}, not {new!r}"
        key = next(key for key in old if old[key] != new.get(key))
        return f"{section}.{key} is {old[key]!r}, not {new.get(key)!r}"
    return "no difference"
