"""The run record: what is needed to know where a number comes from."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from delineate.checks import InputError
from delineate.files import write_text
from delineate.version import __version__

Schema = TypeVar("Schema", bound=BaseModel)
PACKAGES = (
    "torch", "torchvision", "timm", "segmentation-models-pytorch", "lightning", "monai", "pysodmetrics",
    "numpy", "pandas", "scipy", "scikit-learn", "pillow",
)  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Environment(_Part):
    """The machine and the software."""

    delineate: str
    """Version of this package."""
    commit: str | None
    """Git commit of the source, with "+changes" when files differ from it; None for an installed package."""
    python: str
    packages: dict[str, str]
    """Version of each library that can change a number."""
    platform: str
    processor: str
    cores: int
    device: str
    """What the network ran on, for example "cpu" or the name of the GPU."""


class EvaluationRecord(_Part):
    """Where the scores of one split come from."""

    finished: str
    wall_seconds: float
    data_fingerprint: str
    cases: int
    weights_sha256: str
    """Hash of the model.safetensors that was evaluated."""
    environment: Environment


class RunRecord(_Part):
    """`record.json` of a run."""

    schema_version: Literal[1] = 1
    recipe: str
    recipe_sha256: str
    data_root: str
    dataset: str
    """Name of the reader."""
    protocol: str | None = None
    """How the cases were split; None in records from before it was written down."""
    data_fingerprint: str
    """Hash over the ids and file hashes of all cases, as in splits.json."""
    cases: dict[str, int]
    """Number of cases in each split."""
    seed: int
    started: str
    """UTC, ISO 8601."""
    finished: str
    wall_seconds: float
    """Time spent in training, all sessions of a resumed run together."""
    epochs: int
    """Epochs that were trained."""
    selected_epoch: int
    """The epoch, counted from 1, whose weights are in model.safetensors."""
    resumed: int
    """How often the run was continued from last.ckpt."""
    gate: dict[str, int]
    """Findings of the data gate before training: {"error": 0, "warning": 2, "info": 1}."""
    gate_overridden: bool
    """True when training went on in spite of errors found by the gate."""
    gate_accepted: tuple[str, ...] = ()
    """Codes of those errors."""
    environment: Environment
    evaluations: dict[str, EvaluationRecord] = {}
    """One for each split that was evaluated."""


def now() -> str:
    """Return the time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_environment(device: str) -> Environment:
    """Collect versions and machine; `device` is what the caller runs on, "cpu" or a GPU's name."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return Environment(
        delineate=__version__,
        commit=_commit(),
        python=platform.python_version(),
        packages=packages,
        platform=platform.platform(terse=True),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        device=device,
    )


def read_record(path: Path) -> RunRecord:
    """Read and check a `record.json`.

    Raises:
        InputError: it is missing, damaged, or does not fit the schema.
    """
    return read_json_record(
        path,
        RunRecord,
        missing=f"{path.parent} is not a finished run.",
        unfit="does not fit the schema of a run record; train the run again.",
    )


def read_json_record(path: Path, schema: type[Schema], *, missing: str, unfit: str) -> Schema:
    """Read and check a `record.json` of any kind.

    Args:
        path: the file.
        schema: what it must fit.
        missing: how the sentence that begins with "PATH is missing; " goes on.
        unfit: how the sentence that begins with "PATH " goes on when it does not fit.

    Raises:
        InputError: it is missing, damaged, or does not fit the schema.
    """
    try:
        return schema.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; {missing}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} {unfit}") from error


def write_record(path: Path, record: RunRecord) -> None:
    """Write a `record.json` atomically."""
    write_text(path, record.model_dump_json(indent=2) + "\n")


def _commit() -> str | None:
    source = Path(__file__).resolve().parent
    if not any((folder / ".git").exists() for folder in source.parents[:2]):
        return None  # installed into an environment that may itself lie inside some other repository
    try:
        run = ["git", "-C", str(source), "rev-parse", "HEAD"]
        commit = subprocess.run(run, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changed = ["git", "-C", str(source), "status", "--porcelain", "--", "."]
        dirty = subprocess.run(changed, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if dirty else "")


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
