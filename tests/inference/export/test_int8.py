import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from delineate.checks import InputError
from delineate.inference.backends.exported import open_exported
from delineate.inference.export import export_model, silent
from delineate.inference.export.int8 import Node, float_nodes, quantise_openvino
from delineate.inference.export.onnx_format import onnx_model
from delineate.inference.export.openvino_format import openvino_model, save_openvino
from delineate.inference.export.running import ONNX_FILE, OPENVINO_FILE, openvino_session
from delineate.inference.predictor import Predictor
from delineate.models import create_model
from delineate.models.checkpoint import ModelInfo

pytest.importorskip("nncf", reason="the extra `export` is not installed")


def test_float_is_what_is_outside_the_network_and_its_last_layers():
    graph = {
        "size": Node("MatMul", ()),
        "sized": Node("Cast", ("size",)),
        "first": Node("Conv", ("sized",)),
        "second": Node("Conv", ("first",)),
        "last a": Node("Conv", ("second",)),
        "last b": Node("GroupConvolution", ("first",)),
        "logits": Node("Add", ("last a", "last b")),
        "label": Node("Gemm", ("second",)),
        "decide": Node("Sigmoid", ("logits", "size")),
    }
    kept = float_nodes(graph, "sized", ["logits", "label"])
    assert kept == ["decide", "label", "last a", "last b", "size", "sized"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = []
    for i in range(4):
        small = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(small).resize((60, 41), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
    return paths


@pytest.fixture(scope="module")
def small(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    return runs.write(
        folder,
        "model.options={widths: [4, 6], depth: 2}",
        "task.labels={}",
        "loss.label=[]",
        "training.monitor=dice",
    )


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_quantised_file_is_close_to_the_run_and_keeps_its_form(small, pictures, to, tmp_path):
    found = export_model(small, to, precision="int8", calibration=pictures, out=tmp_path / "int8")
    assert found.calibration.pictures == 4
    assert found.parity.tolerance is None
    assert json.loads((tmp_path / "int8" / "export.json").read_text())["precision"] == "int8"
    backend = open_exported(tmp_path / "int8")
    assert backend.name == f"{to}-int8"
    for path in pictures:
        expected, answer = Predictor.load(small)(path), Predictor(backend)(path)
        difference = np.abs(expected.probability - answer.probability)
        assert 0 < difference.mean() < 0.03  # 0 would mean that nothing was quantised
    kinds = _kinds(tmp_path / "int8", to)
    convolutions = kinds["Conv"] + kinds["Convolution"]
    # 2 + 1 blocks of two convolutions and an enlarging one have 8-bit weights, the head has not.
    assert convolutions == 7
    assert kinds["weights"] == 7


@pytest.mark.slow
def test_weights_made_of_other_weights_are_quantised_too(pictures, tmp_path):
    torch.manual_seed(0)
    model = create_model("chnet", encoder="resnet10t").eval()
    info = ModelInfo(
        model="chnet",
        encoder="resnet10t",
        options={},
        classes=("lesion",),
        labels=(),
        size=(32, 32),
        normalisation="imagenet",
        threshold=0.5,
        recipe="",
        recipe_sha256="",
        weights_sha256="",
        delineate="",
    )
    converted = openvino_model(onnx_model(model, info))
    sized = [np.asarray(Image.open(path).resize((32, 32)))[None] for path in pictures]
    expected = openvino_session(converted.clone(), ("probability",), "fp32", 1)(sized[0])["probability"]
    quantised, how = quantise_openvino(converted, sized)
    assert "full bias correction" in how
    save_openvino(quantised, tmp_path / "model.xml")
    # OpenVINO refuses to open a file with 8-bit weights that are not constants.
    read = silent.openvino().Core().read_model(tmp_path / "model.xml")
    found = openvino_session(read, ("probability",), "int8", 1)(sized[0])["probability"]
    assert 0 < np.abs(found - expected).mean() < 0.02


def _kinds(folder, to):
    if to == "onnx":
        import onnx

        model = onnx.load(folder / ONNX_FILE)
        kinds = Counter(node.op_type for node in model.graph.node)
        stored = {
            t.name
            for t in model.graph.initializer
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
        }
        kinds["weights"] = len(stored)
        return kinds
    openvino = silent.openvino()

    model = openvino.Core().read_model(folder / OPENVINO_FILE)
    kinds = Counter(op.get_type_name() for op in model.get_ops())
    kinds["weights"] = sum(
        op.get_type_name() == "Constant" and op.get_element_type() == openvino.Type.i8 and len(op.shape) == 4
        for op in model.get_ops()
    )
    return kinds


def test_calibration_needs_pictures(runs, tmp_path):
    with pytest.raises(InputError, match="int8 needs pictures to calibrate with"):
        export_model(runs.one, "onnx", precision="int8", out=tmp_path / "int8")
    with pytest.raises(InputError, match="int8 needs pictures to calibrate with"):
        quantise_openvino(None, [])
