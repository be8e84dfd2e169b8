"""Imports point one way: down the list of docs/explanation/architecture.md, never across a line."""

import ast
from pathlib import Path

import pytest

import delineate

SOURCE = Path(delineate.__file__).parent
LINES = [  # top to bottom; a module may import from lines below its own, and from its own folder
    {"__main__"},
    {"cli"},
    {"web"},
    {"console"},
    {"study"},
    {"training", "inference"},
    {"explain"},
    {"data", "models", "losses", "metrics"},
    {"layers"},
    {"recipe_io"},
    {"config", "record", "ablations"},
    {"yaml_io", "processes"},
    {"checks", "files", "version"},
]
FILES_FIRST = ("files", "checks")  # `files` may use `checks`
LEVEL = {name: level for level, names in enumerate(LINES) for name in names}


def imported(path: Path) -> set[str]:
    """Names of the parts of delineate that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "delineate":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("delineate.")}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path):
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if part in ("__init__", "recipes"):
        return
    assert part in LEVEL, f"{part} has no place in the list of layers; add it to LINES and to the docs"
    for other in imported(path) - {part}:
        if (part, other) == FILES_FIRST or other not in LEVEL:
            continue
        assert LEVEL[other] > LEVEL[part], f"{part} must not import {other}"
