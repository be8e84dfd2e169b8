"""Scores of image labels, from the probabilities and targets of all cases.

Two classes: the second is positive, and it is predicted where its probability is above `threshold`. Three and
more classes: the most probable one is predicted, `threshold` is not used; AUC, average precision, sensitivity
and specificity are one class against the rest, and the plain name is their mean over the classes for which
they are defined (macro). A target of -1 is missing: the case is left out and counted (`Labels.missing`).

Undefined is NaN, never an error: AUC, average precision and balanced accuracy need two classes among the
targets, sensitivity a positive case, specificity a negative one, all of them a case. `why_undefined` says
which is lacking.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError
from delineate.metrics import resampling

FloatArray = npt.NDArray[np.float64]
MISSING = -1


@dataclass(frozen=True)
class Labels:
    """Targets and probabilities of the cases that have a label."""

    probabilities: FloatArray
    """(N, classes), rows add up to about 1 when made from softmax; two columns when binary."""
    targets: npt.NDArray[np.int64]
    """(N,) class index, 0 to classes - 1."""
    missing: int
    """How many cases had no label and were left out."""
    threshold: float = 0.5
    """Two classes: the second is predicted where its probability is above this."""
    names: tuple[str, ...] = ()
    """Class names, for the names of per-class scores and for messages."""

    @property
    def binary(self) -> bool:
        """Whether there are two classes, of which the second is positive."""
        return self.probabilities.shape[1] == 2

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) class index that is predicted."""
        if self.binary:
            return (self.probabilities[:, 1] > self.threshold).astype(np.int64)
        return self.probabilities.argmax(axis=1).astype(np.int64)

    @property
    def scored(self) -> range:
        """The classes that are scored against the rest: the positive one of two, else all."""
        return range(1, 2) if self.binary else range(self.probabilities.shape[1])


def read_labels(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    names: Sequence[str] = (),
) -> Labels:
    """Check label arrays and leave out the missing.

    Args:
        probabilities: (N,) of the positive class, or (N, classes), 0 to 1; NaN is allowed where the target is
            missing.
        targets: (N,) whole numbers, 0 to classes - 1, or -1 for missing.
        threshold: see the module's docstring.
        names: of the classes; "0", "1", ... when not given.

    Raises:
        InputError: shapes do not fit, a target is no class, or a probability is not between 0 and 1.
    """
    table, wanted = np.asarray(probabilities, dtype=np.float64), np.asarray(targets)
    if table.ndim == 1:
        table = np.stack([1 - table, table], axis=1)
    if table.ndim != 2 or table.shape[1] < 2 or wanted.shape != table.shape[:1]:
        raise InputError(
            "Label probabilities must be (cases,) or (cases, classes) with one target per case, "
            f"got {[*np.shape(probabilities)]} and {[*wanted.shape]}."
        )
    classes = table.shape[1]
    whole = wanted.astype(np.int64)
    if (whole != wanted).any() or whole.min(initial=0) < MISSING or whole.max(initial=0) >= classes:
        raise InputError(f"Label targets must be whole numbers from 0 to {classes - 1}, or -1 for missing.")
    if names and len(names) != classes:
        raise InputError(f"{len(names)} label names were given for {classes} classes.")
    known = whole != MISSING
    if not ((table[known] >= 0) & (table[known] <= 1 + 1e-4)).all():
        raise InputError("Label probabilities must lie between 0 and 1; pass no logits and no NaN.")
    return Labels(
        probabilities=table[known].clip(0, 1),
        targets=whole[known],
        missing=int(np.count_nonzero(~known)),
        threshold=threshold,
        names=tuple(names) or tuple(str(index) for index in range(classes)),
    )


def why_undefined(labels: Labels) -> str:
    """Say in a sentence what the targets lack for a label score to be defined; "" when nothing is."""
    present = {int(index) for index in np.unique(labels.targets)}
    if not present:
        return "No case has a label."
    lacking = [name for index, name in enumerate(labels.names) if index not in present]
    if len(present) == 1:
        return f"Every labelled case is {labels.names[min(present)]!r}; a second class is needed."
    return f"No case is {', '.join(map(repr, lacking))}." if lacking else ""


# Each `*_rows` gives one row per scored class, (classes, R), for resamples `weights` (R, N), or for the cases
# as they are (R = 1) when `weights` is None. `macro` reduces the rows to the plain score.


def macro(rows: FloatArray) -> FloatArray:
    """Mean over the classes for which the score is defined: (classes, R) -> (R,), NaN where none is."""
    return resampling.mean(rows, np.ones((1, rows.shape[0])))[0]


def auc_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Area under the ROC curve, each scored class against the rest."""
    if weights is None:
        from sklearn.metrics import roc_auc_score

        return _ranked(labels, roc_auc_score)
    return np.stack([resampling.auc(*_against_rest(labels, index), weights) for index in labels.scored])


def average_precision_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Average precision, each scored class against the rest."""
    if weights is None:
        from sklearn.metrics import average_precision_score

        return _ranked(labels, average_precision_score)
    rows = [resampling.average_precision(*_against_rest(labels, index), weights) for index in labels.scored]
    return np.stack(rows)


def accuracy_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Share of cases whose predicted class is right; one row."""
    right = labels.predicted == labels.targets
    return resampling.share(right, np.ones_like(right), _or_once(labels, weights))[None]


def sensitivity_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Of the cases of a class, the share that is predicted as it."""
    return _recalls(labels, labels.scored, weights)


def specificity_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Of the cases of all other classes, the share that is not predicted as this one."""
    w, predicted = _or_once(labels, weights), labels.predicted
    others = [labels.targets != index for index in labels.scored]
    kept = [other & (predicted != index) for other, index in zip(others, labels.scored, strict=True)]
    return np.stack([resampling.share(hit, other, w) for hit, other in zip(kept, others, strict=True)])


def balanced_accuracy_rows(labels: Labels, weights: FloatArray | None = None) -> FloatArray:
    """Mean recall over the classes that occur, as scikit-learn; one row.

    Two classes: both must occur. With more, at least two must.
    """
    recalls = _recalls(labels, range(labels.probabilities.shape[1]), weights)
    enough = np.isfinite(recalls).sum(axis=0) >= 2
    return np.where(enough, macro(recalls), np.nan)[None]


def auc(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Area under the ROC curve (scikit-learn), macro over classes; 0 to 1, chance is 0.5."""
    return _point(macro(auc_rows(read_labels(probabilities, targets))))


def average_precision(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Average precision (scikit-learn), macro; 0 to 1, chance is the share of positives."""
    return _point(macro(average_precision_rows(read_labels(probabilities, targets))))


def accuracy(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, threshold: float = 0.5) -> float:
    """Share of right cases, 0 to 1."""
    return _point(macro(accuracy_rows(read_labels(probabilities, targets, threshold=threshold))))


def sensitivity(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, threshold: float = 0.5) -> float:
    """Share of positives that are found, 0 to 1; macro over classes."""
    return _point(macro(sensitivity_rows(read_labels(probabilities, targets, threshold=threshold))))


def specificity(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, threshold: float = 0.5) -> float:
    """Share of negatives that are left alone, 0 to 1; macro over classes."""
    return _point(macro(specificity_rows(read_labels(probabilities, targets, threshold=threshold))))


def balanced_accuracy(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, threshold: float = 0.5
) -> float:
    """Mean recall over the classes that occur, 0 to 1; NaN when only one does."""
    return _point(macro(balanced_accuracy_rows(read_labels(probabilities, targets, threshold=threshold))))


def _point(values: FloatArray) -> float:
    return float(values[0])


def _or_once(labels: Labels, weights: FloatArray | None) -> FloatArray:
    return np.ones((1, labels.targets.size)) if weights is None else weights


def _against_rest(labels: Labels, index: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    return labels.probabilities[:, index], labels.targets == index


def _ranked(labels: Labels, score: Callable[..., float]) -> FloatArray:
    rows = np.full((len(labels.scored), 1), np.nan)
    for row, index in enumerate(labels.scored):
        probability, positive = _against_rest(labels, index)
        if 0 < np.count_nonzero(positive) < positive.size:
            rows[row] = score(positive, probability)
    return rows


def _recalls(labels: Labels, classes: range, weights: FloatArray | None) -> FloatArray:
    w, right = _or_once(labels, weights), labels.predicted == labels.targets
    of_class = [labels.targets == index for index in classes]
    return np.stack([resampling.share(right & among, among, w) for among in of_class])
