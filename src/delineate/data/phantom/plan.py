"""Who is in a phantom data set: patients, labels and splits, before anything is drawn."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from delineate.data.phantom.anatomy import LABELS, PhantomOptions

SPLITS = {"train": 0.70, "val": 0.15, "test": 0.15}
PATIENT, LABEL, IMAGE, SPLIT, SKIN = range(5)
"""First number of a stream's place, see `stream`."""

_BLOCK = 20


@dataclass(frozen=True)
class Plan:
    """One image to come; made of the seed and the index alone."""

    index: int
    """Position in the data set, 0 for the first."""
    id: str
    """File name without its ending."""
    patient: int
    """Number of the patient, 0 for the first."""
    label: str
    """"benign" or "malignant"."""


def stream(seed: int, *place: int) -> np.random.Generator:
    """Return the random numbers that belong to one place, independent of every other place."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def plan_images(count: int, seed: int, options: PhantomOptions) -> list[Plan]:
    """Give every index its patient and its label, without looking at `count`."""
    weights = np.cumsum(options.images_per_patient)
    patients: list[int] = []
    patient = 0
    while len(patients) < count:
        draw = stream(seed, PATIENT, patient).random() * weights[-1]
        patients += [patient] * (1 + min(int(np.searchsorted(weights, draw, side="right")), 2))
        patient += 1
    labels: list[str] = []
    while len(labels) < count:
        first, last = len(labels), len(labels) + _BLOCK
        # Rounding the running total keeps a fraction like 0.33 right over many blocks.
        malignant = round(last * options.malignant_fraction) - round(first * options.malignant_fraction)
        order = stream(seed, LABEL, first // _BLOCK).permutation(_BLOCK)
        labels += [LABELS[int(place < malignant)] for place in order]
    return [Plan(i, f"phantom_{i:05d}", patients[i], labels[i]) for i in range(count)]


def split_patients(plans: Sequence[Plan], seed: int) -> list[str]:
    """Deal patients, large ones first, to the split that lacks their labels most."""
    patients: dict[int, Counter[str]] = {}
    for plan in plans:
        patients.setdefault(plan.patient, Counter())[plan.label] += 1
    totals = Counter(plan.label for plan in plans)
    missing = {split: {label: share * totals[label] for label in LABELS} for split, share in SPLITS.items()}
    names = list(patients)
    shuffled = [names[i] for i in stream(seed, SPLIT).permutation(len(names))]
    chosen: dict[int, str] = {}
    for name in sorted(shuffled, key=lambda name: -patients[name].total()):
        has = patients[name]

        def relief(split: str, has: Counter[str] = has) -> float:
            # How much the squared relative shortfall of the split shrinks.
            lack, share = missing[split], SPLITS[split]
            return sum((lack[c] ** 2 - (lack[c] - has[c]) ** 2) / share for c in LABELS)

        best = max(SPLITS, key=relief)
        chosen[name] = best
        for label in LABELS:
            missing[best][label] -= has[label]
    return [chosen[plan.patient] for plan in plans]
