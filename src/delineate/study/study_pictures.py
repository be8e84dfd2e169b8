"""The pictures of a study's report: hard cases, with every system's outline side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from delineate.data.case import Case
from delineate.data.images import read_case_image
from delineate.data.readers import index
from delineate.study.evidence import Panel, outlines_of
from delineate.study.pictures import shared_overlays, thumbnail
from delineate.study.sizes import SizeClass
from delineate.study.study_results import Planned, StudyResults

if TYPE_CHECKING:
    from delineate.inference.predictor import ImagePrediction

WORST = 3
PER_SIZE = 2
_SIDE = 320  # pixels of the longer side of a picture


@dataclass(frozen=True)
class Lineup:
    """One case as all systems see it."""

    id: str
    note: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Gallery:
    """Cases that are shown for one reason."""

    title: str
    lineups: Sequence[Lineup]


@dataclass(frozen=True)
class OpenRun:
    """A run that can predict again."""

    cases: Mapping[str, Case]
    """Cases of its data set by id."""
    predict: "Callable[[Case], ImagePrediction]"


def open_run(run: Path) -> OpenRun:
    """Load the model of a run, and list the cases of its data set.

    Raises:
        InputError: the model or the data set is not where the record says.
    """
    from delineate.inference.predictor import Predictor
    from delineate.record import read_record

    record = read_record(run / "record.json")
    cases = index(Path(record.data_root), record.dataset, partial=record.gate_overridden)
    return OpenRun({case.id: case for case in cases}, Predictor.load(run))


def choose_cases(cases: pd.DataFrame, classes: Sequence[SizeClass]) -> dict[str, list[str]]:
    """Choose the cases to show.

    Args:
        cases: score of each case, higher is better: index `image_id`, one column per system.
        classes: small, medium and large references; () leaves their galleries out.

    Returns:
        Title -> ids: the lowest means over all systems, the case on which the systems differ most, and the
        lowest means below the median in each class. No id stands twice.
    """
    known = cases.dropna()
    mean = known.mean(axis=1)
    order = [key for _, key in sorted((float(value), str(key)) for key, value in mean.items())]
    chosen = {"Lowest mean over all systems": order[:WORST]}
    seen = set(order[:WORST])
    spread = (known.max(axis=1) - known.min(axis=1)).drop(labels=list(seen))
    if known.shape[1] > 1 and len(spread) and spread.max() > 0:
        widest = min((-float(value), str(key)) for key, value in spread.items())[1]
        chosen["Largest difference between systems, mean over repetitions"] = [widest]
        seen.add(widest)
    middle = float(mean.median()) if len(mean) else 0.0
    for part in classes:
        inside = set(part.ids)
        rest = [key for key in order if key in inside and key not in seen and mean[key] < middle]
        chosen[f"Other low scores of {part.name} references, {part.range} of the image"] = rest[:PER_SIZE]
        seen.update(rest[:PER_SIZE])
    return {title: ids for title, ids in chosen.items() if ids}


def galleries(
    study: StudyResults,
    data: str,
    score: str,
    classes: Sequence[SizeClass],
    opener: Callable[[Path], OpenRun] = open_run,
) -> list[Gallery]:
    """Draw the chosen cases of one data set, each with the outlines of all systems.

    A system's outline is that of its first repetition that tested the case; the number beneath it is the
    score of that very prediction.

    Args:
        study: results with `score` for each case.
        data: name of the data set.
        score: a score of overlap, higher is better.
        classes: of the cases by size.
        opener: gives the model and the cases of a run.

    Raises:
        InputError: a model, the data set or a picture is not where it was.
    """
    chosen = choose_cases(study.per_case(data, score), classes)
    wanted = list(dict.fromkeys(key for ids in chosen.values() for key in ids))
    pictures: dict[str, NDArray[np.uint8]] = {}
    drawings: dict[str, list[tuple[dict[str, str], str]]] = {key: [] for key in wanted}
    notes: dict[str, list[str]] = {key: [] for key in wanted}
    for run, keys in _runs_for(study, data, wanted):
        opened = opener(run.run)
        scores = study.rows(run).set_index("image_id")[score].to_dict()
        for key in (key for key in keys if key in opened.cases):
            case = opened.cases[key]
            image = read_case_image(case)
            mask = opened.predict(case).mask
            if key not in pictures:
                pictures[key] = thumbnail(image, _SIDE)
                drawings[key].append(({}, f"{key}: image"))
                notes[key].append("image")
            drawings[key].append(
                (outlines_of(image, case, mask, _SIDE), f"{key}: outlines of reference and {run.system}")
            )
            notes[key].append(f"{run.system} {scores[key]:.3f}")
    panels = {
        key: [
            Panel(picture, note)
            for picture, note in zip(
                shared_overlays(pictures[key], drawings[key], f"{data}-picture-{number}"),
                notes[key],
                strict=True,
            )
        ]
        for number, key in enumerate(wanted)
        if key in pictures
    }
    percent = {key: part.name for part in classes for key in part.ids}
    return [
        Gallery(title, [Lineup(key, percent.get(key, ""), panels[key]) for key in ids if key in panels])
        for title, ids in chosen.items()
    ]


def _runs_for(study: StudyResults, data: str, wanted: Sequence[str]) -> list[tuple[Planned, list[str]]]:
    """For each system the first run that tested each case: (run, cases)."""
    found: dict[str, tuple[Planned, list[str]]] = {}
    for system in study.systems:
        left = list(wanted)
        for run in study.plan:
            if (run.system, run.data) != (system, data) or not study.scored(run):
                continue
            tested = set(study.rows(run)["image_id"])
            keys = [key for key in left if key in tested]
            if keys:
                found[run.key] = (run, keys)
                left = [key for key in left if key not in tested]
    return list(found.values())
