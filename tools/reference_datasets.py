"""Make docs/reference/datasets.md from what the readers know about their data sets.

Findings of `delineate data check` on real copies are read from docs/reference/dataset-findings.yaml, a
mapping of a data set's name (as in `delineate datasets`) to a list of sentences in Markdown. A name that no
reader has is an error, so that no finding is lost silently.
"""

from pathlib import Path

from delineate.checks import InputError, did_you_mean
from delineate.data.protocols import PROTOCOLS, protocols_of
from delineate.data.readers import READERS
from delineate.data.readers.about import About
from delineate.yaml_io import read_yaml

NOTE = "<!-- Written by tools/reference.py; change the tables in the package, not this file. -->\n"
FINDINGS = Path(__file__).parents[1] / "docs" / "reference" / "dataset-findings.yaml"
INTRO = """`delineate datasets` prints this list, `delineate datasets NAME` what is known about one data set,
and `delineate data fetch NAME OUT` downloads what its publisher offers at a direct address. A reader takes
the folder into which the publisher's archives were unpacked and refuses parts that are incomplete. Licences
are given as far as the publisher states them: read the publisher's page before use.
"""
HEAD = ("name", "data set", "modality", "cases", "mask classes", "labels", "groups", "licence")


def page() -> str:
    """Return the text of the page."""
    findings = read_findings(FINDINGS)
    sets = _sets()
    rows = [
        (
            ", ".join(f"`{name}`" for name in names),
            f"[{about.title}](#{names[0].replace(':', '')})",
            about.modality,
            _counts(about),
            ", ".join(about.classes),
            ", ".join(f"{label} {count or ''}".strip() for label, count in about.labels.items()) or "none",
            about.groups or "not known",
            about.licence,
        )
        for names, about in sets
    ]
    lines = [f"{NOTE}# Data sets\n", INTRO, *_table(HEAD, rows), ""]
    lines += [
        "Besides these, `folder` reads a plain folder of your own:",
        f"{READERS['folder'].description}.",
        "",
    ]
    for names, about in sets:
        lines += _section(names, about, [text for name in names for text in findings.get(name, [])])
    lines += ["## Protocols for any data set", "", *_protocols(_general())]
    return "\n".join(lines) + "\n"


def read_findings(path: Path) -> dict[str, list[str]]:
    """Read what was found in real copies: name of a data set -> sentences; {} without the file.

    Raises:
        InputError: the file is not a mapping of known names to lists of sentences.
    """
    if not path.is_file():
        return {}
    content = read_yaml(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a mapping of names of data sets to lists of sentences.")
    for name, texts in content.items():
        if name not in READERS:
            raise InputError(f"{path}: no data set is named {name!r}.{did_you_mean(name, READERS)}")
        if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise InputError(f"{path}: {name} needs a list of sentences.")
    return content


def _sets() -> list[tuple[list[str], About]]:
    """The published data sets, each with the names of all readers of it, in the order of the table."""
    found: dict[tuple[str, str], tuple[list[str], About]] = {}
    for name, reader in READERS.items():
        if reader.about is not None:
            key = (reader.about.title, _counts(reader.about))
            found.setdefault(key, ([], reader.about))[0].append(name)
    return list(found.values())


def _section(names: list[str], about: About, findings: list[str]) -> list[str]:
    lines = [f"## {names[0]}", "", f"**{about.title}**: {about.summary.rstrip('.')}.", ""]
    for name in names[1:]:
        lines += [f"Also as `{name}`: {READERS[name].description}.", ""]
    lines += [
        "```text",
        about.layout.rstrip(),
        "```",
        "",
        f"- Mask values: {about.mask_values}",
        f"- Cite: {about.citation}",
        f"- Page: <{about.home}>",
        f"- Licence: {about.licence}",
    ]
    if about.downloads:
        lines += ["", "Direct downloads:", "", *(_offer(about, i) for i in range(len(about.downloads)))]
    if about.steps:
        lines += ["", "By hand:", "", *(f"{i}. {step}" for i, step in enumerate(about.steps, start=1))]
    if about.pitfalls:
        lines += ["", "Mind:", "", *(f"- {pitfall}" for pitfall in about.pitfalls)]
    if own := _protocols(list(protocols_of(names[0]))):
        lines += ["", "Protocols:", "", *own]
    if findings:
        lines += ["", "Findings:", "", *(f"- {text}" for text in findings)]
    return [*lines, ""]


def _offer(about: About, position: int) -> str:
    one = about.downloads[position]
    facts = [f"{one.size} bytes"] if one.size is not None else []
    facts += [f"`{one.checksum}`"] if one.checksum is not None else []
    return f"- [{one.name}]({one.url})" + (f" ({', '.join(facts)})" if facts else "")


def _general() -> list[str]:
    return [name for name, protocol in PROTOCOLS.items() if protocol.dataset == "any"]


def _protocols(names: list[str]) -> list[str]:
    if not names:
        return []
    rows = [
        (f"`{name}`", PROTOCOLS[name].summary, str(PROTOCOLS[name].folds or ""), PROTOCOLS[name].source)
        for name in names
    ]
    return _table(("protocol", "what it divides", "folds", "source"), rows)


def _counts(about: About) -> str:
    if set(about.counts) == {"all"}:
        return str(about.counts["all"])
    return ", ".join(f"{part} {count}" for part, count in about.counts.items())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]
