"""Every model of the table, exported to ONNX and OpenVINO and compared with PyTorch."""

import pytest
import torch

from delineate.inference.export.graph import INPUT, SIZED, logit_names, output_names
from delineate.inference.export.onnx_format import cut_onnx, onnx_model
from delineate.inference.export.openvino_format import cut_openvino, openvino_model
from delineate.inference.export.parity import TOLERANCE, accept, builtin_pictures, check_network, compare
from delineate.inference.export.running import onnx_session, openvino_session
from delineate.inference.predictor import Predictor
from delineate.models import MODELS, PLUGINS, create_model
from delineate.models.plugins import split_name

ENCODERS = {  # small ones; resnet10t for all others
    "smp:dpt": "vit_tiny_patch16_224",
    "smp:segformer": "mit_b0",
    "unet": "unet",
    "attention-unet": "unet",
    "ulffn": "ulffn",
}
OPTIONS = {
    "chnet": {"width": 8, "hidden": 12},
    "msnet": {"width": 8},
    "m2snet": {"width": 8},
    "ulffn": {"widths": [4, 8, 8, 16]},
    "clnet": {"widths": [8, 8, 12, 16, 16]},
    "fcp-net": {"width": 16},
    "unet": {"widths": [4, 8, 8, 12, 16]},
    "attention-unet": {"widths": [4, 8, 8, 12, 16]},
    "deeplabv3plus": {"width": 16},
}
PLUGGED = ["unet+dsmca+hlf", "smp:unet+fpm", "m2snet+hlf"]
FAST: tuple[str, ...] = ()
SIZE = (64, 96)


class Spread(torch.nn.Module):
    """A network with random weights whose logits are brought to mean 0 and deviation 2.

    Only then does a tolerance of probabilities say something, and masks have outlines.
    """

    def __init__(self, network, logits):
        super().__init__()
        self.network = network
        self.size_multiple, self.minimum_size = network.size_multiple, network.minimum_size
        self.mean, self.scale = float(logits.mean()), float(2 / logits.std())

    def forward(self, image):
        found = self.network(image)
        return found._replace(mask=(found.mask - self.mean) * self.scale)


@pytest.fixture(
    params=[
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in [*MODELS, *PLUGGED]
    ]
)
def predictor(request, toys):
    name = request.param
    base, plugins = split_name(name)
    able = PLUGINS[plugins[-1]].classifies if plugins else MODELS[base].classifies
    torch.manual_seed(0)
    network = create_model(
        name,
        classes=1,
        labels=3 if able else 0,
        encoder=ENCODERS.get(base, "resnet10t"),
        options=OPTIONS.get(base),
    )
    network.remove_training_branches()
    labels = ("a", "b", "c") if able else ()
    info = toys.info(model=name, size=SIZE, labels=labels, normalisation="imagenet")
    pictures = list(builtin_pictures(SIZE)[1])
    logits = Predictor(network, info, device="cpu").forward(pictures).mask
    return Predictor(Spread(network, logits), info, device="cpu")


def test_both_runtimes_say_what_pytorch_says(predictor):
    info = predictor.info
    names = output_names(info)
    exported = onnx_model(predictor.model, info)
    alone = cut_onnx(exported, SIZED, logit_names(info))
    runs = {
        "onnx": (
            onnx_session(exported.SerializeToString(), INPUT, names, 1),
            onnx_session(alone, SIZED, logit_names(info), 1),
        ),
        "openvino": (
            openvino_session(openvino_model(exported), names, "fp32", 1),
            openvino_session(
                cut_openvino(openvino_model(exported), SIZED, logit_names(info)), logit_names(info), "fp32", 1
            ),
        ),
    }
    for runtime, (run, network) in runs.items():
        found = compare(predictor, run, builtin_pictures(SIZE))
        accept(found, runtime)
        assert found.probability < TOLERANCE, runtime
        assert found.pixels_that_differ < 5, runtime
        assert (found.label_probability or 0) < TOLERANCE, runtime
        check_network(network, run, SIZE, runtime, exact=True)
    masks = [result.mask for result in predictor.predict(list(builtin_pictures(SIZE)[1]))]
    assert any(0 < mask.mean() < 1 for mask in masks), "the masks are empty or full, so they show nothing"
