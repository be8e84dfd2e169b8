"""Networks that are formulas, for tests of what is done with their answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction


def info(**changes) -> ModelInfo:
    return ModelInfo(
        **{
            "model": "unet",
            "encoder": None,
            "options": {},
            "classes": ("lesion",),
            "labels": ("good", "bad"),
            "size": (16, 16),
            "normalisation": "unit",
            "threshold": 0.5,
            "recipe": "toy",
            "recipe_sha256": "",
            "weights_sha256": "0123456789abcdef",
            "delineate": "0",
        }
        | changes
    )


class Toy:
    """A backend that answers each pixel for itself, so that a flipped image gets a flipped answer.

    `channels` maps (B, h, w, 3) in [0, 1] to mask logits (B, C, h, w); `sees` holds what it was given.
    """

    name = "toy"
    device_name = "cpu"
    notes = ()

    def __init__(self, info, channels=None, label=None):
        self.info = info
        self.channels = channels or (lambda x: 8 * (x.mean(3, keepdims=True) - 0.5))
        self.label = label
        self.sees = []

    def forward(self, images):
        self.sees.append(images.copy())
        x = images.astype(np.float32) / 255
        mask = self.channels(x) if self.info.classes else None
        label = None
        if self.info.labels:
            # The brightest pixel, not the mean: no rounding depends on the order of the pixels.
            found = 4 * x.max((1, 2, 3)) - 2 if self.label is None else np.full(len(x), self.label)
            label = torch.from_numpy(found.astype(np.float32)[:, None])
        return Prediction(
            mask=None if mask is None else torch.from_numpy(np.ascontiguousarray(np.moveaxis(mask, 3, 1))),
            label=label,
        )


def constant(probability: float, **changes) -> Toy:
    """A backend that gives every pixel and the second label one probability."""
    logit = float(np.log(probability / (1 - probability)))
    return Toy(info(**changes), lambda x: np.full((*x.shape[:3], 1), logit, np.float32), label=logit)


def picture(height=23, width=31, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def toys():
    """What this file defines."""
    return SimpleNamespace(info=info, Toy=Toy, constant=constant, picture=picture)
