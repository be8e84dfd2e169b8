"""A protocol or a manifest decides the split, the same for every seed of the recipe."""

import json
from dataclasses import replace

import pytest

from delineate.checks import InputError
from delineate.data import index, read_manifest
from delineate.data.manifest import make_manifest, write_manifest
from delineate.data.protocols import apply_protocol
from delineate.inference.evaluate import evaluate
from delineate.models.checkpoint import load_model
from delineate.recipe_io import load_recipe
from delineate.training.fit import train
from delineate.training.splitting import ProtocolChoice, split_for_training


@pytest.fixture
def unsplit(make_folder, tmp_path):
    root = make_folder(tmp_path / "data", count=20)
    (root / "split.csv").unlink()
    return root


def splits(chosen):
    return {case.id: case.split for case in chosen.cases}


def test_a_protocol_draws_with_its_own_seed(unsplit, small_settings):
    cases = index(unsplit)
    recipes = [load_recipe("demo", [*small_settings, f"training.seed={seed}"]) for seed in (0, 1)]
    choice = ProtocolChoice("k-fold", fold=1, folds=4)
    first, second = (split_for_training(cases, recipe, choice) for recipe in recipes)
    assert splits(first) == splits(second)
    assert first.protocol.startswith("k-fold, fold 1 of 4")
    assert first.seed == 0
    other = split_for_training(cases, recipes[0], ProtocolChoice("k-fold", fold=1, folds=4, seed=5))
    assert splits(other) != splits(first)
    assert sum(split == "test" for split in splits(first).values()) == 5


def test_a_split_without_validation_gets_one_from_its_training_part(unsplit, small_settings, tmp_path):
    cases = index(unsplit)
    fixed = [replace(case, split="test" if i < 5 else "train") for i, case in enumerate(cases)]
    path = tmp_path / "split.json"
    write_manifest(make_manifest(fixed, protocol="mine", seed=None), path)
    recipe = load_recipe("demo", [*small_settings, "data.val_fraction=0.2"])
    chosen = split_for_training(cases, recipe, path)
    counts = [list(splits(chosen).values()).count(split) for split in ("train", "val", "test")]
    assert counts == [12, 3, 5]
    assert [case.id for case in chosen.cases if case.split == "test"] == [case.id for case in cases[:5]]
    assert chosen.protocol == "mine; validation: 20% of the training split"
    assert chosen.seed == recipe.training.seed
    none = load_recipe("demo", [*small_settings, "data.val_fraction=0"])
    with pytest.raises(InputError, match="need a validation split, and the data set has none"):
        split_for_training(cases, none, path)


def test_a_manifest_that_leaves_cases_out_is_trained_and_evaluated(unsplit, small_settings, tmp_path):
    cases = index(unsplit)
    kept = apply_protocol(cases[:16], "k-fold", seed=0, fold=0, folds=4)
    left_out = [case.id for case in cases[16:]]
    path = tmp_path / "split.json"
    write_manifest(make_manifest(kept, protocol="mine", seed=0, dropped=left_out), path)
    recipe = load_recipe("demo", [*small_settings, "training.epochs=1"])
    record = train(recipe, unsplit, tmp_path / "run", split=path)
    assert record.protocol == "mine"
    assert sum(record.cases.values()) == 16
    manifest = read_manifest(tmp_path / "run" / "splits.json")
    assert list(manifest.dropped) == left_out
    result = evaluate(tmp_path / "run", split="test")
    assert {case.id for case in result.cases} == {case.id for case in kept if case.split == "test"}


def test_what_was_accepted_stands_in_the_record(make_folder, small_settings, tmp_path):
    root = make_folder(tmp_path / "data")
    rows = "".join(f"case{i:02d},patient\n" for i in range(16))
    (root / "groups.csv").write_text("image_id,group\n" + rows)
    recipe = load_recipe("demo", [*small_settings, "training.epochs=1"])
    with pytest.raises(InputError, match="train anyway with --accept group-in-two-splits, or --ignore-gate"):
        train(recipe, root, tmp_path / "run")
    with pytest.raises(InputError, match="group-in-two-splits"):
        train(recipe, root, tmp_path / "run", accept=["duplicate-in-two-splits"])
    record = train(recipe, root, tmp_path / "run", accept=["group-in-two-splits"])
    assert record.gate_overridden
    assert record.gate_accepted == ("group-in-two-splits",)


@pytest.mark.parametrize(("window", "kept"), [("*,10,200\n", (10.0, 200.0)), ("case00,10,200\n", None)])
def test_a_window_that_all_images_share_goes_with_the_model(
    make_folder, small_settings, tmp_path, window, kept
):
    root = make_folder(tmp_path / "data")
    (root / "window.csv").write_text("image_id,low,high\n" + window)
    train(load_recipe("demo", [*small_settings, "training.epochs=1"]), root, tmp_path / "run")
    assert load_model(tmp_path / "run")[1].window == kept
    content = json.loads((tmp_path / "run" / "model.json").read_text())
    assert content["window"] == (None if kept is None else list(kept))
