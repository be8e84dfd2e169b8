"""Does every system learn? Training Dice on 16 real images, from random weights, at 128x128.

python benchmarks/overfit.py DATA [--systems chnet m2snet ...] [--steps 150] [--out overfit.json]

DATA is a plain folder with masks (and labels, of which the first 16 cases need two kinds). Each system has
its paper's recipe, shrunk: its losses, its optimiser, its default encoder; 128x128, all 16 images in every
step, no augmentation, a constant rate, no weight decay, no pre-trained weights (LossNet then compares with a
random VGG-16). Stops at 0.95, measured on the predictions of the training step itself. The weights that never
had a gradient are listed.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from delineate.data import Batch, CaseDataModule, index
from delineate.layers.normalise import Normalise
from delineate.models.checkpoint import build_model
from delineate.recipe_io import load_recipe
from delineate.record import describe_environment
from delineate.training.objective import Objective
from delineate.training.optimisers import create_optimiser, parameter_groups

RECIPES = {
    "chnet": "chnet.polyp.paper",
    "msnet": "msnet.polyp.paper",
    "m2snet": "m2snet.polyp.paper",
    "ulffn": "ulffn.isic2017.paper",
    "clnet": "clnet.isic2017-melanoma.paper",
    "fcp-net": "fcp-net.isic2017.paper",
}
TARGET = 0.95
LABELS = "task.labels={rest: [nevus, seborrheic_keratosis], melanoma: [melanoma]}"


def main() -> None:
    """Fit each system that is named and print one line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--systems", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = {}
    for system in arguments.systems:
        results[system] = fit(system, arguments.data, arguments.steps)
        print(system, json.dumps(results[system]), flush=True)
        if arguments.out:
            content = {"environment": describe_environment("cpu").model_dump(), "results": results}
            arguments.out.write_text(json.dumps(content, indent=2) + "\n")


def fit(system: str, root: Path, steps: int) -> dict[str, object]:
    """Overfit one system; returns what was reached."""
    name = RECIPES[system]
    recipe = load_recipe(name)
    changes = ["model.pretrained=false", "data.size=[128, 128]", "optimiser.weight_decay=0"]
    changes += [
        f"loss.mask.{i}.options.pretrained=false"
        for i, term in enumerate(recipe.loss.mask)
        if term.name == "lossnet"
    ]
    if recipe.task.labels:
        changes.append(LABELS)
    recipe = load_recipe(name, changes)
    batch = batch_of(root, recipe.task.labels)

    torch.manual_seed(0)
    model = build_model(recipe).train()
    optimiser = create_optimiser(
        parameter_groups(model, model.encoder_parameters(), recipe.optimiser), recipe.optimiser
    )
    objective = Objective(recipe)
    batch = batch._replace(image=Normalise.named(recipe.data.normalisation)(batch.image))
    start, dice, step = time.monotonic(), 0.0, 0
    touched: set[str] = set()
    for step in range(1, steps + 1):  # noqa: B007 - the count is reported
        prediction = model(batch.image)
        found, wanted = prediction.mask.detach() > 0, batch.mask[:, None] > 0
        both = (found & wanted).sum((1, 2, 3))
        dice = float((2 * both / (found.sum((1, 2, 3)) + wanted.sum((1, 2, 3))).clamp(min=1)).mean())
        if dice >= TARGET and step > 1:
            break
        optimiser.zero_grad()
        objective(prediction, batch).total.backward()
        touched |= {key for key, weight in model.named_parameters() if weight.grad is not None}
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return {
        "recipe": name,
        "dice": round(dice, 4),
        "steps": step - 1,
        "reached": dice >= TARGET,
        "weights without a gradient": [key for key, _ in model.named_parameters() if key not in touched],
        "seconds": round(time.monotonic() - start, 1),
    }


def batch_of(root: Path, labels: dict[str, tuple[str, ...]]) -> Batch:
    """Load 16 cases with a mask, of both labels where labels count, as one batch of 128x128."""
    cases = [case for case in index(root) if case.mask is not None]
    if labels:
        kinds = [[c for c in cases if c.label in names] for names in labels.values()]
        cases = [case for kind in kinds for case in kind[: 16 // len(kinds)]]
    cases = [replace(case, split="test") for case in cases[:16]]  # the split that is never augmented
    data = CaseDataModule(
        cases, classes=("lesion",), labels=labels, ignore_labels=(), size=(128, 128), batch_size=16, workers=0
    )
    data.fill_cache(None)
    return next(iter(data.test_dataloader()))


if __name__ == "__main__":
    main()
