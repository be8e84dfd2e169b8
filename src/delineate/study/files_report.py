"""The report of predictions that came as files: what a run's report says, without a model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.images import case_image_size, image_size
from delineate.data.pictures import ENDINGS
from delineate.inference.file_pairs import FilePair
from delineate.inference.files_record import SPLIT, FilesRecord
from delineate.inference.predictor import ImagePrediction, decide
from delineate.inference.score_files import FileScores, predicted_probability
from delineate.study.page import moment
from delineate.study.report import Subject, write_scores_report


def write_files_report(out: Path, scores: FileScores, *, images: Path | None = None) -> Path:
    """Write `report.html` beside the scores of files.

    Args:
        out: where `score_files` wrote.
        scores: what it gave.
        images: folder of the pictures, named as the references, to draw outlines on; where there is none, the
            outlines lie on the reference mask.

    Returns:
        The path of the report.

    Raises:
        InputError: `images` is no folder, or a picture has another size than its reference.
    """
    record = scores.record
    pairs = {pair.case.id: pair for pair in scores.pairs}
    pictures = {} if images is None else _pictures(images)
    cases = [_pictured(pair.case, pictures) for pair in scores.pairs]

    def predict(case: Case) -> ImagePrediction:
        return _prediction(pairs[case.id], scores)

    subject = Subject(
        title=Path(record.predictions).name,
        summary=f"Predictions of {record.predictions} against the references of {record.references}.",
        data_name=Path(record.references).name,
        classes=record.classes,
        threshold=record.threshold,
        facts=_facts(record),
    )
    return write_scores_report(out, split=SPLIT, subject=subject, cases=cases, predict=predict)


def _prediction(pair: FilePair, scores: FileScores) -> ImagePrediction:
    size = case_image_size(replace(pair.case, image=pair.case.masks[0]))
    probability = predicted_probability(pair, scores.reading, scores.record.classes, size)
    return ImagePrediction(decide(probability, scores.record.threshold), probability, None)


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; check --images.")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}


def _pictured(case: Case, pictures: Mapping[str, Path]) -> Case:
    """The case with its picture, when there is one."""
    picture = pictures.get(case.id)
    if picture is None or case.slice is not None:
        return case
    size = image_size(picture)
    reference = case_image_size(case)
    if size != reference:
        raise InputError(
            f"{picture} has {size[0]}x{size[1]} and its reference {reference[0]}x{reference[1]} pixels; give "
            "the pictures that the references belong to, or leave --images out."
        )
    return replace(case, image=picture)


def _facts(record: FilesRecord) -> dict[str, str]:
    how = {"worst": "scored as empty predictions", "skip": "left out", "error": ""}[record.missing_policy]
    return {
        "predictions": f"{record.predictions} (SHA-256 {record.predictions_sha256})",
        "references": f"{record.references} (SHA-256 {record.references_sha256})",
        "read as": record.reading,
        "cases": str(record.cases),
        "references without a prediction": _listing(record.missing, how),
        "predictions without a reference": _listing(record.unmatched, "not scored"),
        "brought to the reference's size": str(record.resized),
        "classes": ", ".join(record.classes),
        "threshold": f"{record.threshold:g}",
        "undefined overlap": record.empty,
        "unit of distances": record.unit,
        "intervals": "over groups" if record.grouped else "over cases",
        "scores asked for": ", ".join(record.metrics) or "the usual ones",
        "scored": moment(record.finished),
        "delineate": record.environment.delineate
        + (f", commit {record.environment.commit}" if record.environment.commit else ""),
        "machine": f"{record.environment.processor}, {record.environment.cores} cores; "
        f"{record.environment.platform}; Python {record.environment.python}",
    }


def _listing(ids: tuple[str, ...], what: str) -> str:
    if not ids:
        return "0"
    return f"{len(ids)}, {what}: {', '.join(ids[:5])}" + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
