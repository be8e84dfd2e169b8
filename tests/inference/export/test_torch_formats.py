"""TorchScript and torch.export files: dynamic, and equal to PyTorch."""

import json

import numpy as np
import pytest
import torch

from delineate.inference.export import export_model
from delineate.inference.predictor import Predictor


@pytest.mark.parametrize(
    ("to", "name", "load"),
    [
        ("torchscript", "model.pt", torch.jit.load),
        ("torch-export", "model.pt2", lambda path: torch.export.load(path).module()),
    ],
)
def test_other_sizes_than_the_traced_one(runs, tmp_path, to, name, load):
    info = export_model(runs.one, to, out=tmp_path / to)
    assert json.loads((tmp_path / to / "export.json").read_text())["format"] == to
    assert sorted(info.files) == ["model.json", name]
    assert info.opset is None
    pictures = np.random.default_rng(7).integers(0, 256, (3, 71, 90, 3), dtype=np.uint8)
    mask, probability, logits = load(str(tmp_path / to / name))(torch.from_numpy(pictures))
    assert tuple(logits.shape) == (3, 1, 32, 48)
    for i, expected in enumerate(Predictor.load(runs.one, device="cpu").predict(list(pictures))):
        np.testing.assert_allclose(probability[i], expected.probability, atol=1e-6)
        np.testing.assert_array_equal(mask[i], expected.mask)
