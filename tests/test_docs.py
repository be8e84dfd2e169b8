"""The documentation says what the package does."""

import re
import shlex
import sys
from itertools import chain, product
from pathlib import Path

import pytest
import typer

from delineate.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.fixture(scope="module")
def reference():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import reference

        return reference.pages()
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize(
    "name", ["metrics.md", "models.md", "losses.md", "recipe.md", "datasets.md", "measurements.md"]
)
def test_generated_pages_are_up_to_date(reference, name):
    page = (ROOT / "docs" / "reference" / name).read_text()
    assert page == reference[name], "run: python tools/reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{target} is missing"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_the_docs_exist(page):
    """Every `delineate ...` line parses: the command and its options are real."""
    root = typer.main.get_command(app)
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    for block in (text for language, text in blocks if language in ("", "sh", "bash")):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] != "delineate" or "|" in words:
                continue
            command, rest = root, words[1:]
            while hasattr(command, "commands"):
                assert rest, line
                assert rest[0] in command.commands, line
                command, rest = command.commands[rest[0]], rest[1:]
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", ">"}
            for word in rest:
                assert not word.startswith("--") or word in known, f"{word} in: {line}"


def test_names_of_files_in_the_docs_exist():
    for page in PAGES:
        for name in re.findall(r"`((?:src|docs|tests|benchmarks|tools)/[\w/.-]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_recipes_data_sets_and_protocols_of_the_how_to_exist():
    """The table that says which recipe goes with which data set and protocol."""
    from delineate.data import PROTOCOLS, READERS
    from delineate.recipe_io import load_recipe, recipe_names

    text = (ROOT / "docs" / "how-to" / "get-and-check-data.md").read_text()
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| `")]
    named = [re.findall(r"`([^`]+)`", cell) for row in rows for cell in row]
    recipes, sets, protocols = (sum(named[i::3], []) for i in range(3))
    for i in range(0, len(named), 3):
        for recipe, dataset in product(named[i], set(named[i + 1]) & set(READERS)):
            task, about = load_recipe(recipe).task, READERS[dataset].about
            assert len(task.classes) == 1 or task.classes == about.classes, (recipe, dataset)
            understood = {*chain.from_iterable(task.labels.values()), *task.ignore_labels}
            assert not task.labels or set(about.labels) <= understood, (recipe, dataset)
    paper = {name for name in recipe_names() if name.endswith(".paper")}
    assert set(recipes) == paper
    assert set(sets) - {"--region optic-disc"} <= set(READERS)
    assert {name for name in protocols if not name.startswith(".")} <= set(PROTOCOLS)
    for name in ("cvc-300-tv", "cvc-612-v", "cvc-612-t"):
        assert f"{name}.pns-net" in PROTOCOLS
