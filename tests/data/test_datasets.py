"""What is told about data sets: the commands and the page of the reference."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from small_server import about_of, serving
from typer.testing import CliRunner

from delineate import console
from delineate.checks import InputError
from delineate.cli.datasets import datasets, fetch
from delineate.data.case import Case
from delineate.data.readers import READERS
from delineate.data.readers.about import Download, Reader

TOOLS = Path(__file__).parents[2] / "tools"


def pictures(root):
    return [Case(path.stem, path) for path in sorted((root / "set/images").glob("*.png"))]


@pytest.fixture
def tiny(monkeypatch):
    """Enter data sets into the table."""

    def enter(about, name="tiny"):
        monkeypatch.setitem(READERS, name, Reader(pictures, f"{about.title} as {name}", about))

    return enter


@pytest.fixture
def call(monkeypatch):
    """Run a command: (exit code, output, messages); an InputError is raised as it is."""
    app = typer.Typer()
    app.command()(datasets)
    app.command()(fetch)

    def run(*arguments):
        monkeypatch.setattr(console, "say", lambda text: sys.stderr.write(text + "\n"))
        monkeypatch.setattr(console.out, "_file", None)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, InputError):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def page():
    spec = importlib.util.spec_from_file_location("reference_datasets", TOOLS / "reference_datasets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_has_a_line_for_each_and_json_has_all(call, tiny):
    tiny(about_of((Download("https://example.org/a.zip", "a.zip"),)))
    tiny(about_of((), steps=("Ask [them].",)), "asked")
    code, output, _ = call("datasets")
    assert code == 0
    (line,) = (line for line in output.splitlines() if "Tiny set as tiny" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "tiny",
        "Tiny set as tiny",
        "1",
        "OCT",
        "direct",
    ]
    assert "by hand" in next(line for line in output.splitlines() if "as asked" in line)
    code, output, _ = call("datasets", "--json")
    facts = json.loads(output)
    assert set(facts) == set(READERS)
    assert facts["tiny"]["downloads"][0]["url"] == "https://example.org/a.zip"
    assert facts["folder"]["protocols"] == {}


def test_one_data_set_is_told_whole(call, tiny):
    about = about_of((Download("https://example.org/a.zip", "a.zip", size=5),), steps=("Ask [them].",))
    tiny(
        replace(about, counts={"train": 3, "test": 2}, labels={"bad": 2, "good": 0}, pitfalls=("Wet paint.",))
    )
    code, output, _ = call("datasets", "tiny")
    assert code == 0
    for text in (
        "tiny: Tiny set",
        "Cases:     3 train + 2 test",
        "Masks:     lesion (0 and 255)",
        "Labels:    bad 2, good\n",
        "Licence:   CC0",
        "Layout of the folder:\n  set/images/",
        "  a.zip (5 bytes): https://example.org/a.zip",
        "By hand:\n  1. Ask [them].",
        "Mind:\n  - Wet paint.",
        "Protocols for any data set: ",
    ):
        assert text in output
    assert "k-fold" in output
    assert json.loads(call("datasets", "tiny", "--json")[1])["tiny"]["counts"] == {"train": 3, "test": 2}
    assert "images/, masks/" in call("datasets", "folder")[1]
    with pytest.raises(InputError, match=r"Unknown data set 'tinny'. Did you mean 'tiny'\?"):
        call("datasets", "tinny")


def test_fetching_needs_the_licence_and_ends_with_what_is_there(call, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.offer("set.zip")
        tiny(server.about("set.zip"))
        with pytest.raises(InputError, match="Read the licence above and add --accept-licence"):
            call("fetch", "tiny", tmp_path)
        assert server.requests == []
        code, output, said = call("fetch", "tiny", tmp_path, "--accept-licence", "--keep-archives")
    assert code == 0
    assert "Licence: CC0" in output
    assert "Cite: nobody" in output
    assert f"1 cases are in {tmp_path}; next: delineate data check {tmp_path} --dataset tiny" in said
    assert (tmp_path / "archives/set.zip").is_file()


def test_an_incomplete_set_is_named_after_fetching(call, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.offer("set.zip")
        tiny(replace(server.about("set.zip"), counts={"all": 7}))
        with pytest.raises(InputError, match="Tiny set has 7 cases, but 1 were found"):
            call("fetch", "tiny", tmp_path, "--accept-licence")
        tiny(replace(server.about("set.zip"), counts={"all": 7}, steps=("Ask them.",)))
        code, output, _ = call("fetch", "tiny", tmp_path, "--accept-licence")
    assert code == 0
    assert f"What remains to be done by hand, into {tmp_path}:\n  1. Ask them.\n" in output


def test_without_an_address_the_steps_are_printed(call, tiny, tmp_path):
    tiny(about_of((), steps=("Sign the form.", "Unpack it.")))
    code, output, _ = call("fetch", "tiny", tmp_path / "new")
    assert code == 1
    assert "  1. Sign the form.\n  2. Unpack it.\n" in output
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="folder is a layout of your own files"):
        call("fetch", "folder", tmp_path)


def test_the_page_has_a_row_and_a_section_for_each_set(page, tiny, tmp_path, monkeypatch):
    about = about_of((Download("https://example.org/a.zip", "a.zip", size=5, checksum="md5:0"),))
    tiny(replace(about, pitfalls=("Wet paint.",), mask_values="0 | 255"))
    tiny(replace(about, classes=("rim", "cup")), "tiny:rim")
    findings = tmp_path / "findings.yaml"
    findings.write_text("tiny:\n  - Two **equal** images.\n", encoding="utf-8")
    monkeypatch.setattr(page, "FINDINGS", findings)
    text = page.page()
    assert "| `tiny`, `tiny:rim` | [Tiny set](#tiny) | OCT | 1 | lesion | none | not known | CC0 |" in text
    assert text.count("## tiny") == 1
    section = text.split("## tiny\n")[1].split("\n## ")[0]
    for line in (
        "**Tiny set**: made up.",
        "Also as `tiny:rim`: Tiny set as tiny:rim.",
        "```text\nset/images/\n```",
        "- Mask values: 0 | 255",
        "- [a.zip](https://example.org/a.zip) (5 bytes, `md5:0`)",
        "- Wet paint.",
        "Findings:\n\n- Two **equal** images.",
    ):
        assert line in section
    assert "| `k-fold` |" in text.split("## Protocols for any data set")[1]
    assert text.endswith("|\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tinny: [a]", "no data set is named 'tinny'"),
        ("folder: a", "folder needs a list of sentences"),
        ("folder: [1]", "folder needs a list of sentences"),
        ("- a", "is not a mapping"),
    ],
)
def test_findings_that_nobody_would_see_are_refused(page, tmp_path, text, message):
    path = tmp_path / "findings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        page.read_findings(path)
