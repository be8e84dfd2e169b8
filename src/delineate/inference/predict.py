"""Predict files: masks, overlays and tables on disk; the work is done in `delineate.inference.job`."""

from collections.abc import Sequence
from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.images import ENDINGS
from delineate.data.volumes import slice_ids
from delineate.inference.job import Loading, PredictReport, predict_files
from delineate.inference.job.rows import TABLE
from delineate.inference.job.sources import count_images, id_of
from delineate.inference.writers.pictures import COLOURS, draw_outline, write_png

__all__ = [
    "COLOURS",
    "TABLE",
    "Loading",
    "PredictReport",
    "draw_outline",
    "find_images",
    "predict_files",
    "write_png",
]


def find_images(sources: Sequence[Path]) -> dict[str, Case]:
    """List the image files that are named directly or lie in the named folders (not below them).

    Returns:
        Id -> case, in the order given, folders sorted. The id is the file name without its ending; each slice
        of a volume, frame of a DICOM file and page of a TIFF is a case of its own, `<id>_s000` and so on.

    Raises:
        InputError: a path does not exist, a folder holds no image, or two files would get one id.
    """
    found: dict[str, Case] = {}
    for source in sources:
        if source.is_dir():
            files = sorted(
                f for f in source.iterdir() if f.name.lower().endswith(ENDINGS) and not f.name.startswith(".")
            )
            if not files:
                raise InputError(f"The folder {source} holds no image ({', '.join(ENDINGS)}).")
        elif source.exists():
            files = [source]
        else:
            raise InputError(f"{source} does not exist.")
        for file in files:
            for case in _cases_of(file):
                other = found.setdefault(case.id, case)
                if other != case:
                    raise InputError(
                        f"{other.image} and {file} would both be written as {case.id!r}; rename one of them."
                    )
    return found


def _cases_of(file: Path) -> list[Case]:
    """The pictures in a file; of one whose header is damaged a single one, to be reported when it is read."""
    try:
        slices = count_images(file)
    except InputError:
        slices = 1
    return [
        Case(id=case_id, image=file, slice=position)
        for case_id, position in slice_ids(id_of([file.name]), slices)
    ]
