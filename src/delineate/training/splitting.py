"""Which case trains, selects and tests: by the data set, a protocol, a manifest or the recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.data import Case, apply_manifest, complete_splits, read_manifest
from delineate.data.protocols import PROTOCOLS, apply_protocol, number_of_folds


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol by name; the same choice gives the same split in every run, whatever the recipe's seed."""

    name: str
    """A key of `PROTOCOLS`, for example "busi.4-fold"."""
    fold: int | None = None
    """Which fold is the test split, from 0; None for a protocol without folds."""
    folds: int | None = None
    """Number of folds, for a protocol that leaves it open."""
    seed: int = 0
    """Of what the protocol draws."""

    def __str__(self) -> str:
        number = number_of_folds(self.name, self.folds)
        return self.name if number is None else f"{self.name}, fold {self.fold} of {number}"


@dataclass(frozen=True)
class SplitCases:
    """Cases that all have a split, and where it comes from."""

    cases: list[Case]
    protocol: str
    """What the manifest and the run record say."""
    seed: int | None
    """Of the split, or None when nothing was drawn."""


def split_for_training(
    found: Sequence[Case], recipe: Recipe, choice: ProtocolChoice | Path | None
) -> SplitCases:
    """Give every case its split, adding a validation part where the recipe needs one.

    Args:
        found: the indexed data set.
        recipe: its fractions and its seed count where neither data set nor choice gives a split.
        choice: a protocol, a manifest file, or None for the data set's own split.

    Raises:
        InputError: the choice does not fit the data, there is no training case, or no validation case
            although the recipe selects by one.
    """
    data = recipe.data
    protocol, seed = "as the data set gives it", None
    if isinstance(choice, Path):
        manifest = read_manifest(choice)
        cases = apply_manifest(found, manifest)
        protocol, seed = manifest.protocol, manifest.seed
    elif choice is not None:
        cases = apply_protocol(found, choice.name, seed=choice.seed, fold=choice.fold, folds=choice.folds)
        protocol, seed = str(choice), choice.seed if PROTOCOLS[choice.name].drawn else None
    else:
        cases = list(found)
    kept = 1 - data.test_fraction
    fractions = {
        "train": kept * (1 - data.val_fraction),
        "val": kept * data.val_fraction,
        "test": data.test_fraction,
    }
    fractions = {split: share for split, share in fractions.items() if share > 0}
    drawn = (
        choice.seed if isinstance(choice, ProtocolChoice) else recipe.training.seed if seed is None else seed
    )
    done = complete_splits(cases, seed=drawn, val_fraction=data.val_fraction, fractions=fractions)
    present = {case.split for case in done}
    if "train" not in present:
        raise InputError("The data set has no training case; check split.csv.")
    if "val" not in present and (recipe.training.select == "best" or recipe.training.patience):
        raise InputError(
            "training.select best and training.patience need a validation split, and the data set has none; "
            "set data.val_fraction above 0, or select to last and patience to 0."
        )
    if done == cases:
        return SplitCases(done, protocol, seed)
    if any(case.split for case in cases):
        part = f"validation: {data.val_fraction:.0%} of the training split"
        return SplitCases(done, part if choice is None else f"{protocol}; {part}", drawn)
    shares = "/".join(f"{share:.0%}" for share in fractions.values())
    return SplitCases(done, f"stratified by label, grouped, {shares}", drawn)
