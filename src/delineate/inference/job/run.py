"""Predict files: pictures and tables on disk; a bad file is reported, a killed job goes on where it was."""

import csv
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from delineate.checks import InputError, choose
from delineate.data.locks import claim
from delineate.inference.job.folder import JobFolder
from delineate.inference.job.options import JobOptions, Loading, check_spacing
from delineate.inference.job.pipeline import Extra, Finished, MapWriter, predict_groups
from delineate.inference.job.plan import Plan, write_plan
from delineate.inference.job.rows import FAILED, TABLE, csv_line
from delineate.inference.job.sources import list_units
from delineate.inference.predictor import Predictor
from delineate.inference.writers import WRITERS


@dataclass
class PredictReport:
    """What `predict_files` did."""

    out: Path
    """Folder of the results."""
    files: int = 0
    """Files that were asked for."""
    skipped: int = 0
    """Files among them that an earlier call had finished."""
    images: int = 0
    """Images whose predictions lie in the folder, those of earlier calls too."""
    failed: dict[str, str] = field(default_factory=dict)
    """File -> why it was left out."""
    notes: tuple[str, ...] = ()
    """What a user should know of the model's backend, see `Predictor.notes`."""

    @property
    def written(self) -> list[str]:
        """Ids of the images whose predictions lie in the folder, read from its table."""
        with (self.out / TABLE).open(newline="", encoding="utf-8") as lines:
            return [row["image_id"] for row in csv.DictReader(lines)]


def predict_files(
    predictor: Predictor | Loading,
    sources: Sequence[str | Path],
    out: Path,
    *,
    writers: Sequence[str] = ("masks", "overlays"),
    resume: bool = False,
    overwrite: bool = False,
    recursive: bool = False,
    explain: str | None = None,
    measure: bool = False,
    spacing: float | Sequence[float] | None = None,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
    extra: Extra | None = None,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
) -> PredictReport:
    """Predict images and write what was found.

    Writes the files of the chosen writers, predictions.csv and predictions.jsonl (one row per image),
    measurements.csv (one row per lesion), failed.csv (file and reason, when there are any) and job.json. A
    volume or a stack is one file with many images; it is finished when all of them are. Memory does not grow
    with the number of files, but for about 30 bytes each, and while the names of one folder are sorted about
    100 bytes for each of them; the format "coco" does that for all pictures at the end.

    Args:
        predictor: a loaded model, or how to load it, which the engine "ray" needs.
        sources: files, folders, patterns, "@list.txt" and archives, see `list_units`.
        out: folder to write to; made if needed. On a cluster all machines must see it and the sources at the
            same paths.
        writers: names of `delineate.inference.writers.WRITERS`.
        resume: go on with an earlier call: finished files are passed over, those that failed are tried again.
        overwrite: replace the results of an earlier call.
        recursive: also look into the folders below the named ones.
        explain: draw activation maps: a method of `delineate.explain.activation`, or "auto".
        measure: measure the lesions of each mask.
        spacing: millimetres per pixel, one number or (row, column), of all images; None takes it from the
            files that state it.
        batch_size: images that pass the network together. Files are finished in groups of so many, too.
        progress: called with (files done, all).
        extra: called as (id, image, prediction, out) for each image, to do more; engine "local" only.
        engine: "local", or "ray" for workers of a Ray cluster.
        workers: processes on the cluster; None for one per core, or per GPU when it has any.
        address: of a Ray cluster; None starts one on this machine.

    Raises:
        InputError: a source does not exist or two files have one id; `out` holds predictions and neither
            `resume` nor `overwrite` is given, or those of another model or other options; or the results
            cannot be written.
    """
    if batch_size < 1:
        raise InputError(f"The batch size must be at least 1, got {batch_size}.")
    choose("engine", engine, {"local": None, "ray": None})
    for name in writers:
        choose("format", name, WRITERS)
    if resume and overwrite:
        raise InputError("--resume keeps what is there and --overwrite replaces it; give one of them.")
    if engine == "ray" and (extra is not None or isinstance(predictor, Predictor)):
        raise InputError(
            "The engine 'ray' loads the model in each worker and calls nothing of the caller's; give a "
            "Loading in place of a predictor, and no `extra`."
        )
    options = JobOptions(tuple(dict.fromkeys(writers)), explain, measure, check_spacing(spacing), batch_size)
    loading = predictor if isinstance(predictor, Loading) else Loading(())
    if isinstance(predictor, Loading):  # on a cluster it only says what predicts
        predictor = predictor.load("cpu" if engine == "ray" else None)
    _check_options(options, predictor)
    folder = JobFolder(predictor, out, options)
    folder.check(resume=resume, overwrite=overwrite)
    with claim(folder.lock_path) as ours:
        if not ours:
            raise InputError(f"Another job is writing into {out}; wait for its end or choose another --out.")
        try:
            folder.recover()
            plan = write_plan(list_units(sources, recursive=recursive), folder.plan_path, batch_size)
            folder.begin(overwrite=overwrite)
            if engine == "ray":
                from delineate.inference.job.ray_engine import predict_on_ray

                results = predict_on_ray(loading, folder, plan, workers, address)
            else:
                results = _predict_here(folder, plan, extra)
            with closing(folder.journal), closing(results):
                return _collect(results, folder, plan, progress)
        finally:
            folder.tidy()


def _predict_here(
    folder: JobFolder, plan: Plan, extra: Extra | None
) -> Generator[list[Finished], None, None]:
    groups = ([plan.group_at(start)[i] for i in positions] for start, positions in folder.todo(plan))
    return predict_groups(
        folder.predictor, groups, folder.out, folder.options, scratch=folder.members, extra=extra
    )


def _collect(
    results: Iterable[list[Finished]],
    folder: JobFolder,
    plan: Plan,
    progress: Callable[[int, int], None] | None,
) -> PredictReport:
    """Write the tables as the results come in, then what sums them up."""
    report = PredictReport(
        folder.out, plan.files, images=folder.journal.done.images, notes=folder.predictor.notes
    )
    done = 0
    for group in results:
        good = [result for result in group if result.fault is None]
        if good:
            rows = {
                name: "".join(result.rows.get(name, "") for result in good)
                for name in dict.fromkeys(name for result in good for name in result.rows)
            }
            images = sum(result.images for result in good)
            folder.journal.commit([result.unit for result in good], images, rows)
            report.images += images
        _report_bad([result for result in group if result.fault is not None], report)
        done += len(group)
        if progress is not None:
            progress(folder.skipped + done, plan.files)
    report.skipped = folder.skipped
    folder.end({"files": plan.files, "failed": len(report.failed), "images": report.images})
    return report


def _report_bad(bad: Sequence[Finished], report: PredictReport) -> None:
    if not bad:
        return
    is_first = not report.failed
    with (report.out / FAILED).open("a", encoding="utf-8", errors="backslashreplace") as file:
        if is_first:
            file.write(csv_line(["file", "reason"]))
        for result in bad:
            report.failed[result.unit.file] = result.fault or ""
            file.write(csv_line([result.unit.file, result.fault or ""]))


def _check_options(options: JobOptions, predictor: Predictor) -> None:
    for name in options.formats:
        if WRITERS[name].needs_uncertainty and not predictor.uncertainty:
            raise InputError(f"The format {name!r} needs the uncertainty of predictions; give --uncertainty.")
    if options.measure and not predictor.info.classes:
        raise InputError(
            f"The model {predictor.info.recipe!r} names labels only, so there is no mask to measure; choose "
            "a model with mask classes."
        )
    if options.explain is not None:
        MapWriter(predictor, Path(), options.explain)
