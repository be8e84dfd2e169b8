"""Export a run: make the file, compare it with PyTorch, and only then put it in its place."""

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, choose, require
from delineate.data.cache import resize_image
from delineate.data.case import Case
from delineate.files import sha256_of
from delineate.inference.export import (
    int8,
    onnx_format,
    openvino_format,
    parity,
    record,
    running,
    silent,
    torch_formats,
)
from delineate.inference.export.graph import INPUT, Whole, output_names
from delineate.inference.export.record import Calibration, ExportInfo, ScoreChange
from delineate.inference.predictor import Predictor
from delineate.models.checkpoint import INFO, ModelInfo, load_model

Progress = Callable[[str], None]
"""Called with what is being done, a few words each time."""
CALIBRATED = 300
"""Most pictures that int8 is calibrated with, spread over those given; the time grows with them."""
CHECKED = 8
"""Number of given pictures that the comparison with PyTorch uses besides the built-in ones."""
_PACKAGES = ("delineate", "torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


class ScoreData(NamedTuple):
    """Cases on which the change of the Dice score is measured."""

    cases: Sequence[Case]
    """Cases with masks."""
    dataset: str
    """What they come from, for the record."""
    split: str
    """Which of its cases they are, for the record."""


@dataclass(frozen=True)
class _Made:
    """A written file, opened again."""

    run: running.Run
    opset: int | None = None
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()


def export_folder(run: str | Path, to: str, precision: str = "fp32") -> Path:
    """Return where an export of a run lies: `<run>/exports/<format>-<precision>`."""
    return Path(run) / "exports" / f"{to}-{precision}"


def export_model(
    run: str | Path,
    to: str,
    *,
    precision: str = "fp32",
    calibration: Sequence[Path | Case] = (),
    data: ScoreData | None = None,
    max_loss: float | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportInfo:
    """Export a run with its pre- and post-processing, checked against PyTorch.

    Args:
        run: folder of a finished run.
        to: "onnx", "openvino", "torchscript" or "torch-export".
        precision: "fp32", "bf16" (openvino) or "int8" (openvino and onnx).
        calibration: pictures that int8 is calibrated with, at most `CALIBRATED` of them and none of `data`;
            the first of them also serve the check.
        data: cases with masks on which the change of the Dice score is measured.
        max_loss: how much of the mean Dice on `data` the file may lose; `score_change.LIMITS` by default.
        out: folder to write; `export_folder` by default.
        overwrite: replace an earlier export there.
        progress: told what is being done.

    Returns:
        What `export.json` says.

    Raises:
        InputError: the run is not a finished one, a name is unknown or does not go with the others, the
            extra is not installed, a picture cannot be read, the folder exists, the graph differs from
            PyTorch by more than the tolerance, or it loses more than `max_loss`; nothing is written then.
    """
    choose("export format", to, dict.fromkeys(record.FORMATS))
    choose("precision", precision, dict.fromkeys(record.PRECISIONS))
    _check_combination(to, precision, calibration)
    _check_loss(max_loss, data)
    say = progress or _silent
    run = Path(run)
    folder = out or export_folder(run, to, precision)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists; choose another --out or give --overwrite.")
    if folder.exists() and not record.is_exported(folder) and (folder.is_file() or any(folder.iterdir())):
        raise InputError(f"{folder} is not an exported folder, so it is not replaced; choose another --out.")
    model, info = load_model(run)
    predictor = Predictor(model, info, device="cpu")
    given = [predictor.open(picture).pixels for picture in _unmeasured(calibration, data)]
    with _whole_folder(folder) as temporary:
        say("exporting the network")
        made = _write(predictor, to, precision, temporary, given, say)
        shutil.copyfile(run / INFO, temporary / INFO)
        say("comparing with PyTorch")
        batches = [*parity.builtin_pictures(info.size), *(p[None] for p in given[:CHECKED])]
        found = parity.compare(
            predictor,
            made.run,
            batches,
            pictures="built-in and given" if given else "built-in",
            tolerance=parity.TOLERANCE if precision == "fp32" else None,
        )
        parity.accept(found, f"{to}-{precision}")
        export = ExportInfo(
            format=cast(Any, to),
            precision=cast(Any, precision),
            files={file.name: sha256_of(file) for file in sorted(temporary.iterdir())},
            opset=made.opset,
            outputs=output_names(info),
            versions=_versions(),
            parity=found,
            calibration=made.calibration,
            notes=made.notes,
        )
        record.write_record(temporary, export)
        if to in record.BACKENDS:
            network = running.network_alone(temporary, export, info)
            parity.check_network(network, made.run, info.size, export.name, exact=precision == "fp32")
        if data is not None:
            say("measuring the change of the score")
            change = _score_change(predictor, temporary, data, precision, max_loss)
            export = export.model_copy(update={"score_change": change})
            record.write_record(temporary, export)
    return export


def _check_combination(to: str, precision: str, calibration: Sequence[Path | Case]) -> None:
    able = {"fp32": record.FORMATS, "bf16": ("openvino",), "int8": record.BACKENDS}[precision]
    if to not in able:
        raise InputError(f"{precision} is not available for {to}; choose {' or '.join(able)}.")
    if precision == "int8" and not calibration:
        raise InputError("int8 needs pictures to calibrate with; give a folder of training images.")


def _unmeasured(calibration: Sequence[Path | Case], data: ScoreData | None) -> list[Path | Case]:
    """Leave out the pictures that the score is measured on, which would flatter it; thin out the rest."""
    measured = {case.image.resolve() for case in data.cases} if data is not None else set()
    files = [(picture.image if isinstance(picture, Case) else picture) for picture in calibration]
    left = [
        picture for picture, file in zip(calibration, files, strict=True) if file.resolve() not in measured
    ]
    if calibration and not left:
        raise InputError(
            "All pictures to calibrate with are also those that the score is measured on; give others."
        )
    return [left[i] for i in np.unique(np.linspace(0, len(left) - 1, CALIBRATED).astype(int))] if left else []


def _check_loss(max_loss: float | None, data: ScoreData | None) -> None:
    if max_loss is None:
        return
    if not 0 <= max_loss <= 1:
        raise InputError(
            f"The loss let pass is a difference of Dice scores, from 0 to 1; this is {max_loss:g}."
        )
    if data is None:
        raise InputError("A largest loss needs a data set on which it is measured; give --data.")


def _write(
    predictor: Predictor, to: str, precision: str, folder: Path, given: list[NDArray[np.uint8]], say: Progress
) -> _Made:
    """Write the model's file into `folder`."""
    model, info = predictor.model, predictor.info
    if to == "torchscript":
        run = torch_formats.write_torchscript(Whole(model, info), folder / torch_formats.TORCHSCRIPT_FILE)
        return _Made(run)
    if to == "torch-export":
        run = torch_formats.write_torch_export(Whole(model, info), folder / torch_formats.TORCH_EXPORT_FILE)
        return _Made(run)
    exported = onnx_format.onnx_model(model, info)
    calibration = None
    if to == "onnx":
        if precision == "int8":
            say("calibrating")
            exported, method = int8.quantise_onnx(exported, sized_pictures(given, info.size))
            calibration = _calibration(given, info, method)
        require("onnx", "export").save(exported, folder / running.ONNX_FILE)
        whole = running.onnx_session((folder / running.ONNX_FILE).read_bytes(), INPUT, output_names(info))
        return _Made(whole, onnx_format.OPSET, calibration)
    converted = openvino_format.openvino_model(exported)
    if precision == "int8":
        say("calibrating")
        converted, method = int8.quantise_openvino(converted, sized_pictures(given, info.size))
        calibration = _calibration(given, info, method)
    openvino_format.save_openvino(converted, folder / running.OPENVINO_FILE)
    read = silent.openvino().Core().read_model(folder / running.OPENVINO_FILE)
    whole = running.openvino_session(read, output_names(info), precision)
    missing = precision == "bf16" and not running.has_bf16()
    notes = (
        ("Exported where the processor has no bf16: all figures were measured in fp32.",) if missing else ()
    )
    return _Made(whole, onnx_format.OPSET, calibration, notes)


def _score_change(
    predictor: Predictor, folder: Path, data: ScoreData, precision: str, max_loss: float | None
) -> ScoreChange:
    from delineate.inference.backends.exported import open_exported
    from delineate.inference.export import score_change

    after = Predictor(open_exported(folder))
    limit = score_change.LIMITS[precision] if max_loss is None else max_loss
    return score_change.measure(predictor, after, data, limit)


def sized_pictures(pictures: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Resize pictures (H, W, 3) as training did: uint8 (1, *size, 3) each, what the graph takes."""
    return [resize_image(picture, size)[None] for picture in pictures]


def _calibration(given: Sequence[NDArray[np.uint8]], info: ModelInfo, method: str) -> Calibration:
    digest = hashlib.sha256()
    for picture in sized_pictures(given, info.size):
        digest.update(picture.tobytes())
    return Calibration(pictures=len(given), sha256=digest.hexdigest(), method=method)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _silent(_: str) -> None:
    return


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, moved to its place only when the block succeeds.

    Raises:
        InputError: the place cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}; choose another --out.") from error
    try:
        new = work / "new"
        new.mkdir()
        yield new
        for file in new.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if folder.exists():
            os.replace(folder, work / "old")
        os.replace(new, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
