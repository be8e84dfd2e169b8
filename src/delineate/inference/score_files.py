"""Score anybody's predictions against references: two folders of files, no model."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch

from delineate.checks import InputError
from delineate.data import read_case_mask
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import image_size
from delineate.files import sha256_of
from delineate.inference.file_pairs import FilePair, find_pairs
from delineate.inference.files_record import SPLIT, FilesRecord, Missing, check_out, fingerprint, write_scores
from delineate.inference.parallel import in_order, pool
from delineate.inference.prediction_files import (
    Contents,
    Kind,
    Reading,
    class_indices,
    decide_reading,
    look_into,
    one_hot,
    probabilities,
    read_prediction,
)
from delineate.metrics import as_json, score_image, summarise
from delineate.metrics.histograms import Histograms, ImageHistograms, image_histograms
from delineate.metrics.names import expand_names, needs_histograms
from delineate.metrics.overlap import Empty
from delineate.record import describe_environment, now


@dataclass(frozen=True)
class FileScores:
    """What `score_files` measured and wrote."""

    table: pd.DataFrame
    """One row per case, as in scores.csv."""
    summary: dict[str, dict[str, float | int | None]]
    """score -> {mean, low, high, n}."""
    pairs: list[FilePair]
    """The scored cases in the order of the table."""
    reading: Reading
    """What the numbers in the predictions mean."""
    record: FilesRecord


@dataclass(frozen=True)
class _Found:
    """What the first look at a pair of files gave."""

    contents: Contents | None
    size: tuple[int, int]
    """Of the reference."""
    prediction_sha256: str
    reference_sha256: str


@dataclass(frozen=True)
class _Options:
    """What every case is scored with."""

    reading: Reading
    classes: tuple[str, ...]
    threshold: float
    empty: Empty
    extra: tuple[str, ...]
    usual: bool
    """Whether surface and saliency scores are computed without being asked for."""
    histograms: bool


@dataclass(frozen=True)
class _Scored:
    row: dict[str, float]
    histograms: ImageHistograms | None


def score_files(
    predictions: Path,
    references: Path,
    out: Path,
    *,
    encoding: MaskEncoding | None = None,
    kind: Kind = "auto",
    metrics: Sequence[str] = (),
    threshold: float = 0.5,
    empty: Empty = "one",
    groups: Path | None = None,
    spacing: Path | None = None,
    missing: Missing = "error",
    resize: bool = False,
    prediction_suffix: str = "",
    reference_suffix: str = "",
    overwrite: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FileScores:
    """Score files against reference masks of the same name; writes scores.csv, summary.json, record.json.

    Of probability maps histograms/files.npz is written too, for scores of the whole set and calibration.

    Args:
        predictions: folder of masks or probability maps, see `delineate.inference.prediction_files`.
        references: folder of masks.
        out: folder to write to, made when absent.
        encoding: which value of a reference is which class, see `read_classes`; None for binary masks.
        kind: what the predictions' numbers are, when "auto" cannot tell.
        metrics: names of scores or groups of scores, see `expand_names`; () for the usual ones (overlap,
            surface, saliency). Overlap is always among them.
        threshold: probability above which a pixel is predicted, for one class.
        empty: policy for undefined overlap, see `score_image`.
        groups: CSV file image_id,group; intervals are then over groups.
        spacing: CSV file image_id,row_mm,column_mm; distances are in mm if it names every case, in pixels if
            there is none and no header of a volume says it.
        missing: what a reference without a prediction is: an error, "worst" (scored as an empty prediction)
            or "skip" (left out). It is listed in record.json in any case.
        resize: bring predictions of another size to the reference's: masks by nearest neighbour, probability
            maps bilinearly. Otherwise another size is an error.
        prediction_suffix: end of the predictions' names that the references' names lack.
        reference_suffix: the other way round, for example "_segmentation".
        overwrite: replace earlier scores in `out`.
        workers: processes; by default chosen by the number of cases.
        progress: called with (done, all); every file is looked at once and scored once.

    Raises:
        InputError: a folder, a name, a size, a value, a table or an option does not fit.
    """
    clock = time.monotonic()
    extra = expand_names(metrics)
    of_set = needs_histograms(extra)
    if empty not in get_args(Empty) or missing not in get_args(Missing) or kind not in get_args(Kind):
        raise InputError(
            f"--empty, --missing and --kind must be among {', '.join(get_args(Empty))}; "
            f"{', '.join(get_args(Missing))}; {', '.join(get_args(Kind))}, got {empty}, {missing}, {kind}."
        )
    if not 0 < threshold < 1:
        raise InputError(f"The threshold must lie between 0 and 1, got {threshold:g}.")
    check_out(out, overwrite)
    encoding = encoding or MaskEncoding()
    found = find_pairs(
        predictions,
        references,
        encoding,
        groups=groups,
        spacing=spacing,
        prediction_suffix=prediction_suffix,
        reference_suffix=reference_suffix,
    )
    lacking = [pair.case.id for pair in found.pairs if pair.prediction is None]
    if lacking and missing == "error":
        hint = f"; {found.unmatched[0]!r} is a prediction without a reference" if found.unmatched else ""
        raise InputError(
            f"{len(lacking)} of {len(found.pairs)} references have no prediction, for example "
            f"{lacking[0]!r}{hint}; add them, or choose --missing worst or skip."
        )
    pairs = [pair for pair in found.pairs if pair.prediction is not None or missing == "worst"]
    if all(pair.prediction is None for pair in pairs):
        raise InputError(
            f"No file in {predictions} has the name of a reference in {references}; give both the same names."
        )

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, 2 * len(pairs))

    with pool(workers, len(pairs)) as processes:
        looks = []
        for look in in_order(processes, _look, pairs):
            looks.append(look)
            tell(len(looks))
        resized = _check_sizes(pairs, looks, resize)
        reading = _reading(pairs, looks, encoding, kind)
        options = _Options(
            reading,
            encoding.classes,
            threshold,
            empty,
            extra,
            not metrics,
            reading.kind == "probability" or of_set,
        )
        scored = []
        for one in in_order(processes, partial(_score, options=options), pairs):
            scored.append(one)
            tell(len(pairs) + len(scored))

    table = pd.DataFrame(
        [
            {"split": SPLIT, "image_id": pair.case.id, "group": pair.case.group} | one.row
            for pair, one in zip(pairs, scored, strict=True)
        ]
    )
    collected = _collect(encoding.classes, pairs, scored) if options.histograms else None
    grouped = any(pair.case.group for pair in pairs)
    summary = as_json(
        summarise(
            table,
            groups=[pair.case.group or pair.case.id for pair in pairs] if grouped else None,
            threshold=threshold,
            histograms=collected if of_set else None,
            extra=extra,
        )
    )
    record = FilesRecord(
        predictions=str(predictions.absolute()),
        references=str(references.absolute()),
        cases=len(pairs),
        missing_policy=missing,
        missing=tuple(lacking),
        unmatched=found.unmatched,
        resized=resized,
        reading=str(reading),
        classes=encoding.classes,
        threshold=threshold,
        empty=empty,
        metrics=tuple(metrics),
        unit="px" if any(pair.case.spacing is None for pair in pairs) else "mm",
        grouped=grouped,
        predictions_sha256=fingerprint(
            {pair.case.id: look.prediction_sha256 for pair, look in zip(pairs, looks, strict=True)}
        ),
        references_sha256=fingerprint(
            {pair.case.id: look.reference_sha256 for pair, look in zip(pairs, looks, strict=True)}
        ),
        finished=now(),
        wall_seconds=round(time.monotonic() - clock, 1),
        environment=describe_environment("cpu"),
    )
    kept = out / "histograms" / f"{SPLIT}.npz"  # the report draws the calibration of pixels from it
    if collected is not None:
        collected.save(kept)
    else:
        kept.unlink(missing_ok=True)  # of earlier scores
    write_scores(out, table, summary, record)
    return FileScores(table, summary, pairs, reading, record)


def predicted_probability(
    pair: FilePair, reading: Reading, classes: Sequence[str], size: tuple[int, int]
) -> np.ndarray:
    """Read a prediction as `score_image` takes it, at its reference's size; a missing one is background.

    Args:
        pair: the files.
        reading: of the whole set.
        classes: names of the foreground classes.
        size: (height, width) of the reference.

    Returns:
        (H, W) for one class, (classes + 1, H, W) for several, floating point.
    """
    if pair.prediction is None:
        return one_hot(np.zeros(size, dtype=np.uint8), len(classes))
    values = read_prediction(pair.prediction, pair.case.slice)
    if reading.index is not None:
        indices = class_indices(values, reading.index)
        return one_hot(_resized(indices, size, "nearest-exact"), len(classes))
    return _resized(probabilities(values, reading, len(classes)), size, "bilinear")


def _resized(values: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    if values.shape[-2:] == size:
        return values
    channels = torch.from_numpy(np.ascontiguousarray(values)).reshape(1, -1, *values.shape[-2:])
    exact = mode == "nearest-exact"
    resized = torch.nn.functional.interpolate(
        channels, size, mode=mode, align_corners=None if exact else False
    )
    return resized.reshape(*values.shape[:-2], *size).numpy()


def _look(pair: FilePair) -> _Found:
    """The first look at a pair: what is in the prediction, how large the reference is, hashes of both."""
    reference = _mask_path(pair.case)
    once = not pair.case.slice  # a volume is hashed with its first slice
    return _Found(
        contents=None
        if pair.prediction is None
        else look_into(read_prediction(pair.prediction, pair.case.slice)),
        size=image_size(reference, slice=pair.case.slice),
        prediction_sha256=sha256_of(pair.prediction) if once and pair.prediction is not None else "",
        reference_sha256=sha256_of(reference) if once else "",
    )


def _mask_path(case: Case) -> Path:
    if case.mask is None:
        raise InputError(f"Case {case.id!r} has no reference mask; take a case that has one.")
    return case.mask


def _check_sizes(pairs: Sequence[FilePair], looks: Sequence[_Found], resize: bool) -> int:
    """Count the predictions whose size is not their reference's; an error unless they may be resized."""
    others = [
        (pair, look)
        for pair, look in zip(pairs, looks, strict=True)
        if look.contents is not None and look.contents.shape[-2:] != look.size
    ]
    if others and not resize:
        pair, look = others[0]
        found = "x".join(map(str, look.contents.shape[-2:] if look.contents else ()))
        raise InputError(
            f"{len(others)} of {len(pairs)} predictions differ in size from their reference, for example "
            f"{pair.prediction} with {found} against {look.size[0]}x{look.size[1]} pixels (height x width); "
            "write them at the reference's size, or give --resize."
        )
    return len(others)


def _reading(
    pairs: Sequence[FilePair], looks: Sequence[_Found], encoding: MaskEncoding, kind: Kind
) -> Reading:
    contents: dict[Path, Contents] = {}
    for pair, look in zip(pairs, looks, strict=True):
        if pair.prediction is not None and look.contents is not None:
            name = pair.prediction
            if pair.case.slice is not None:  # the slices of a volume are looked at one by one
                name = name.with_name(f"{name.name}, slice {pair.case.slice}")
            contents[name] = look.contents
    return decide_reading(contents, encoding, kind)


def _score(pair: FilePair, options: _Options) -> _Scored:
    reference = read_case_mask(pair.case)
    size = (reference.shape[0], reference.shape[1])
    probability = predicted_probability(pair, options.reading, options.classes, size)
    row = score_image(
        reference,
        probability,
        classes=options.classes,
        spacing=pair.case.spacing,
        threshold=options.threshold,
        empty=options.empty,
        surface=options.usual,
        saliency=options.usual,
        extra=options.extra,
    )
    kept = image_histograms(reference, probability, classes=options.classes) if options.histograms else None
    return _Scored(row, kept)


def _collect(classes: Sequence[str], pairs: Sequence[FilePair], scored: Iterable[_Scored]) -> Histograms:
    collected = Histograms(classes)
    for pair, one in zip(pairs, scored, strict=True):
        if one.histograms is not None:
            collected.add(pair.case.id, one.histograms)
    return collected
