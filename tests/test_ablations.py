"""Every row of the papers' ablation tables is a complete recipe whose model can be built."""

from collections import Counter

import pytest
import torch

from delineate.ablations import ablation_row, ablations
from delineate.checks import InputError
from delineate.losses import LOSSES, create_loss
from delineate.models.checkpoint import build_model
from delineate.recipe_io import ablation_names, dump_recipe, load_recipe, recipe_names

PUBLISHED = {  # table -> number of rows that the paper prints
    "chnet.table6": 3,
    "fcp-net.table1": 7,
    "fcp-net.table3": 3,
    "fcp-net.table4": 4,
    "fcp-net.table5": 7,
    "fcp-net.table6": 6,
    "m2snet.table7": 7,
    "m2snet.table8": 4,
    "ulffn.table4": 4,
}


def test_every_published_table_is_there_with_all_its_rows():
    assert {name: len(table.rows) for name, table in ablations().items()} == PUBLISHED


@pytest.mark.parametrize("name", [*recipe_names(), *ablation_names()])
def test_every_recipe_builds_its_model_and_its_losses(name):
    recipe = load_recipe(name, ["model.pretrained=false"])
    assert recipe.name == name
    for kind, terms in (("mask", recipe.loss.mask), ("label", recipe.loss.label)):
        for term in terms:
            if term.name == "lossnet":  # building it takes ImageNet weights; its options are checked alone
                assert set(term.options) <= set(LOSSES["lossnet"].options)
            else:
                create_loss(term.name, term.options, kind=kind)
    with torch.device("meta"):
        build_model(recipe)


def test_rows_of_a_table_differ():
    for name, table in ablations().items():
        texts = Counter(dump_recipe(load_recipe(f"{name}.{row}")).split("task:", 1)[1] for row in table.rows)
        assert max(texts.values()) == 1, f"{name} holds one recipe twice"


def test_a_row_is_its_base_with_some_keys_changed():
    table, row = ablation_row("fcp-net.table1.without-efe")
    base, changed = load_recipe(table.base), load_recipe("fcp-net.table1.without-efe")
    assert row.changes == {"model.options.efe": False}
    assert changed.model.options == {**base.model.options, "efe": False}
    assert changed.loss == base.loss
    assert changed.training == base.training


def test_an_unknown_row_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"Unknown recipe 'fcp-net.table1.without-ef'.* Did you mean"):
        load_recipe("fcp-net.table1.without-ef")
