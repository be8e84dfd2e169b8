"""Post-training quantisation to 8 bits with NNCF: the network's layers, not what is around them.

Resizing, normalisation, thresholds and the last layer before the logits stay in float32. The last layer costs
next to nothing, and its rounding would move every outline.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.inference.export import silent
from delineate.inference.export.graph import INPUT, LOGITS, SIZED
from delineate.inference.export.onnx_format import quiet

# Operations with weights, as ONNX and as OpenVINO call them.
_WEIGHTED = frozenset(
    ["Conv", "ConvTranspose", "Gemm", "MatMul", "Convolution", "GroupConvolution"]
    + ["ConvolutionBackpropData", "GroupConvolutionBackpropData"]
)
_NO_LIMIT = 2**40


class Node(NamedTuple):
    """An operation of a graph in either format."""

    kind: str
    """Its type."""
    inputs: tuple[str, ...]
    """Names of the operations that it reads."""


def quantise_openvino(model: Any, pictures: Sequence[NDArray[np.uint8]]) -> tuple[Any, str]:
    """Quantise a whole graph.

    Args:
        model: an `openvino.Model` as `openvino_model` makes it.
        pictures: uint8 (1, h, w, 3) at the network's size: training images, not those it will be judged by.

    Returns:
        The quantised `openvino.Model`, and how it was done, in words.

    Raises:
        InputError: NNCF is not installed or cannot quantise the model, or there is no picture.
    """
    _check(pictures)
    graph = {
        op.get_friendly_name(): Node(
            op.get_type_name(), tuple(value.get_node().get_friendly_name() for value in op.input_values())
        )
        for op in model.get_ops()
    }
    named = {
        name: op.get_friendly_name()
        for op in model.get_ops()
        for value in op.outputs()
        for name in value.get_names()
    }
    kept = float_nodes(graph, named[SIZED], [named[name] for name in LOGITS if name in named])
    return _quantise(model, pictures, kept, correct=True)


def quantise_onnx(model: Any, pictures: Sequence[NDArray[np.uint8]]) -> tuple[Any, str]:
    """Quantise a whole graph; `model` is an `onnx.ModelProto`, else as `quantise_openvino`."""
    _check(pictures)
    model = _folded(model)
    made_by = {name: node.name for node in model.graph.node for name in node.output}
    graph = {
        node.name: Node(_onnx_kind(node), tuple(made_by[name] for name in node.input if name in made_by))
        for node in model.graph.node
    }
    kept = float_nodes(graph, made_by[SIZED], [made_by[name] for name in LOGITS if name in made_by])
    # Not corrected: NNCF cuts the graph for it, which fails where two parts read the input.
    return _quantise(model, pictures, kept, correct=False)


def _check(pictures: Sequence[NDArray[np.uint8]]) -> None:
    if not pictures:
        raise InputError("int8 needs pictures to calibrate with; give a folder of training images.")


def _folded(model: Any) -> Any:
    """Compute what depends on weights alone, because NNCF takes only constants for weights."""
    require("onnxscript", "export")
    import onnx_ir
    from onnxscript import optimizer

    graph = onnx_ir.serde.deserialize_model(model)
    with quiet():
        optimizer.fold_constants(graph, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
        optimizer.remove_unused_nodes(graph)
    return onnx_ir.serde.serialize_model(graph)


def _onnx_kind(node: Any) -> str:
    grouped = node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
    return "GroupConvolution" if grouped else str(node.op_type)


def float_nodes(graph: Mapping[str, Node], sized: str, logits: Sequence[str]) -> list[str]:
    """Return the names of the operations that stay in float32.

    Args:
        graph: name -> operation.
        sized: the operation that gives the network's input.
        logits: the operations that give its outputs.

    Returns:
        All that is not between the two, and on every way back from the logits the first with weights.
    """
    before = _back(graph, [sized])
    network = set(_back(graph, logits)) - set(before)
    last = [name for name in _back(graph, logits, stop=_WEIGHTED) if graph[name].kind in _WEIGHTED]
    return sorted((set(graph) - network) | set(last))


def _back(graph: Mapping[str, Node], start: Iterable[str], stop: frozenset[str] = frozenset()) -> list[str]:
    """Return `start` and all that it depends on; what feeds an operation of a kind in `stop` is left out."""
    found: dict[str, None] = {}
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = None
        if graph[name].kind not in stop:
            waiting += graph[name].inputs
    return list(found)


def _quantise(
    model: Any, pictures: Sequence[NDArray[np.uint8]], kept: list[str], *, correct: bool
) -> tuple[Any, str]:
    nncf = silent.nncf()
    try:
        with quiet():
            quantised = nncf.quantize(
                model,
                nncf.Dataset([{INPUT: picture} for picture in pictures]),
                subset_size=len(pictures),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                fast_bias_correction=False,  # the fast kind costs more Dice than none at all
                advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=not correct),
                ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
            )
    except (RuntimeError, ValueError, nncf.ValidationError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"This model cannot be quantised to int8: NNCF says: {reason}") from error
    return quantised, (
        f"NNCF {nncf.__version__} post-training quantisation: weights per channel, activations per tensor "
        f"with ranges from the pictures, {'full' if correct else 'no'} bias correction; last layer "
        "before the logits in float32"
    )
