"""The sizes that the papers print, on the full networks with their default encoders."""

import pytest
import torch

from delineate.inference.profile import count_macs
from delineate.models import create_model

FIGURES = [  # model, options, parameters in millions, tolerance, GMACs at 256 x 256 at most
    ("chnet", {}, 8.8, 0.01, 5.4),  # table 5
    ("msnet", {}, 27.7, 0.01, 9.0),  # M2SNet, table 6
    ("m2snet", {}, 27.7, 0.01, 9.3),  # tables 6 and 8
    ("m2snet", {"unit": "aspp"}, 29.2, 0.01, 13.8),  # table 8
    ("m2snet", {"unit": "dense_aspp"}, 29.6, 0.01, 17.5),
    ("unet", {}, 31.03, 0.01, None),  # FCP-Net, table VI
    ("unet+hlf", {}, 31.06, 0.01, None),
    ("unet+fpm", {}, 31.15, 0.01, None),
    ("deeplabv3plus", {}, 41.25, 0.01, None),
    ("deeplabv3plus+hlf", {}, 41.26, 0.01, None),
    ("deeplabv3plus+fpm", {}, 41.34, 0.01, None),
    ("fcp-net", {}, 46, 0.02, None),  # table XII
]


@pytest.mark.parametrize(
    ("name", "options", "millions", "tolerance", "gmacs"),
    FIGURES,
    ids=[" ".join([row[0], *row[1].values()]) for row in FIGURES],
)
def test_parameters_and_multiply_adds(name, options, millions, tolerance, gmacs):
    labels = int(name == "fcp-net" or name.endswith(("+hlf", "+fpm")))
    # Without memory or arithmetic: shapes alone decide both numbers.
    with torch.device("meta"):
        model = create_model(name, labels=labels, options=options)
    model.remove_training_branches()
    found = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert found == pytest.approx(millions, rel=tolerance)
    if gmacs is not None:
        assert count_macs(model, (256, 256)) / 1e9 <= gmacs
