"""A run and pictures for tests of prediction jobs, made in a moment: the network was never trained."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from delineate.models.checkpoint import build_model, save_model


def make_run(folder, recipe):
    """Write model.safetensors and model.json of a network with random weights."""
    torch.manual_seed(3)
    model = build_model(recipe).eval()
    pictures = torch.randn(4, 3, *recipe.data.size)
    with torch.no_grad():  # about half of the pixels above the threshold
        logits = model(pictures).mask
        heads = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.out_channels == 1]
        heads[-1].bias -= logits.median()
        assert 0.2 < (model(pictures).mask > 0).float().mean() < 0.8
    save_model(folder, model, recipe)
    return folder


def make_pictures(folder, count, size=(24, 20)):
    """Write noisy discs as PNG and JPEG."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 200, (*size, 3), dtype=np.uint8)
        pixels[4 + number % 7 : 14, 3:15] += 55
        Image.fromarray(pixels).save(folder / f"p{number:02d}.{'jpg' if number % 3 == 1 else 'png'}")
    return folder


def contents(out: Path) -> dict[str, str]:
    """Relative path -> hash of everything but the job's own notes."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".job" not in path.parts
    }
