"""The specifications of published tables: complete, and made of what exists."""

import json

import pytest

from delineate.data.protocols import PROTOCOLS
from delineate.data.readers import READERS
from delineate.metrics import METRICS
from delineate.recipe_io import ablation_names, recipe_names
from delineate.study.published import PAPERS, published_values
from delineate.study.reproduce_plan import Plan, candidates, recipe_of
from delineate.study.reproduce_spec import COST, EPOCHS, paper_spec, table_spec


@pytest.mark.parametrize("paper", PAPERS)
def test_every_published_figure_has_a_place(paper):
    """Each table, each column and each row of the five papers is spoken of, and nothing else is."""
    spec = paper_spec(paper)
    values = [value for value in published_values() if value.paper == paper]
    assert set(spec.tables) == {value.table for value in values}
    for number, table in spec.tables.items():
        of_table = [value for value in values if value.table == number]
        assert set(table.rows) == {value.method for value in of_table}
        assert set(table.columns) == {value.dataset for value in of_table}
        assert set(table.metrics) <= {value.metric for value in of_table}
        for word in {value.metric for value in of_table}:
            lost = "header lost" in word
            named = candidates(paper, number, table, word)
            assert named or word in COST or word == EPOCHS or lost, (number, word)
            assert all(name in METRICS for name, _ in named)


@pytest.mark.parametrize("paper", PAPERS)
def test_recipes_and_protocols_of_the_specs_exist(paper):
    spec, known = paper_spec(paper), {*recipe_names(), *ablation_names()}
    for table in spec.tables.values():
        named = {part.recipe for part in table.parts.values()}
        named |= {r for row in table.rows.values() for r in (row.recipe, row.against) if r is not None}
        assert named <= known
        for row in table.rows.values():
            assert row.cannot is None or spec.reason(row).endswith((".", "*.")), row
            assert spec.note(row) == "" or spec.note(row).endswith(".")
    for source in spec.sources.values():
        assert source.protocol in PROTOCOLS
        assert source.dataset in READERS


@pytest.mark.parametrize("paper", PAPERS)
def test_every_row_that_has_code_gives_a_whole_recipe(paper):
    """Presets fit the recipes that they change."""
    spec = paper_spec(paper)
    for number, table in spec.tables.items():
        plan = Plan(paper, number, spec, table, (), (), {}, (), {}, "")
        for row in table.rows.values():
            if row.cannot is None:
                for name, part in table.parts.items():
                    if row.parts is None or name in row.parts:
                        assert recipe_of(plan, row, part).task.classes


def test_a_damaged_spec_is_found():
    spec, _ = table_spec("chnet", "1")
    content = spec.model_dump(mode="json")
    content["tables"]["1"]["columns"] = {"covid19-lung": ["elsewhere"]}
    with pytest.raises(ValueError, match="unknown part 'elsewhere'"):
        type(spec).model_validate_json(json.dumps(content))
