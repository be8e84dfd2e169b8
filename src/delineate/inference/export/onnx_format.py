"""The graph as an ONNX model."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from delineate.checks import InputError, require
from delineate.config import label_channels, mask_channels
from delineate.inference.export.graph import (
    INPUT,
    SIZED,
    Deciding,
    Network,
    Resizing,
    export_program,
    logit_names,
    output_names,
)
from delineate.models.checkpoint import ModelInfo

OPSET = 20
PARTS = ("resize", "network", "decide")
"""First parts of the names of all nodes and tensors, part by part."""


def onnx_model(model: nn.Module, info: ModelInfo) -> Any:
    """Export a network with its pre- and post-processing.

    Args:
        model: the network, on the CPU.
        info: what its `model.json` says.

    Returns:
        An `onnx.ModelProto`: input `image`, outputs as `output_names`; the tensor between pre-processing and
        network is named `sized`.

    Raises:
        InputError: the extra is not installed, or the network has an operation that ONNX lacks.
    """
    names, scores = output_names(info), logit_names(info)
    channels = mask_channels(info.classes) if info.classes else 0
    columns = label_channels(info.labels) if info.labels else 0
    parts = [
        _parsed(_resizing(info.size)),
        network_model(model, info),
        _parsed(_deciding(info.size, channels, columns, info.threshold, names, scores)),
    ]
    return merge(parts, names, info)


@lru_cache(maxsize=8)
def _resizing(size: tuple[int, int]) -> bytes:
    """The first part, serialised; it depends on the size alone, and tracing it takes seconds."""
    part = _part(Resizing(size), (_image(size),), ("bhw",), (INPUT,), (SIZED,))
    return bytes(part.SerializeToString())


@lru_cache(maxsize=8)
def _deciding(
    size: tuple[int, int],
    channels: int,
    columns: int,
    threshold: float,
    names: tuple[str, ...],
    scores: tuple[str, ...],
) -> bytes:
    """The last part, serialised; it does not depend on the network's weights."""
    mask = (torch.zeros(2, channels, *size),) if channels else ()
    label = (torch.zeros(2, columns),) if columns else ()
    logits = (*mask, *label)
    module = Deciding(threshold, segments=bool(mask), classifies=bool(label))
    decided = tuple(name for name in names if name not in scores)
    inputs = (_image(size), *logits)
    part = _part(module, inputs, ("bhw", *["b"] * len(logits)), (INPUT, *scores), decided)
    return bytes(part.SerializeToString())


def _parsed(content: bytes) -> Any:
    import onnx

    return onnx.load_from_string(content)


def _image(size: tuple[int, int]) -> Tensor:
    return torch.zeros(2, size[0] + 3, size[1] + 5, 3, dtype=torch.uint8)


def cut_onnx(model: Any, start: str, ends: tuple[str, ...]) -> bytes:
    """Return the part of a model from the tensor named `start` to the outputs named `ends`, serialised.

    Raises:
        InputError: the model has no such tensors.
    """
    from onnx.utils import Extractor

    try:
        part = Extractor(model).extract_model([start], list(ends))
    except ValueError as error:
        raise InputError(f"The exported model has no tensor {start!r}; export the run again.") from error
    return bytes(part.SerializeToString())


def network_model(model: nn.Module, info: ModelInfo) -> Any:
    """Export the network alone, from `sized` uint8 (B, 3, h, w) to the logits; else as `onnx_model`."""
    sized = torch.zeros(2, 3, *info.size, dtype=torch.uint8)
    return _part(Network(model, info), (sized,), ("b",), (SIZED,), logit_names(info))


def _part(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    dynamic: tuple[str, ...],
    input_names: tuple[str, ...],
    names: tuple[str, ...],
) -> Any:
    require("onnx", "export")
    require("onnxscript", "export")
    program = export_program(module, inputs, dynamic)
    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
                external_data=False,
                input_names=list(input_names),
                output_names=list(names),
            )
    except Exception as error:  # the exporter raises many kinds, none of them documented
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"This model cannot be exported to ONNX: {reason}") from error
    if exported is None:
        raise InputError("This model cannot be exported to ONNX: the exporter gave nothing.")
    return exported.model_proto


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters print for their developers from the user."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def merge(parts: list[Any], outputs: tuple[str, ...], info: ModelInfo) -> Any:
    """Join graphs at the names they share: inputs and outputs keep theirs, all else gets its own.

    Args:
        parts: `onnx.ModelProto`s; what a part takes is `image` or the output of an earlier one.
        outputs: names of the outputs of the whole.
        info: described in the model's metadata.

    Returns:
        An `onnx.ModelProto`.
    """
    from onnx import TensorProto, checker, helper

    nodes: list[Any] = []
    weights: list[Any] = []
    values: dict[str, Any] = {}
    for number, part in enumerate(parts):
        if part.functions:
            raise InputError("This model cannot be exported to ONNX: its graph calls functions of its own.")
        graph = part.graph
        shared = {value.name for value in (*graph.input, *graph.output)}
        values |= {value.name: value for value in (*graph.input, *graph.output)}
        for node in graph.node:
            _rename(node, shared, f"{PARTS[number]}/")
        for weight in graph.initializer:
            weight.name = _renamed(weight.name, shared, f"{PARTS[number]}/")
        nodes += graph.node
        weights += graph.initializer
    image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", "height", "width", 3])
    graph = helper.make_graph(
        nodes,
        "delineate",
        [image],
        [_output(values[name]) for name in outputs],
        weights,
        value_info=[values[name] for name in values if name != INPUT and name not in outputs],
    )
    whole = helper.make_model(
        graph,
        producer_name="delineate",
        producer_version=info.delineate,
        opset_imports=list(parts[0].opset_import),
        ir_version=min(part.ir_version for part in parts),
    )
    helper.set_model_props(whole, _properties(info))
    checker.check_model(whole, full_check=False)
    return whole


def _rename(node: Any, shared: set[str], prefix: str) -> None:
    node.name = prefix + node.name
    node.metadata_props.clear()  # where in the source code a node comes from, paths of this machine included
    node.doc_string = ""
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            names[i] = _renamed(name, shared, prefix)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, shared, prefix)


def _renamed(name: str, shared: set[str], prefix: str) -> str:
    return name if not name or name in shared else prefix + name


def _output(value: Any) -> Any:
    """State the sizes of an output by the names of the input's."""
    from onnx import helper

    sizes: list[Any] = [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
    sizes[0] = "batch"
    if value.name in ("mask", "probability"):
        sizes[-2:] = ["height", "width"]
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, sizes)


def _properties(info: ModelInfo) -> dict[str, str]:
    return {
        "classes": ",".join(info.classes),
        "labels": ",".join(info.labels),
        "threshold": str(info.threshold),
        "recipe": info.recipe,
        "weights_sha256": info.weights_sha256,
    }
