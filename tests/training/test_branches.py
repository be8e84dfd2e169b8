"""A run of a model with a training-only branch: it trains, and the saved files do not contain it."""

import pandas as pd
import torch
from safetensors.torch import load_file

from delineate.inference.evaluate import evaluate
from delineate.inference.predictor import Predictor
from delineate.recipe_io import load_recipe
from delineate.training.fit import train

HLF = [
    "model.name=unet+hlf",
    "model.encoder=unet",
    "model.options={widths: [4, 8, 8], depth: 3, hlf_hidden: 4}",
    "loss.interaction=0.1",
    "training.epochs=2",
]


def test_the_interaction_branch_trains_and_is_not_saved(tmp_path, small_settings, disc_folder):
    recipe = load_recipe("demo", [*small_settings, *HLF])
    train(recipe, disc_folder, tmp_path / "run")
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert (history["train_interaction_loss"] > 0).all()

    names = set(load_file(tmp_path / "run" / "model.safetensors"))
    assert any(name.startswith("class_branch.") for name in names)
    assert not any("interaction" in name for name in names)
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert any("interaction_branch" in name for name in checkpoint["state_dict"])  # to resume with

    predictor = Predictor.load(tmp_path / "run")
    assert predictor.model.interaction_branch is None
    assert set(predictor(next((disc_folder / "images").iterdir())).label) == {"good", "bad"}


def test_without_an_interaction_loss_there_is_no_such_branch(tmp_path, small_settings, disc_folder):
    recipe = load_recipe("demo", [*small_settings, *HLF, "loss.interaction=0", "training.epochs=1"])
    train(recipe, disc_folder, tmp_path / "run")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any("interaction" in name for name in checkpoint["state_dict"])


def test_a_run_can_start_from_another_with_its_encoder_frozen(tmp_path, small_settings, disc_folder):
    first = load_recipe("demo", [*small_settings, "training.epochs=1"])
    train(first, disc_folder, tmp_path / "first")
    second = load_recipe(
        "demo",
        [
            *small_settings,
            "training.epochs=2",
            f"model.encoder_from={tmp_path / 'first'}",
            "model.freeze_encoder=true",
        ],
    )
    train(second, disc_folder, tmp_path / "second")
    before, after = (load_file(tmp_path / run / "model.safetensors") for run in ("first", "second"))
    encoder = [name for name in before if name.startswith("label_encoder.")]
    assert encoder
    assert all(torch.equal(before[name], after[name]) for name in encoder)  # statistics too
    assert any(not torch.equal(before[name], after[name]) for name in before if name not in encoder)


def test_cases_without_labels_are_scored_without_label_scores(tmp_path, small_settings, disc_folder):
    (disc_folder / "labels.csv").unlink()
    recipe = load_recipe(
        "demo",
        [
            *small_settings,
            "task.labels={a: [a], b: [b]}",
            "task.pseudo_labels={method: kmeans, seed: 0}",
            "training.monitor=dice",
            "training.epochs=1",
        ],
    )
    train(recipe, disc_folder, tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "pseudo_labels.csv")
    assert list(table) == ["image_id", "split", "label"]
    assert set(table["split"]) == {"train", "val"}
    assert set(table["label"]) == {"a", "b"}
    summary = evaluate(tmp_path / "run", split="test").summary
    assert "dice" in summary
    assert not any(score.startswith("auc") and value["n"] for score, value in summary.items())
