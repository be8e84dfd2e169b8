"""The graph as an OpenVINO model, made from the ONNX one."""

import io
from pathlib import Path
from typing import Any

from delineate.checks import InputError
from delineate.inference.export import silent
from delineate.inference.export.onnx_format import quiet


def openvino_model(onnx_model: Any) -> Any:
    """Convert an `onnx.ModelProto` to an `openvino.Model`; names of inputs, outputs and `sized` stay.

    Raises:
        InputError: the extra is not installed, or OpenVINO lacks an operation.
    """
    openvino = silent.openvino()
    try:
        with quiet():
            # Unlike `read_model` it folds constants, without which int8 weights stay unfolded.
            return openvino.convert_model(io.BytesIO(onnx_model.SerializeToString()))
    except RuntimeError as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"This model cannot be converted to OpenVINO: {reason}") from error


def save_openvino(model: Any, path: Path) -> None:
    """Write `model.xml` and, beside it, `model.bin`; weights keep their precision."""
    silent.openvino().save_model(model, path, compress_to_fp16=False)


def cut_openvino(model: Any, start: str, ends: tuple[str, ...]) -> Any:
    """Return a model of its own from the tensor named `start` to the outputs named `ends`.

    Args:
        model: an `openvino.Model`, which must not be used any more.
        start: name of a tensor inside it, which becomes the input.
        ends: names of outputs.

    Raises:
        InputError: the model has no such tensor.
    """
    openvino = silent.openvino()
    from openvino import opset13

    found = [o for op in model.get_ops() for o in op.outputs() if start in o.get_names()]
    results = [r for name in ends for r in model.get_results() if name in r.get_output_tensor(0).get_names()]
    if not found or len(results) != len(ends):
        raise InputError(f"The exported model has no tensor {start!r}; export the run again.")
    value = found[0]
    parameter = opset13.parameter(value.get_partial_shape(), value.get_element_type(), name=start)
    value.replace(parameter.output(0))
    # The conversion may read the number of pictures from the first input wherever it is needed.
    for other in model.inputs:
        other.replace(parameter.output(0))
    return openvino.Model(results, [parameter], "network")
