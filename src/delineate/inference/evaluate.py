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
from delineate.inference.predictor import Predictor, native_probability
from delineate.metrics import (
    Histograms,
    ImageHistograms,
    as_json,
    expand_names,
    image_histograms,
    needs_histograms,
    score_image,
    summarise,
)
from delineate.models.prediction import label_probability
from delineate.processes import Processes, joined
from delineate.recipe_io import load_recipe
from delineate.record import EvaluationRecord, RunRecord, describe_environment, now, read_record, write_record

Row = dict[str, object]
Scored = tuple[Row, ImageHistograms | None]
Summary = dict[str, dict[str, float | int | None]]
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
    extra: tuple[str, ...]
    """Names of scores besides the recipe's own."""


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` measured and wrote."""

    split: str
    """Name of the split in scores.csv and summary.json; of foreign data, "<folder>/<split>"."""
    table: pd.DataFrame
    """One row per case."""
    summary: Summary
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
    metrics: Sequence[str] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Predict every case of a split and score it at the reference's own size.

    Writes scores.csv, summary.json and the evaluation's part of record.json into the run; scores of other
    splits stay. Data other than the run's own may be given: it must bring its split (or use "all"), and none
    of its images may be among those the run was trained on.

    Under `torchrun` or `srun` the processes share the cases, each case once; the first one writes, and all
    get the result.

    Args:
        run: folder of a finished run.
        root: folder of the data set; by default the one the run was trained on.
        dataset: name of its reader; by default the run's.
        split: "train", "val", "test" or "all".
        device: "auto" takes a GPU when there is one.
        metrics: names of scores, or of groups of them, besides those that the recipe asks for: see
            `expand_names`. What needs the whole set keeps its counts in `histograms/<split>.npz`.
        workers: processes that compute scores; by default chosen by the number of cases.
        progress: called with (done, all).

    Raises:
        InputError: the run is not finished, the data differs from what it was trained on in a wrong way, or
            the split is empty.
    """
    clock = time.monotonic()
    extra = expand_names(metrics)
    with joined() as processes:
        if processes.device is not None and device == "auto":
            device = str(processes.device)
        record, chosen, name, data = processes.share(lambda: _start(run, root, dataset, split))
        recipe, predictor = processes.together(
            lambda: (load_recipe(run / "recipe.yaml"), Predictor.load(run, device))
        )
        scored = _scored(predictor, chosen, recipe.evaluation, extra, workers, progress, processes)

        def finish() -> tuple[pd.DataFrame, Summary]:
            targets = label_indices(chosen, recipe.task.labels, recipe.task.ignore_labels)
            head = [
                _head(case, target, name, bool(recipe.task.labels))
                for case, target in zip(chosen, targets, strict=True)
            ]
            table = pd.DataFrame([a | row for a, (row, _) in zip(head, scored, strict=True)])
            histograms = None
            if needs_histograms(extra):
                histograms = Histograms(predictor.info.classes)
                for case, (_, counts) in zip(chosen, scored, strict=True):
                    if counts is not None:
                        histograms.add(case.id, counts)
                histograms.save(run / "histograms" / f"{name}.npz")
            groups = [case.group or case.id for case in chosen] if any(c.group for c in chosen) else None
            threshold = recipe.evaluation.threshold
            summary = as_json(
                summarise(table, groups=groups, threshold=threshold, extra=extra, histograms=histograms)
            )
            _write_scores(run / "scores.csv", table, name)
            _write_summary(run / "summary.json", summary, name)
            evaluation = EvaluationRecord(
                finished=now(),
                wall_seconds=round(time.monotonic() - clock, 1),
                data_fingerprint=data,
                cases=len(chosen),
                weights_sha256=predictor.info.weights_sha256,
                environment=describe_environment(processes.describe(predictor.backend.device_name)),
            )
            write_record(
                run / "record.json",
                record.model_copy(update={"evaluations": record.evaluations | {name: evaluation}}),
            )
            return table, summary

        table, summary = processes.share(finish)
        return EvaluationResult(name, table, summary, chosen, predictor)


def _start(
    run: Path, root: Path | None, dataset: str | None, split: str
) -> tuple[RunRecord, list[Case], str, str]:
    """Return the run's record, the cases to score, the split's name and the data's fingerprint."""
    record = read_record(run / "record.json")
    return record, *_cases(run, record, root, dataset, split)


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
    if is_written_for(manifest, cases):
        cases, name, data = apply_manifest(cases, manifest), split, fingerprint(manifest)
    else:
        scored = {case.id for case in cases if split in ("all", case.split)}
        foreign = make_manifest([_with_split(case) for case in cases], protocol="foreign", seed=None)
        trained = {e.image_sha256: e.id for e in manifest.entries if e.split != "test"}
        leaked = [e.id for e in foreign.entries if e.id in scored and e.image_sha256 in trained]
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


def _scored(
    predictor: Predictor,
    cases: Sequence[Case],
    options: Evaluation,
    extra: tuple[str, ...],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
    processes: Processes,
) -> list[Scored]:
    """Return the scores of all cases in order; each process computes every so many-th batch of them."""
    if any(case.spacing is None for case in cases):
        cases = [replace(case, spacing=None) for case in cases]  # one table has one unit of length
    size = processes.size
    own = [i for i in range(len(cases)) if i // BATCH % size == processes.rank]
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        neighbours = -(-size // processes.machines)
        workers = min(cores // neighbours, len(own) // CASES_PER_WORKER)
    found: dict[int, Scored] = {}
    with processes.failing_together():
        scored = _score_all(predictor, [cases[i] for i in own], options, extra, workers)
        for i, row in zip(own, scored, strict=True):
            found[i] = row
            if progress is not None:
                progress(min(len(found) * size, len(cases)), len(cases))
        told = processes.gather(found)
    rows = {i: row for part in told for i, row in part.items()}
    return [rows[i] for i in range(len(cases))]


def _score_all(
    predictor: Predictor, cases: Sequence[Case], options: Evaluation, extra: tuple[str, ...], workers: int
) -> Iterator[Scored]:
    """Yield the scores of each case in order; the network runs here, the scores in processes if it pays."""
    jobs = _jobs(predictor, cases, options, extra)
    if workers < 2:
        yield from (_score(job) for job in jobs)
        return
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        waiting: deque[Future[Scored]] = deque()
        for job in jobs:
            waiting.append(pool.submit(_score, job))
            if len(waiting) > 4 * workers:  # bounds the memory that predictions wait in
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _jobs(
    predictor: Predictor, cases: Sequence[Case], options: Evaluation, extra: tuple[str, ...]
) -> Iterator[_Job]:
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
                extra=extra,
            )


def _score(job: _Job) -> Scored:
    row: Row = {f"label_probability[{name}]": value for name, value in job.label.items()}
    if job.logits is None or job.case.mask is None:
        return row, None
    reference = read_case_mask(job.case)
    if reference.shape != job.size:
        raise InputError(
            f"{job.case.mask} has {[*reference.shape]} pixels, its image {[*job.size]}; give both one size."
        )
    probability = native_probability(torch.from_numpy(job.logits), job.size)
    scores = score_image(
        reference,
        probability,
        classes=job.classes,
        spacing=job.case.spacing,
        threshold=job.options.threshold,
        empty=job.options.empty,
        surface=job.options.surface,
        saliency=job.options.saliency,
        extra=job.extra,
    )
    counts = (
        image_histograms(reference, probability, classes=job.classes) if needs_histograms(job.extra) else None
    )
    return row | scores, counts


def _write_scores(path: Path, table: pd.DataFrame, split: str) -> None:
    if path.is_file():
        others = pd.read_csv(path, dtype={"image_id": str, "group": str, "split": str})
        others = others[others["split"] != split]
        if len(others):
            table = pd.concat([others, table], ignore_index=True)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def _write_summary(path: Path, summary: Summary, split: str) -> None:
    whole = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, whole | {split: summary})
