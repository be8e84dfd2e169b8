"""Exported networks, run by ONNX Runtime or OpenVINO on the CPU."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from delineate.inference.export.record import ExportInfo, read_record
from delineate.inference.export.running import Run, has_bf16, network_alone, whole_graph
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction


class ExportedBackend:
    """A network in an exported file; several threads may call it, one at a time runs.

    Args:
        run: runs the network alone, from uint8 (B, 3, h, w) to its logits by name.
        export: what `export.json` says.
        info: what `model.json` says.
        notes: what differs here from what the name promises.

    Attributes:
        name: format and precision, for example "openvino-int8"; where bf16 is asked of a processor that
            lacks it, "openvino-bf16-as-fp32".
        notes: see above, one sentence each.
    """

    device_name = "cpu"

    def __init__(self, run: Run, export: ExportInfo, info: ModelInfo, notes: Sequence[str] = ()) -> None:
        self._run = run
        self._one = threading.Lock()
        self.export = export
        self.info = info
        self.name = f"{export.name}-as-fp32" if notes else export.name
        self.notes = tuple(notes)

    def forward(self, images: NDArray[np.uint8]) -> Prediction:
        """Run the network; see `Backend.forward`."""
        with self._one:
            found = self._run(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        logits = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in found.items()}
        return Prediction(mask=logits.get("mask_logits"), label=logits.get("label_logits"))


def open_exported(folder: str | Path, *, threads: int | None = None) -> ExportedBackend:
    """Open an exported folder as a backend. Nothing in it is unpickled or run as code.

    Args:
        folder: has `export.json`; the hashes of its files are compared.
        threads: processor cores to use; by default what the runtime chooses.

    Raises:
        InputError: the folder is not an exported one or was changed, the runtime is not installed, or
            delineate does not run the format.
    """
    folder = Path(folder)
    export, info = read_record(folder)
    run = network_alone(folder, export, info, threads)
    return ExportedBackend(run, export, info, _notes(export))


def open_whole(folder: str | Path, *, threads: int | None = None) -> Run:
    """Open the whole graph of an exported folder: uint8 (B, H, W, 3) of any size in, all outputs out.

    Arguments and errors as in `open_exported`.
    """
    folder = Path(folder)
    export, _ = read_record(folder)
    return whole_graph(folder, export, threads)


def _notes(export: ExportInfo) -> tuple[str, ...]:
    if export.precision == "bf16" and not has_bf16():
        return ("This processor has no bf16, so the network runs in fp32.",)
    return ()
