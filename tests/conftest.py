"""Small data sets and recipes that many tests share."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delineate.recipe_io import load_recipe

SMALL = [  # the demo recipe, small enough for a test
    "model.name=clnet",
    "model.encoder=test_resnet",
    "model.options={widths: [8, 8, 16, 16, 16]}",
    "data.size=[32, 32]",
    "data.workers=0",
    "training.epochs=3",
    "training.batch_size=4",
    "training.precision=32-true",
]


def write_folder(root: Path, count: int = 16, size: tuple[int, int] = (40, 48), seed: int = 0) -> Path:
    """Write a plain folder of discs: bright ones are "bad", dark ones "good"; split 10/3/3 by position."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    labels, splits = [], []
    for i in range(count):
        centre = rng.uniform(0.3, 0.7, 2) * size
        mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < rng.uniform(6, 12) ** 2
        label = ("good", "bad")[i % 2]
        image = rng.normal(90, 8, (*size, 3))
        image[mask] += 100 if label == "bad" else -60
        name = f"case{i:02d}"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{name}.png")
        labels.append((name, label))
        splits.append((name, "train" if i < count - 6 else "val" if i < count - 3 else "test"))
    write_table(root / "labels.csv", ("image_id", "label"), labels)
    write_table(root / "split.csv", ("image_id", "split"), splits)
    return root


def write_table(path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


@pytest.fixture(scope="session")
def small_settings():
    return [*SMALL, "task.labels={good: [good], bad: [bad]}"]


@pytest.fixture(scope="session")
def small_recipe(small_settings):
    return load_recipe("demo", small_settings)


@pytest.fixture(scope="session")
def make_folder():
    """The function `write_folder`."""
    return write_folder


@pytest.fixture
def disc_folder(tmp_path):
    """A fresh folder that a test may damage."""
    return write_folder(tmp_path / "data")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Keep the user's cache out of the tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DELINEATE_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, small_recipe):
    """A finished run of the small recipe: (run folder, data folder); read it, do not write to it."""
    from delineate.training.fit import train

    root = write_folder(tmp_path_factory.mktemp("trained") / "data")
    run = root.parent / "run"
    train(small_recipe, root, run)
    return run, root
