"""Each paper's file: what its docstring maps is tagged in the code, and what is tagged is in the map."""

import ast
import re
from pathlib import Path

import pytest

import delineate.models

FOLDER = Path(delineate.models.__file__).parent
PAPERS = [path for path in sorted(FOLDER.rglob("*.py")) if "\nPaper: " in path.read_text("utf-8")]
ELSEWHERE = re.compile(r"(?:losses|explain|training|layers)/\S*")


def equation_map(text):
    """Row -> (number or None, where), from the lines between the map's head and the next unindented line."""
    docstring = ast.get_docstring(ast.parse(text))
    block = docstring.split("    equation ", 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^    \((\d+)\)\s+(.*)$", block, flags=re.MULTILINE)
    return {int(number): rest for number, rest in rows}


def test_there_are_papers():
    assert {
        "chnet.py",
        "clnet.py",
        "msnet.py",
        "m2snet.py",
        "ulffn.py",
        "fcpnet.py",
        "attention_unet.py",
    } <= {path.name for path in PAPERS}


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_map_and_tags_agree(path):
    text = path.read_text("utf-8")
    mapped = equation_map(text)
    assert mapped
    here = {number for number, where in mapped.items() if not ELSEWHERE.search(where)}
    tagged = {int(n) for n in re.findall(r"# Eq\. \((\d+)\)", text)}
    assert tagged == here
    for where in mapped.values():
        if found := ELSEWHERE.search(where):
            assert (FOLDER.parent / found.group()).exists(), where


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_every_paper_says_what_differs(path):
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert "Known differences" in docstring
    assert "Released code: " in docstring
