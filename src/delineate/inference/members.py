"""Open what a predictor is made of: runs, exported files, and several of them that belong together."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from delineate.checks import InputError
from delineate.inference.backends import Backend, TorchBackend
from delineate.models.checkpoint import ModelInfo, load_model

if TYPE_CHECKING:  # the runtimes are optional
    from delineate.inference.backends.exported import ExportedBackend

EXPORTS, EXPORT_INFO = "exports", "export.json"
_STUDY = "plan.json"


def open_member(folder: Path, device: str, backend: str = "torch", precision: str = "fp32") -> Backend:
    """Open a run, an exported folder, or the export of a run.

    Args:
        folder: a run, or a folder with `export.json`.
        device: as for `Predictor.load`.
        backend: "torch", or the format of the export.
        precision: "fp32", or that of the export.

    Raises:
        InputError: as `Predictor.load`.
    """
    if (folder / _STUDY).is_file():
        raise InputError(f"{folder} is a study, not a run; name one run or several of {folder / 'runs'}.")
    asked = f"{backend}-{precision}"
    if (folder / EXPORT_INFO).is_file():
        member = _open_exported(folder, device)
        held = member.export.name  # `member.name` says as what it runs here
        if asked not in ("torch-fp32", held):
            raise InputError(f"{folder} holds {held}, not {asked}; leave the backend out.")
        return member
    if asked == "torch-fp32":
        return TorchBackend(*load_model(folder), device=device)
    if backend == "torch":
        raise InputError(
            f"PyTorch predicts in fp32, not {precision}; choose the backend onnx or openvino for {precision}."
        )
    exported = folder / EXPORTS / asked
    if not (exported / EXPORT_INFO).is_file():
        wish = "" if precision == "fp32" else f" --precision {precision}"
        raise InputError(
            f"{folder} has no {asked} export; make it with: delineate export {folder} --to {backend}{wish}"
        )
    return _open_exported(exported, device)


def check_alike(infos: Sequence[ModelInfo]) -> None:
    """See to it that the members of an ensemble mean the same by what they say.

    Raises:
        InputError: they differ in classes, labels, threshold or window.
    """
    first = infos[0]
    for other in infos[1:]:
        for name in ("classes", "labels", "threshold", "window"):
            one, two = getattr(first, name), getattr(other, name)
            if one != two:
                raise InputError(
                    f"Members of an ensemble must agree on {name}, but {first.recipe} has {_shown(one)} and "
                    f"{other.recipe} has {_shown(two)}; leave one of them out."
                )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _open_exported(folder: Path, device: str) -> "ExportedBackend":
    from delineate.inference.backends.exported import open_exported

    if device not in ("auto", "cpu"):
        raise InputError(f"An exported file runs on the CPU, not on {device!r}; choose auto or cpu.")
    return open_exported(folder)
