"""Run exported files with their own runtimes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.inference.export import silent
from delineate.inference.export.graph import INPUT, SIZED, logit_names
from delineate.inference.export.onnx_format import cut_onnx
from delineate.inference.export.openvino_format import cut_openvino
from delineate.inference.export.record import BACKENDS, ExportInfo
from delineate.models.checkpoint import ModelInfo

Run = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]
"""Pictures in, outputs by name out."""
ONNX_FILE, OPENVINO_FILE = "model.onnx", "model.xml"


def whole_graph(folder: Path, export: ExportInfo, threads: int | None = None) -> Run:
    """Open a whole graph: uint8 (B, H, W, 3) of any size in, all outputs out.

    Args:
        folder: holds the files; their hashes have been compared.
        export: what its `export.json` says.
        threads: processor cores to use; by default what the runtime chooses.

    Raises:
        InputError: the runtime is not installed, or delineate does not run the format.
    """
    if export.format == "onnx":
        return onnx_session((folder / ONNX_FILE).read_bytes(), INPUT, export.outputs, threads)
    if export.format == "openvino":
        model = silent.openvino().Core().read_model(folder / OPENVINO_FILE)
        return openvino_session(model, export.outputs, export.precision, threads)
    raise _not_ours(export)


def network_alone(folder: Path, export: ExportInfo, info: ModelInfo, threads: int | None = None) -> Run:
    """Open the network without pre- and post-processing: uint8 (B, 3, *info.size) in, logits out.

    Arguments and errors as in `whole_graph`; `info` is what `model.json` says.
    """
    names = logit_names(info)
    if export.format == "onnx":
        model = require("onnx", "export").load(folder / ONNX_FILE)
        return onnx_session(cut_onnx(model, SIZED, names), SIZED, names, threads)
    if export.format == "openvino":
        model = silent.openvino().Core().read_model(folder / OPENVINO_FILE)
        return openvino_session(cut_openvino(model, SIZED, names), names, export.precision, threads)
    raise _not_ours(export)


def _not_ours(export: ExportInfo) -> InputError:
    return InputError(
        f"delineate does not run {export.format} files, they are for other programs; "
        f"export the run to {' or '.join(BACKENDS)}."
    )


def onnx_session(model: bytes, start: str, names: Sequence[str], threads: int | None = None) -> Run:
    """Run a serialised ONNX model on the CPU.

    Args:
        model: its bytes.
        start: name of the input.
        names: names of the outputs wanted; what only others need is not computed.
        threads: as in `whole_graph`.

    Raises:
        InputError: ONNX Runtime is not installed or cannot run the model.
    """
    runtime = require("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions have no common base but this
        raise InputError(f"ONNX Runtime cannot open the model: {_first_line(error)}") from error
    once = runtime.RunOptions()
    once.only_execute_path_to_fetches = True

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(list(names), {start: images}, once), strict=True))

    return run


def openvino_session(model: Any, names: Sequence[str], precision: str, threads: int | None = None) -> Run:
    """Run an `openvino.Model` on the CPU.

    Args:
        model: the model.
        names: names of the outputs wanted.
        precision: "bf16" computes in bf16 where the processor has it (`has_bf16`), else in fp32.
        threads: as in `whole_graph`.

    Raises:
        InputError: OpenVINO is not installed or cannot run the model.
    """
    openvino = silent.openvino()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" and has_bf16() else "f32",
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = openvino.Core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise InputError(f"OpenVINO cannot open the model: {_first_line(error)}") from error
    outputs = [compiled.output(name) for name in names]

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        found = compiled([images])
        # The results live in the request's memory, which the next call writes over.
        return {name: found[output].copy() for name, output in zip(names, outputs, strict=True)}

    return run


def has_bf16() -> bool:
    """Say whether OpenVINO computes in bf16 on this processor.

    Raises:
        InputError: OpenVINO is not installed.
    """
    openvino = silent.openvino()
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
