"""Groups of images as labels: found again, repeatable, fitted on the training split, never on test images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from delineate.checks import InputError
from delineate.data import Cache, Case, index, read_manifest
from delineate.recipe_io import load_recipe
from delineate.training import pseudo_labels
from delineate.training.pseudo_labels import apply_pseudo_labels, assign_pseudo_labels

METHODS = ["kmeans", "gaussian_mixture", "autoencoder"]
COLOURS = [(200, 60, 60), (60, 180, 70), (70, 80, 210)]
SIZE = 24


@pytest.fixture(autouse=True)
def _fewer_steps(monkeypatch):
    """The autoencoder of small tests needs less training than that of real images."""
    monkeypatch.setattr(pseudo_labels, "_STEPS", 60)


def recipe_for(method="kmeans", names=("a", "b", "c"), *changes):
    labels = ", ".join(f"{name}: [{name}]" for name in names)
    return load_recipe(
        "demo",
        [
            f"data.size=[{SIZE}, {SIZE}]",
            f"task.labels={{{labels}}}",
            f"task.pseudo_labels={{method: {method}, seed: 3}}",
            "training.monitor=dice",
            *changes,
        ],
    )


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """27 images of three kinds, 12, 6 and 3 of them for training, and the kind of each."""
    root = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    kinds = [0] * 14 + [1] * 8 + [2] * 5
    cases, left = [], {0: 12, 1: 6, 2: 3}
    for number, kind in enumerate(kinds):
        pixels = rng.normal(COLOURS[kind], 12, (20, 26, 3))
        pixels[5:12, 4 + kind * 5 : 12 + kind * 5] -= 40
        path = root / f"{number:02d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        split = "train" if left[kind] else ("val", "test")[number % 2]
        left[kind] -= split == "train"
        cases.append(Case(id=path.stem, image=path, split=split))
    # Out of order, so that nothing can hang on it.
    order = rng.permutation(len(cases))
    return [cases[i] for i in order], {cases[i].id: kinds[i] for i in order}


@pytest.mark.parametrize("method", METHODS)
def test_kinds_are_found_again_and_named_by_size(coloured, method):
    cases, kind = coloured
    done, table = assign_pseudo_labels(cases, recipe_for(method))
    truth = [kind[name] for name in table["image_id"]]
    assert adjusted_rand_score(truth, table["label"]) == 1
    assert list(table["label"]) == ["abc"[t] for t in truth]  # 12, 6 and 3 training images
    assert [case.id for case in done] == [case.id for case in cases]
    assert {c.id: c.label for c in done if c.split != "test"} == dict(table[["image_id", "label"]].values)
    assert list(table["image_id"]) == sorted(c.id for c in cases if c.split != "test")
    assert set(table["split"]) == {"train", "val"}


@pytest.mark.parametrize("method", METHODS)
def test_repeatable_whatever_the_order_and_without_touching_global_randomness(coloured, method):
    cases, _ = coloured
    recipe = recipe_for(method, ("a", "b"))  # two groups of three kinds: nothing obvious to find
    before = torch.random.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    first = assign_pseudo_labels(cases, recipe)[1]
    second = assign_pseudo_labels(cases[::-1], recipe)[1]
    pd.testing.assert_frame_equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize("method", METHODS)
def test_fitted_on_the_training_split_only(coloured, method):
    """Validation images may become test images, and test files may be missing: the rest stays as it was."""
    cases, _ = coloured
    recipe = recipe_for(method, ("a", "b"))
    table = assign_pseudo_labels(cases, recipe)[1]
    fewer = [
        replace(c, split="test", image=c.image.with_name("missing.png")) if c.split != "train" else c
        for c in cases
    ]
    done, alone = assign_pseudo_labels(fewer, recipe)
    assert list(alone["label"]) == list(table["label"][table["split"] == "train"])
    assert all(case.label is None for case in done if case.split == "test")


def test_labels_that_the_recipe_ignores_are_replaced_and_others_refused(coloured):
    cases, _ = coloured
    labelled = [replace(case, label="nevus") for case in cases]
    done, table = assign_pseudo_labels(labelled, recipe_for("kmeans", "abc", "task.ignore_labels=[nevus]"))
    assert {case.label for case in done} == {"a", "b", "c", None}
    pd.testing.assert_frame_equal(table, assign_pseudo_labels(cases, recipe_for())[1])
    with pytest.raises(
        InputError, match="has the label 'nevus', but pseudo-labels are for data sets without"
    ):
        assign_pseudo_labels(labelled, recipe_for())


def test_mask_region_looks_at_the_object_only(tmp_path):
    """Two kinds of object on two kinds of background, independent of each other: the region decides."""
    rng = np.random.default_rng(0)
    cases, objects, grounds = [], {}, {}
    for number in range(16):
        of, on = number % 2, (number // 2) % 2
        pixels = rng.normal((40, 200)[on], 5, (SIZE, SIZE, 3))
        mask = np.zeros((SIZE, SIZE), bool)
        mask[6 + number % 5 : 14 + number % 5, 5:15] = True
        pixels[mask] = rng.normal((90, 150)[of], 5, (mask.sum(), 3))
        for folder, array in (("images", pixels.clip(0, 255)), ("masks", mask * 255)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / folder / f"{number:02d}.png")
        name = f"{number:02d}"
        paths = (tmp_path / "images" / f"{name}.png", tmp_path / "masks" / f"{name}.png")
        cases.append(Case(id=name, image=paths[0], mask=paths[1], split="train"))
        objects[name], grounds[name] = of, on
    for method in METHODS:
        for region, truth in (("mask", objects), ("image", grounds)):
            table = assign_pseudo_labels(cases, recipe_for(method, ("a", "b")), region=region)[1]
            wanted = [truth[name] for name in table["image_id"]]
            assert adjusted_rand_score(wanted, table["label"]) == 1, (method, region)


def test_cache_and_progress(coloured, tmp_path):
    cases, _ = coloured
    seen = []
    cached = assign_pseudo_labels(
        cases, recipe_for(), cache=Cache(tmp_path), progress=lambda *at: seen.append(at)
    )
    pd.testing.assert_frame_equal(cached[1], assign_pseudo_labels(cases, recipe_for())[1])
    read = len(cached[1])
    assert seen == [(done, read) for done in range(1, read + 1)]


def test_a_table_from_a_file_gives_the_same_cases(coloured, tmp_path):
    cases, _ = coloured
    done, table = assign_pseudo_labels(cases, recipe_for())
    table.to_csv(tmp_path / "pseudo_labels.csv", index=False)
    again = pd.read_csv(tmp_path / "pseudo_labels.csv", dtype=str, keep_default_na=False)
    assert apply_pseudo_labels(cases, again) == done
    with pytest.raises(InputError, match="has no pseudo-label in the table"):
        apply_pseudo_labels(cases, table[1:])


def test_errors(coloured):
    cases, _ = coloured
    with pytest.raises(InputError, match="The recipe has task.pseudo_labels: null; give it a method"):
        assign_pseudo_labels(cases, recipe_for("kmeans", "abc", "task.pseudo_labels=null"))
    with pytest.raises(InputError, match=r"'b' stands for \['b', 'd'\]; write b: \[b\]."):
        assign_pseudo_labels(cases, recipe_for("kmeans", "abc", "task.labels={a: [a], b: [b, d]}"))
    with pytest.raises(InputError, match="has no split; split the cases first"):
        assign_pseudo_labels([replace(case, split=None) for case in cases], recipe_for())
    two = [c for c in cases if c.split == "train"][:2]
    with pytest.raises(InputError, match="need 3 groups of training images.* only 2 images; name fewer"):
        assign_pseudo_labels(two, recipe_for())
    same = [replace(cases[0], id=str(number), split="train") for number in range(5)]
    for method in METHODS[:2]:
        with pytest.raises(InputError, match="there are only 1 groups of images; name fewer labels"):
            assign_pseudo_labels(same, recipe_for(method))


def test_a_run_on_pseudo_labels(tmp_path, small_settings, make_folder):
    """From a folder without labels to a trained model; its evaluation has no score of labels."""
    from delineate.inference.evaluate import evaluate
    from delineate.training.fit import train

    root = make_folder(tmp_path / "data")
    (root / "labels.csv").unlink()
    changes = [
        "task.pseudo_labels={method: kmeans, seed: 0}",
        "training.monitor=dice",
        "training.epochs=1",
    ]
    recipe = load_recipe("demo", [*small_settings, *changes])
    run = tmp_path / "run"
    train(recipe, root, run)
    table = pd.read_csv(run / "pseudo_labels.csv", dtype=str)
    expected = assign_pseudo_labels(_split(index(root), run), recipe)[1]
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    assert set(table["label"]) == {"good", "bad"}
    assert all(entry.label is None for entry in read_manifest(run / "splits.json").entries)
    history = pd.read_csv(run / "history.csv")
    assert history["train_label_loss"].notna().all()
    result = evaluate(run)
    assert result.summary["dice"]["mean"] is not None
    assert "auc" not in result.summary or result.summary["auc"]["mean"] is None


def _split(cases, run):
    split_of = {entry.id: entry.split for entry in read_manifest(run / "splits.json").entries}
    return [replace(case, split=split_of[case.id]) for case in cases]
