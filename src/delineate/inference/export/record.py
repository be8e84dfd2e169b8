"""`export.json`: what an exported folder holds, how it was made and how close it comes to PyTorch."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from delineate.checks import InputError
from delineate.files import sha256_of, write_text
from delineate.models.checkpoint import INFO, ModelInfo

RECORD = "export.json"
FORMATS = ("onnx", "openvino", "torchscript", "torch-export")
PRECISIONS = ("fp32", "bf16", "int8")
BACKENDS = ("onnx", "openvino")
"""Formats that delineate itself runs; the others are for users' own programs."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parity(_Record):
    """The exported graph beside PyTorch, both from the same uint8 pictures."""

    pictures: str
    """Where the pictures came from: "built-in" or "given"."""
    cases: tuple[tuple[int, int, int], ...]
    """(batch, height, width) of each call compared."""
    tolerance: float | None
    """Largest difference of a probability that is let pass; None where the score change decides."""
    probability: float
    """Largest difference of a mask probability at the pictures' size."""
    label_probability: float | None
    """Largest difference of a label probability; None without labels."""
    mask_logits: float
    """Largest difference of a mask logit at the network's size."""
    label_logits: float | None = None
    """Largest difference of a label logit; None without labels."""
    largest_mask_logit: float = 1.0
    """Largest absolute mask logit in PyTorch, at least 1: what the difference is compared with."""
    largest_label_logit: float = 1.0
    """The same of the labels."""
    pixels: int
    """Mask pixels compared."""
    pixels_that_differ: int
    """Mask pixels of another class."""


class ScoreChange(_Record):
    """Dice of the reference run and of the exported file on the same cases of a data set."""

    dataset: str
    """Reader and folder name of the data set."""
    split: str
    """Which cases."""
    cases: int
    """How many."""
    dice_before: float
    """Mean Dice in PyTorch, float32."""
    dice_after: float
    """Mean Dice of the exported file."""
    mean_change: float
    """`dice_after - dice_before`."""
    largest_change: float
    """Largest change of a single case, absolute."""
    changes: tuple[float, ...] = ()
    """Change of each case, in the order of their ids."""
    labels_changed: int | None = None
    """Cases that get another label; None without labels."""


class Calibration(_Record):
    """Pictures that an int8 file was calibrated with."""

    pictures: int
    """How many."""
    sha256: str
    """Hash of their pixels at the network's size, in order."""
    method: str
    """How the ranges were chosen, with the settings that matter."""


class ExportInfo(_Record):
    """`export.json`."""

    schema_version: Literal[1] = 1
    format: Literal["onnx", "openvino", "torchscript", "torch-export"]
    precision: Literal["fp32", "bf16", "int8"]
    files: dict[str, str]
    """File name -> SHA-256, `model.json` among them."""
    opset: int | None
    """ONNX operator set; None for formats without one."""
    outputs: tuple[str, ...]
    """Names of the graph's outputs, in order."""
    versions: dict[str, str]
    """Package -> version that wrote the file."""
    parity: Parity
    calibration: Calibration | None = None
    score_change: ScoreChange | None = None
    notes: tuple[str, ...] = ()
    """What a user should know, for example that this processor lacks bf16."""

    @property
    def name(self) -> str:
        """Format and precision, the name of the folder and of the backend: "openvino-int8"."""
        return f"{self.format}-{self.precision}"


def is_exported(folder: str | Path) -> bool:
    """Say whether a folder is an exported one."""
    return (Path(folder) / RECORD).is_file()


def write_record(folder: Path, info: ExportInfo) -> None:
    """Write `export.json` into `folder`."""
    write_text(folder / RECORD, info.model_dump_json(indent=2) + "\n")


def read_record(folder: str | Path, *, verify: bool = True) -> tuple[ExportInfo, ModelInfo]:
    """Read an exported folder's records, and check its files.

    Args:
        folder: has `export.json`.
        verify: compare the files' hashes too.

    Returns:
        What `export.json` and what `model.json` say.

    Raises:
        InputError: the folder is not an exported one, a record is damaged, or a file is missing or was
            changed.
    """
    folder = Path(folder)
    if not is_exported(folder):
        raise InputError(f"{folder} has no {RECORD}; make it with `delineate export RUN --to onnx`.")
    try:
        info = ExportInfo.model_validate_json((folder / RECORD).read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{folder / RECORD} is damaged or of another version; export the run again."
        ) from error
    if INFO not in info.files or any(Path(name).name != name for name in info.files):
        raise InputError(f"{folder / RECORD} names files that it should not; export the run again.")
    for name, digest in info.files.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; export the run again.")
        if verify and sha256_of(folder / name) != digest:
            raise InputError(
                f"{folder / name} is not the file that {RECORD} names (SHA-256 differs); "
                "export the run again."
            )
    try:
        model = ModelInfo.model_validate_json((folder / INFO).read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{folder / INFO} is damaged or of another version; export the run again."
        ) from error
    return info, model
