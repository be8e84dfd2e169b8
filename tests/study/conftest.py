"""A finished run that was never trained: synthetic discs, a predictor that reads its answers from a table."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from delineate.data.case import Case, MaskEncoding
from delineate.data.images import read_case_image
from delineate.files import write_json
from delineate.inference.predictor import Picture
from delineate.layers.conv import resize_to
from delineate.metrics import as_json, score_image, summarise
from delineate.models.prediction import Prediction
from delineate.recipe_io import dump_recipe, load_recipe
from delineate.record import EvaluationRecord, RunRecord, describe_environment, write_record


@dataclass
class Info:
    classes: tuple
    labels: tuple
    size: tuple = (32, 32)
    threshold: float = 0.5


@dataclass
class Answer:
    mask: np.ndarray | None
    probability: np.ndarray | None
    label: dict | None


class Net(nn.Module):
    """Enough of a model to explain."""

    def __init__(self, mask_channels, label_channels):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 6, 7, stride=4, padding=3)
        self.mask = nn.Conv2d(6, mask_channels, 1) if mask_channels else None
        self.label = nn.Linear(6, label_channels) if label_channels else None

    def activation_layers(self):
        return (self.features,)

    def forward(self, image):
        x = self.features(image).relu()
        return Prediction(
            mask=None if self.mask is None else resize_to(self.mask(x), image.shape[2:]),
            label=None if self.label is None else self.label(x.mean((2, 3))),
        )


class FakePredictor:
    """Knows the answer to each image by its bytes."""

    def __init__(self, info):
        self.info, self.answers = info, {}
        self.device = torch.device("cpu")
        classes, labels = len(info.classes), len(info.labels)
        self.model = Net(classes + (classes > 1), 1 if labels == 2 else labels).eval()

    def learn(self, image, answer):
        self.answers[image.tobytes()] = answer

    def prepare(self, image):
        small = np.asarray(Image.fromarray(image).resize(self.info.size[::-1]), dtype=np.float32) / 255
        return torch.from_numpy(small).permute(2, 0, 1)[None]

    def open(self, case):
        image = read_case_image(case)
        return Picture(image, image.shape[:2])

    def __call__(self, case):
        return self.answers[read_case_image(case).tobytes()]


@dataclass
class FakeRun:
    path: Path
    predictor: FakePredictor
    cases: list = field(default_factory=list)


def disc(size, centre, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def build_run(
    folder,
    *,
    count=5,
    classes=("lesion",),
    labels=("benign", "malignant"),
    empty_reference=1,
    empty="one",
    size=(48, 64),
    ids=None,
    missing_label=True,
    history=True,
    summary=None,
):
    """Write a run folder and its images; case 0 has an empty reference when `empty_reference` is 1."""
    generator = np.random.default_rng(1)
    predictor = FakePredictor(Info(tuple(classes), tuple(labels)))
    run = FakeRun(folder / "run", predictor)
    (folder / "data").mkdir(parents=True)
    rows = []
    values = tuple(range(1, len(classes) + 1)) if len(classes) > 1 else None
    for i in range(count):
        name = ids[i] if ids else f"case{i:03d}"
        image = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        reference = np.zeros(size, dtype=np.uint8)
        predicted = np.zeros(size, dtype=np.uint8)
        for c in range(len(classes)):
            centre, radius = (size[0] / 2, size[1] * (c + 1) / (len(classes) + 1)), 3 + i % 7
            if i >= empty_reference:
                reference[disc(size, centre, radius)] = c + 1
            predicted[disc(size, (centre[0] + i % 3, centre[1]), radius + i % 4 - 1)] = c + 1
        run.cases.append(
            Case(
                id=name,
                image=folder / "data" / f"{i}.png",
                mask=folder / "data" / f"{i}_mask.png" if classes else None,
                encoding=MaskEncoding(tuple(classes), values=values),
            )
        )
        Image.fromarray(image).save(run.cases[-1].image)
        row = {"split": "test", "image_id": name, "group": ""}
        answer = Answer(None, None, None)
        if classes:
            Image.fromarray(reference).save(run.cases[-1].mask)
            channels = [predicted == c for c in range(len(classes) + 1)]
            answer.mask = predicted
            answer.probability = (np.stack(channels) if len(classes) > 1 else channels[1]).astype(np.float32)
        if labels:
            target = -1 if missing_label and i == count - 1 and count > 1 else i % len(labels)
            found = generator.dirichlet([5.0 if k == max(target, 0) else 2.0 for k in range(len(labels))])
            answer.label = dict(zip(labels, found.tolist(), strict=True))
            row |= {"label": target} | {f"label_probability[{k}]": v for k, v in answer.label.items()}
        if classes:
            row |= score_image(reference, answer.probability, classes=classes, saliency=False, empty=empty)
        predictor.learn(image, answer)
        rows.append(row)

    run.path.mkdir()
    table = pd.DataFrame(rows)
    table.to_csv(run.path / "scores.csv", index=False)
    scores = as_json(summarise(table, resamples=50)) if summary is None else summary
    write_json(run.path / "summary.json", {"test": scores})
    if history:
        write_history(run.path / "history.csv", bool(classes), bool(labels))
    recipe = recipe_for(classes, labels)
    (run.path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    write_record(run.path / "record.json", record_for(recipe, count))
    return run


def recipe_for(classes, labels):
    recipe = load_recipe("demo")
    content = json.loads(recipe.model_dump_json())
    content["task"] |= {"classes": list(classes), "labels": {name: [name] for name in labels}}
    content["loss"]["mask"] = content["loss"]["mask"] if classes else []
    content["loss"]["label"] = content["loss"]["label"] if labels else []
    content["training"]["monitor"] = "loss"
    return type(recipe).model_validate_json(json.dumps(content))


def record_for(recipe, count):
    environment = describe_environment("cpu")
    return RunRecord(
        recipe=recipe.name,
        recipe_sha256=recipe.sha256(),
        data_root="/data/discs",
        dataset="folder",
        data_fingerprint="f" * 64,
        cases={"train": 70, "val": 15, "test": count},
        seed=0,
        started="2026-01-01T10:00:00+00:00",
        finished="2026-01-01T10:03:20+00:00",
        wall_seconds=200.0,
        epochs=8,
        selected_epoch=6,
        resumed=1,
        gate={"error": 0, "warning": 2, "info": 1},
        gate_overridden=False,
        environment=environment,
        evaluations={
            "test": EvaluationRecord(
                finished="2026-01-01T10:04:00+00:00",
                wall_seconds=12.5,
                data_fingerprint="f" * 64,
                cases=count,
                weights_sha256="a" * 64,
                environment=environment,
            )
        },
    )


def write_history(path, masks, labels):
    epochs = np.arange(1, 9)
    table = {"epoch": epochs, "seconds": 25.0, "rate": 1e-3 * (1 - epochs / 9)}
    table |= {"train_loss": 2 / epochs, "val_loss": 2 / epochs + 0.1}
    table |= {"val_dice": 1 - 0.8 / epochs} if masks else {}
    table |= {"val_auc": 1 - 0.4 / epochs} if labels else {}
    pd.DataFrame(table).to_csv(path, index=False)


@pytest.fixture
def make_run(tmp_path):
    return lambda **options: build_run(tmp_path, **options)
