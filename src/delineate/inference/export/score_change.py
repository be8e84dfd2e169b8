"""What an exported file costs in Dice, measured case by case against PyTorch on the same data."""

from collections.abc import Sequence
from typing import Protocol

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.images import read_case_mask
from delineate.inference.export.record import ScoreChange
from delineate.inference.predictor import Predictor
from delineate.metrics import score_image

LIMITS = {"fp32": 0.001, "bf16": 0.002, "int8": 0.005}
"""Precision -> what it may lose of the mean Dice unless the user says otherwise."""
LABELS_CHANGED = 0.05
"""Share of cases that may get another label: rounding turns those over whose labels are almost even."""


class ScoreData(Protocol):
    """Cases with masks, and where they come from; see `export.make.ScoreData`."""

    @property
    def cases(self) -> Sequence[Case]:
        """The cases."""

    @property
    def dataset(self) -> str:
        """Name for the record."""

    @property
    def split(self) -> str:
        """Which cases, for the record."""


def measure(
    before: Predictor, after: Predictor, data: ScoreData, max_loss: float | None = None
) -> ScoreChange:
    """Predict every case with both, and compare their Dice scores at the references' own sizes.

    Args:
        before: the run in PyTorch.
        after: the exported file.
        data: cases with masks.
        max_loss: how much of the mean Dice may be lost, from 0 to 1; None measures only.

    Raises:
        InputError: the model gives no masks, a case has none, a file cannot be read, or, where a
            limit is given, the mean falls by more than it or more than `LABELS_CHANGED` get another label.
    """
    info = before.info
    if not info.classes:
        raise InputError("This model only classifies; the change of a Dice score needs one that segments.")
    cases = sorted(data.cases, key=lambda case: case.id)
    if not cases:
        raise InputError("There is no case to measure the change of the Dice score on; give another split.")
    for case in cases:
        if case.mask is None:
            raise InputError(f"Case {case.id!r} has no mask; the change of the Dice score needs one.")
    scores = []
    other_labels = 0
    pairs = zip(before.predict(cases), after.predict(cases), strict=True)
    for case, (old, new) in zip(cases, pairs, strict=True):
        reference = read_case_mask(case)
        dice = []
        for prediction in (old, new):
            if prediction.probability is None:
                raise InputError("The exported file gives no masks; export the run again.")
            row = score_image(
                reference,
                prediction.probability,
                classes=info.classes,
                threshold=info.threshold,
                surface=False,
                saliency=False,
            )
            dice.append(row["dice"])
        scores.append((dice[0], dice[1]))
        other_labels += old.chosen_label != new.chosen_label
    changes = tuple(round(after - before, 6) for before, after in scores)
    n = len(scores)
    dice_before, dice_after = sum(a for a, _ in scores) / n, sum(b for _, b in scores) / n
    lost = dice_before - dice_after
    if max_loss is not None and lost > max_loss:
        raise InputError(
            f"The {after.backend.name} export loses {lost:.4f} of the mean Dice on {n} cases, more than "
            f"{max_loss:g}; calibrate with more training images, choose another precision, or allow it with "
            "--max-loss."
        )
    if max_loss is not None and other_labels > LABELS_CHANGED * n:
        raise InputError(
            f"The {after.backend.name} export gives {other_labels} of {n} cases another label, more than "
            f"{LABELS_CHANGED:.0%}; calibrate with more training images or choose another precision."
        )
    return ScoreChange(
        dataset=data.dataset,
        split=data.split,
        cases=n,
        dice_before=dice_before,
        dice_after=dice_after,
        mean_change=dice_after - dice_before,
        largest_change=max(map(abs, changes)),
        changes=changes,
        labels_changed=other_labels if info.labels else None,
    )
