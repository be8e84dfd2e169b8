"""Recipes: complete, strict, and clear about what is wrong."""

from importlib import resources

import pytest

from delineate.checks import InputError
from delineate.recipe_io import dump_recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_reads_and_survives_a_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_recipe(recipe))
    assert load_recipe(copy) == recipe
    assert load_recipe(copy).sha256() == recipe.sha256()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "demo.yaml with --set: unknown key 'training.epoch'. Did you mean 'epochs'?"),
        ("optimizer.rate=1", "--set optimizer.rate=1: unknown key 'optimizer'. Did you mean 'optimiser'?"),
        ("optimiser.rate=fast", "optimiser.rate: it should be a valid number, got 'fast'."),
        ("training.epochs=0", "training.epochs: it should be greater than or equal to 1, got 0."),
        ("training.epochs=2.5", "training.epochs: it should be a valid integer"),
        ("training.deterministic=yes", "training.deterministic: it should be a valid boolean, got 'yes'."),
        ("loss.mask.0.wieght=2", "unknown key 'loss.mask.0.wieght'. Did you mean 'weight'?"),
        ("loss.mask.7.weight=2", "no such place in the recipe"),
        ("training.seed.deep=1", "training.seed has no keys of its own"),
        ("task.labels={}", "task.labels and loss.label must both be given or both be empty"),
        ("schedule.name=cosine", "'triangular', 'polynomial' or 'step', got 'cosine'."),
        ("training", "needs the form section.key=value, got 'training'"),
    ],
)
def test_wrong_overrides_are_one_clear_sentence(override, message):
    with pytest.raises(InputError) as caught:
        load_recipe("demo", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_change_one_value_each():
    recipe = load_recipe("demo", ["optimiser.rate=1e-4", "training.sizes=[64, 96]", "loss.mask.0.weight=2"])
    assert recipe.optimiser.rate == 1e-4  # YAML 1.1 would read a text
    assert recipe.training.sizes == (64, 96)
    assert recipe.loss.mask[0].weight == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("  epochs:", "  epoch:"), "unknown key 'training.epoch'. Did you mean 'epochs'?"),
        (("  patience: 0\n", ""), "the key 'training.patience' is missing"),
        (("name: demo\n", "name: demo\nname: again\n"), "the key 'name' stands twice"),
        (("name: demo\n", "name: [demo\n"), "is not valid YAML"),
    ],
)
def test_wrong_files_are_named(tmp_path, change, message):
    text = (resources.files("delineate.recipes") / "demo.yaml").read_text()
    assert change[0] in text
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace(*change, 1))
    with pytest.raises(InputError, match="mine.yaml") as caught:
        load_recipe(file)
    assert message in str(caught.value)


def test_unknown_names_and_files():
    with pytest.raises(InputError, match="Unknown recipe 'dmeo'. Did you mean 'demo'"):
        load_recipe("dmeo")
    with pytest.raises(InputError, match="Cannot read the recipe nowhere.yaml: No such file"):
        load_recipe("nowhere.yaml")


def test_a_recipe_cannot_be_changed():
    recipe = load_recipe("demo")
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.epochs = 3


def test_the_hash_is_of_the_content(tmp_path):
    text = dump_recipe(load_recipe("demo"))
    file = tmp_path / "mine.yaml"
    file.write_text("# a comment\n" + text)
    assert load_recipe(file).sha256() == load_recipe("demo").sha256()
    assert load_recipe(file, ["training.seed=1"]).sha256() != load_recipe("demo").sha256()


def test_paper_recipes_state_what_the_papers_state():
    chnet = load_recipe("chnet.polyp.paper")
    assert (chnet.optimiser.name, chnet.optimiser.momentum, chnet.optimiser.weight_decay) == (
        "sgd",
        0.9,
        5e-4,
    )
    assert (chnet.training.batch_size, chnet.data.size) == (16, (352, 352))
    epochs = [load_recipe(f"chnet.{task}.paper").training.epochs for task in ("polyp", "busi", "covid")]
    assert epochs == [50, 100, 200]
    clnet = load_recipe("clnet.isic2017-melanoma.paper")
    assert (clnet.optimiser.name, clnet.optimiser.rate, clnet.schedule.power) == ("adam", 1e-4, 0.96)
    assert (clnet.training.epochs, clnet.data.size) == (200, (224, 224))
    assert list(clnet.task.labels) == ["rest", "melanoma"]
