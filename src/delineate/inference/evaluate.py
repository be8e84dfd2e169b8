"""Measure a trained model on a split: one row per image first, means with intervals after."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from delineate.checks import InputError
from delineate.config import Evaluation
from delineate.data import (
    Case,
    apply_manifest,
    fingerprint,
    index,
    is_written_for,
    label_indices,
    make_manifest,
    read_case_mask,
    read_manifest,
)
from delineate.files import atomic_path, write_json
from delineate.inference.predictor import Predictor, device_name, native_probability
from delineate.metrics import as_json, score_image, summarise
from delineate.models.prediction import label_probability
from delineate.recipe_io import load_recipe
from delineate.record import EvaluationRecord, RunRecord, describe_environment, now, read_record, write_record

Row = dict[str, object]
BATCH = 8
CASES_PER_WORKER = 100
"""A further process costs a few seconds to start; it pays from about this number of cases on."""


@dataclass(frozen=True)
class _Job:
    """One prediction that waits for its scores."""

    case: Case
    size: tuple[int, ...]
    logits: np.ndarray | None
    label: dict[str, float]
    classes: tuple[str, ...]
    options: Evaluation


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` measured and wrote."""

    split: str
    """Name of the split in scores.csv and summary.json; of foreign data, "<folder>/<split>"."""
    table: pd.DataFrame
    """One row per case."""
    summary: dict[str, dict[str, float | int | None]]
    """score -> {mean, low, high, n}."""
    cases: list[Case]
    """The cases that were evaluated, in the order of the table."""
    predictor: Predictor
    """The model, loaded."""


def evaluate(
    run: Path,
    *,
    root: Path | None = None,
    dataset: str | None = None,
    split: str = "test",
    device: str = "auto",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Predict every case of a split and score it at the reference's own size.

    Writes scores.csv, summary.json and the evaluation's part of record.json into the run; scores of other
    splits stay. Data other than the run's own may be given: it must bring its split (or use "all"), and none
    of its images may be among those the run was trained on.

    Args:
        run: folder of a finished run.
        root: folder of the data set; by default the one the run was trained on.
        dataset: name of its reader; by default the run's.
        split: "train", "val", "test" or "all".
        device: "auto" takes a GPU when there is one.
        workers: processes that compute scores; by default chosen by the number of cases.
        progress: called with (done, all).

    Raises:
        InputError: the run is not finished, the data differs from what it was trained on in a wrong way, or
            the split is empty.
    """
    clock = time.monotonic()
    record = read_record(run / "record.json")
    recipe = load_recipe(run / "recipe.yaml")
    predictor = Predictor.load(run, device)
    chosen, name, data = _cases(run, record, root, dataset, split)
    options = recipe.evaluation
    rows = []
    targets = label_indices(chosen, recipe.task.labels, recipe.task.ignore_labels)
    for done, row in enumerate(_score_all(predictor, chosen, options, workers), 1):
        rows.append(row)
        if progress is not None:
            progress(done, len(chosen))
    head = [
        _head(case, target, name, bool(recipe.task.labels))
        for case, target in zip(chosen, targets, strict=True)
    ]
    table = pd.DataFrame([a | b for a, b in zip(head, rows, strict=True)])

    groups = [case.group or case.id for case in chosen] if any(case.group for case in chosen) else None
    scores = summarise(table, groups=groups, threshold=options.threshold)
    summary = as_json(scores)
    _write_scores(run / "scores.csv", table, name)
    _write_summary(run / "summary.json", summary, name)
    evaluation = EvaluationRecord(
        finished=now(),
        wall_seconds=round(time.monotonic() - clock, 1),
        data_fingerprint=data,
        cases=len(chosen),
        weights_sha256=predictor.info.weights_sha256,
        environment=describe_environment(device_name(predictor.device)),
    )
    write_record(
        run / "record.json",
        record.model_copy(update={"evaluations": record.evaluations | {name: evaluation}}),
    )
    return EvaluationResult(name, table, summary, chosen, predictor)


def _cases(
    run: Path, record: RunRecord, root: Path | None, dataset: str | None, split: str
) -> tuple[list[Case], str, str]:
    """Return the cases to score, the split's name and the data's fingerprint."""
    if split not in ("train", "val", "test", "all"):
        raise InputError(f"The split must be train, val, test or all, got {split!r}.")
    manifest = read_manifest(run / "splits.json")
    folder = root or Path(record.data_root)
    if not folder.is_dir():
        raise InputError(f"The data folder {folder} is missing; give its present place with --data.")
    cases = index(folder, dataset or record.dataset, partial=record.gate_overridden)
    own = is_written_for(manifest, cases)
    if own:
        cases, name, data = apply_manifest(cases, manifest), split, fingerprint(manifest)
    else:
        foreign = make_manifest([_with_split(case) for case in cases], protocol="foreign", seed=None)
        trained = {e.image_sha256: e.id for e in manifest.entries if e.split != "test"}
        leaked = [e.id for e in foreign.entries if e.image_sha256 in trained]
        if leaked:
            raise InputError(
                f"{len(leaked)} image(s) of {folder} were used to train this run, for example {leaked[0]!r}; "
                "take them out before evaluating."
            )
        name, data = f"{folder.resolve().name}/{split}", fingerprint(foreign)
    chosen = [case for case in cases if split == "all" or case.split == split]
    if not chosen:
        known = sorted({case.split for case in cases if case.split})
        raise InputError(
            f"{folder} has no case in the split {split!r}; it has: {', '.join(known) or 'none, use all'}."
        )
    return chosen, name, data


def _with_split(case: Case) -> Case:
    """Foreign data may have no split; a manifest needs one, and "test" is what it is used for."""
    return case if case.split else replace(case, split="test")


def _head(case: Case, target: int, split: str, labelled: bool) -> Row:
    row: Row = {"split": split, "image_id": case.id, "group": case.group}
    return row | {"label": target} if labelled else row


def _score_all(
    predictor: Predictor, cases: Sequence[Case], options: Evaluation, workers: int | None
) -> Iterator[Row]:
    """Yield the scores of each case in order; the network runs here, the scores in processes if it pays."""
    if any(case.spacing is None for case in cases):
        cases = [replace(case, spacing=None) for case in cases]  # one table has one unit of length
    jobs = _jobs(predictor, cases, options)
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, len(cases) // CASES_PER_WORKER)
    if workers < 2:
        yield from (_score(job) for job in jobs)
        return
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        waiting: deque[Future[Row]] = deque()
        for job in jobs:
            waiting.append(pool.submit(_score, job))
            if len(waiting) > 4 * workers:  # bounds the memory that predictions wait in
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _jobs(predictor: Predictor, cases: Sequence[Case], options: Evaluation) -> Iterator[_Job]:
    for start in range(0, len(cases), BATCH):
        part = cases[start : start + BATCH]
        pictures = [predictor.open(case) for case in part]
        prediction = predictor.forward([picture.pixels for picture in pictures])
        labels = None if prediction.label is None else label_probability(prediction.label).numpy()
        for i, (case, picture) in enumerate(zip(part, pictures, strict=True)):
            yield _Job(
                case=case,
                size=picture.size,
                logits=None if prediction.mask is None else prediction.mask[i : i + 1].numpy(),
                label={}
                if labels is None
                else dict(zip(predictor.info.labels, map(float, labels[i]), strict=True)),
                classes=predictor.info.classes,
                options=options,
            )


def _score(job: _Job) -> Row:
    row: Row = {f"label_probability[{name}]": value for name, value in job.label.items()}
    if job.logits is None or job.case.mask is None:
        return row
    reference = read_case_mask(job.case)
    if reference.shape != job.size:
        raise InputError(
            f"{job.case.mask} has {[*reference.shape]} pixels, its image {[*job.size]}; give both one size."
        )
    scores = score_image(
        reference,
        native_probability(torch.from_numpy(job.logits), job.size),
        classes=job.classes,
        spacing=job.case.spacing,
        threshold=job.options.threshold,
        empty=job.options.empty,
        surface=job.options.surface,
        saliency=job.options.saliency,
    )
    return row | scores


def _write_scores(path: Path, table: pd.DataFrame, split: str) -> None:
    if path.is_file():
        others = pd.read_csv(path, dtype={"image_id": str, "group": str, "split": str})
        others = others[others["split"] != split]
        if len(others):
            table = pd.concat([others, table], ignore_index=True)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def _write_summary(path: Path, summary: dict[str, dict[str, float | int | None]], split: str) -> None:
    whole = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, whole | {split: summary})
