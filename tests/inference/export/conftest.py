"""Small runs with random weights, exported once for all tests of this folder."""

from types import SimpleNamespace

import onnx
import pytest
import torch

from delineate.inference.export import export_model, onnx_format
from delineate.models.checkpoint import build_model, save_model
from delineate.recipe_io import load_recipe

SETTINGS = [
    "model.name=unet",
    "model.encoder=unet",
    "model.options={widths: [4, 6, 8], depth: 3}",
    "data.size=[32, 48]",
]


ONE = ("task.labels={}", "loss.label=[]", "training.monitor=dice")


def write_run(folder, *settings):
    """Write a run whose random network has something to say: masks with outlines, labels apart."""
    recipe = load_recipe("demo", [*SETTINGS, *settings])
    torch.manual_seed(3)
    model = build_model(recipe).eval()
    image = torch.randn(4, 3, *recipe.data.size)
    heads = {
        name: parameter
        for name, parameter in model.named_parameters()
        if "head.0" in name or name.startswith("head.")
    }
    with torch.no_grad():
        for name, parameter in heads.items():
            if name.endswith("weight"):
                parameter *= 2 / model(image).mask.std()
        for name, parameter in heads.items():
            if name.endswith("bias"):
                parameter -= model(image).mask.mean((0, 2, 3))
    folder.mkdir(parents=True)
    save_model(folder, model, recipe)
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """The function `write_run` and a run that segments one class."""
    folder = tmp_path_factory.mktemp("runs")
    return SimpleNamespace(write=write_run, one=write_run(folder / "one", *ONE))


@pytest.fixture(scope="session")
def exported(runs):
    """Format -> what `export_model` gave for the run, in its usual place."""
    first = {"onnx": export_model(runs.one, "onnx")}
    ready = onnx.load(runs.one / "exports" / "onnx-fp32" / "model.onnx")
    with pytest.MonkeyPatch.context() as patch:  # tracing takes seconds and gives the same again
        patch.setattr(onnx_format, "onnx_model", lambda *_: ready)
        return first | {"openvino": export_model(runs.one, "openvino")}
