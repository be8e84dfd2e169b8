"""The graph as a TorchScript or a torch.export file, for programs that run PyTorch without delineate.

delineate itself loads neither: both can carry code.
"""

from pathlib import Path
from typing import Any

import torch

from delineate.checks import InputError
from delineate.inference.export.graph import Whole, export_program
from delineate.inference.export.onnx_format import quiet
from delineate.inference.export.running import Run

TORCHSCRIPT_FILE, TORCH_EXPORT_FILE = "model.pt", "model.pt2"


def write_torchscript(whole: Whole, path: Path) -> Run:
    """Trace the graph and save it; return the saved file, opened again.

    Raises:
        InputError: it cannot be traced.
    """
    try:
        with quiet(), torch.no_grad():
            traced: Any = torch.jit.trace(whole.eval(), (_example(whole),), check_trace=False)
            traced.save(str(path))
            opened: Any = torch.jit.load(str(path))
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"This model cannot be traced by TorchScript: {_first_line(error)}") from error
    return _run(opened, whole.names)


def write_torch_export(whole: Whole, path: Path) -> Run:
    """Export the graph and save it; return the saved file, opened again.

    Raises:
        InputError: it cannot be exported.
    """
    program = export_program(whole, (_example(whole),), ("bhw",))
    with quiet():
        torch.export.save(program, path)
        opened = torch.export.load(path)
    return _run(opened.module(), whole.names)


def _example(whole: Whole) -> torch.Tensor:
    height, width = whole.resizing.size
    return torch.zeros(2, height + 3, width + 5, 3, dtype=torch.uint8)


def _run(module: Any, names: tuple[str, ...]) -> Run:
    @torch.inference_mode()
    def run(images: Any) -> dict[str, Any]:
        found = module(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(names, found, strict=True)}

    return run


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
