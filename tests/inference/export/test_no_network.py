"""Exporting tells nobody: the libraries' usage statistics stay off."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import socket, sys, time
def refuse(*args, **kwargs):
    with open(sys.argv[1], "a") as log:  # a file, since statistics are sent by processes of their own
        log.write(repr(args) + chr(10))
    raise OSError("no network")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
import numpy as np, torch
from delineate.inference.export import openvino_format, silent
from delineate.models import create_model
import onnx
from onnx import TensorProto, helper
weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 1, 1], np.ones(6, np.float32))
node = helper.make_node("Conv", ["x", "w"], ["y"])
graph = helper.make_graph(
    [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8, 8])], [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
found = openvino_format.openvino_model(model)
nncf = silent.nncf()
nncf.quantize(found, nncf.Dataset([np.zeros((1, 3, 8, 8), np.float32)]), subset_size=1)
time.sleep(3)
assert "openvino_telemetry" not in sys.modules
"""


@pytest.mark.slow
def test_nothing_is_sent(tmp_path):
    pytest.importorskip("nncf", reason="needs the extra export")
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    environment["HOME"] = str(tmp_path)  # where a consent would be kept
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "asked"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()
