"""What is written beside scores of files: the table, its summary and where both come from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from delineate.checks import InputError
from delineate.files import atomic_path, write_json, write_text
from delineate.metrics.overlap import Empty
from delineate.record import Environment, read_json_record

Missing = Literal["error", "worst", "skip"]
SPLIT = "files"
"""What scores.csv and summary.json call the only set of cases that they hold."""
RECORD, SCORES, SUMMARY = "record.json", "scores.csv", "summary.json"


class FilesRecord(BaseModel):
    """`record.json` beside scores of files: where the scores come from."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    schema_version: Literal[1] = 1
    kind: Literal["files"] = "files"
    predictions: str
    """Folder, absolute."""
    references: str
    """Folder, absolute."""
    cases: int
    """Cases that were scored."""
    missing_policy: Missing
    missing: tuple[str, ...]
    """References without a prediction: scored as empty predictions (worst) or left out (skip)."""
    unmatched: tuple[str, ...]
    """Predictions without a reference; they are not scored."""
    resized: int
    """Predictions that were brought to their reference's size."""
    reading: str
    """What the numbers in the predictions mean."""
    classes: tuple[str, ...]
    threshold: float
    empty: Empty
    metrics: tuple[str, ...]
    """Scores that were asked for by name; empty for the usual ones."""
    unit: Literal["px", "mm"]
    """Of distances."""
    grouped: bool
    """Whether intervals are over groups."""
    predictions_sha256: str
    """Hash over the ids and file hashes of the predictions."""
    references_sha256: str
    """Hash over the ids and file hashes of the references."""
    finished: str
    wall_seconds: float
    environment: Environment


def fingerprint(hashes: Mapping[str, str]) -> str:
    """Hash over ids and file hashes; empty ones (a volume's further slices, missing files) do not count."""
    lines = sorted(f"{case_id}\t{one}" for case_id, one in hashes.items() if one)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything but earlier scores of files, or those without `overwrite`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
        ours = isinstance(content, Mapping) and content.get("kind") == "files"
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise InputError(f"{out} exists and holds other things; choose another folder with --out.")
    if not overwrite:
        raise InputError(
            f"{out} already holds scores; give --overwrite to replace them, or choose another --out."
        )


def write_scores(
    out: Path,
    table: pd.DataFrame,
    summary: Mapping[str, Mapping[str, float | int | None]],
    record: FilesRecord,
) -> None:
    """Write scores.csv, summary.json and, last, record.json, each atomically."""
    with atomic_path(out / SCORES) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
    write_json(out / SUMMARY, {SPLIT: summary})
    write_text(out / RECORD, record.model_dump_json(indent=2) + "\n")


def read_files_record(path: Path) -> FilesRecord:
    """Read and check a `record.json` beside scores of files.

    Raises:
        InputError: it is missing, damaged, or does not fit the schema.
    """
    return read_json_record(
        path,
        FilesRecord,
        missing="score the files first.",
        unfit="is no record of scored files; score the files again.",
    )
