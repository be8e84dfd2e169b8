"""Commands that tell about published data sets and fetch them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delineate import console
from delineate.checks import InputError, choose
from delineate.cli.common import AsJson

if TYPE_CHECKING:  # the commands import what they need, so that --help stays quick
    from delineate.data.readers import About, Reader

_MIB = 2**20


def datasets(
    name: Annotated[str | None, typer.Argument(help="Tell everything about this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the data sets, or tell everything about one: layout, licence, citation, protocols, pitfalls.

    Example: delineate datasets isic2017
    """
    from delineate.data.readers import READERS

    if name is None:
        if as_json:
            console.print_json({known: _facts(known, reader) for known, reader in READERS.items()})
            return
        rows = [_row(known, reader) for known, reader in READERS.items()]
        console.print_table("", ("data set", "what it is", "cases", "modality", "fetch"), rows)
        return
    reader = choose("data set", name, READERS)
    if as_json:
        console.print_json({name: _facts(name, reader)})
    else:
        console.out.print("\n".join(_lines(name, reader)), markup=False)


def fetch(
    name: Annotated[str, typer.Argument(help="Name of the data set, see `delineate datasets`.")],
    out: Annotated[Path, typer.Argument(help="Folder to fill; a stopped run goes on there.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the licence and keep to it.")
    ] = False,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep the archives in OUT/archives.")
    ] = False,
    file: Annotated[str | None, typer.Option(help="Fetch this file only.")] = None,
) -> None:
    """Download a published data set, checked; print the steps for what needs a person.

    Exit code 1 when there is no direct address, so that nothing was fetched.

    Example: delineate data fetch isic2017 isic2017 --accept-licence
    """
    from delineate.data.fetch import Listener
    from delineate.data.fetch import fetch as download
    from delineate.data.readers import READERS

    about = choose("data set", name, READERS).about
    if about is None:
        raise InputError(f"{name} is a layout of your own files and no published data set; nothing to fetch.")
    console.out.print(
        f"{about.title}\nLicence: {about.licence}\nCite: {about.citation}\nPage: {about.home}", markup=False
    )
    if not about.downloads:
        _print_steps(about, f"No direct address is known; to get it into {out}:")
        raise typer.Exit(1)
    _agree(accept_licence)
    listener = Listener(progress=_bar_of_bytes, say=console.say)
    files = download(about, out, only=file, keep_archives=keep_archives, listener=listener)
    for one in files:
        console.say(f"{one.name}: {one.size} bytes, sha256:{one.sha256}")
    if about.steps:
        _print_steps(about, f"What remains to be done by hand, into {out}:")
    elif file is None:
        _tell_cases(name, out)


def _agree(accepted: bool) -> None:
    if accepted:
        return
    if not sys.stdin.isatty():
        raise InputError("Read the licence above and add --accept-licence when you keep to it.")
    if not typer.confirm("Do you keep to this licence?"):
        raise InputError("Nothing was fetched, because the licence was not accepted; --accept-licence does.")


def _tell_cases(name: str, out: Path) -> None:
    """Index what was fetched, which also says whether it is complete."""
    from delineate.data.readers import index

    cases = index(out, name)
    console.say(f"{len(cases)} cases are in {out}; next: delineate data check {out} --dataset {name}")


def _print_steps(about: "About", title: str) -> None:
    lines = [title, *(f"  {number}. {step}" for number, step in enumerate(about.steps, start=1))]
    console.out.print("\n".join(lines), markup=False)


@contextmanager
def _bar_of_bytes(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that counts MiB; of an unknown total it shows what is there."""
    with console.progress_bar(f"{title} (MiB)") as update:
        yield lambda done, total: update(done // _MIB, max(done, total) // _MIB)


def _row(name: str, reader: "Reader") -> tuple[str, ...]:
    about = reader.about
    if about is None:
        return name, reader.description, "", "any", ""
    return name, reader.description, _counts(about), about.modality, _way(about)


def _counts(about: "About") -> str:
    if set(about.counts) == {"all"}:
        return str(about.counts["all"])
    return " + ".join(f"{count} {part}" for part, count in about.counts.items())


def _way(about: "About") -> str:
    if not about.downloads:
        return "by hand"
    return "partly" if about.steps else "direct"


def _facts(name: str, reader: "Reader") -> dict[str, Any]:
    """Everything about a data set, for programs."""
    from delineate.data.protocols import protocols_of

    protocols = {
        known: {"summary": protocol.summary, "source": protocol.source, "folds": protocol.folds}
        for known, protocol in protocols_of(name).items()
    }
    about = {} if reader.about is None else asdict(reader.about)
    return {"description": reader.description, **about, "protocols": protocols}


def _lines(name: str, reader: "Reader") -> list[str]:
    """Everything about a data set, for people."""
    from delineate.data.protocols import PROTOCOLS, protocols_of

    about = reader.about
    lines = [f"{name}: {reader.description}"]
    if about is not None:
        # a count of 0 stands for a label whose number the publisher does not tell
        labels = ", ".join(f"{label} {count or ''}".strip() for label, count in about.labels.items())
        lines = [
            f"{name}: {about.title}",
            about.summary,
            "",
            f"Modality:  {about.modality}",
            f"Cases:     {_counts(about)}",
            f"Masks:     {', '.join(about.classes)} ({about.mask_values})",
            f"Labels:    {labels or 'none'}",
            f"Groups:    {about.groups or 'not known'}",
            f"Licence:   {about.licence}",
            f"Cite:      {about.citation}",
            f"Page:      {about.home}",
            "",
            "Layout of the folder:",
            *(f"  {line}" for line in about.layout.splitlines()),
            *_block("Direct downloads (delineate data fetch):", _offers(about)),
            *_block("By hand:", [f"{i}. {step}" for i, step in enumerate(about.steps, start=1)]),
            *_block("Mind:", [f"- {pitfall}" for pitfall in about.pitfalls]),
        ]
    own = protocols_of(name)
    general = [known for known, protocol in PROTOCOLS.items() if protocol.dataset == "any"]
    lines += _block("Protocols:", [f"{known}: {p.summary} ({p.source})" for known, p in own.items()])
    lines += ["", f"Protocols for any data set: {', '.join(general)}"]
    return lines


def _offers(about: "About") -> list[str]:
    return [
        f"{one.name}{f' ({one.size} bytes)' if one.size is not None else ''}: {one.url}"
        for one in about.downloads
    ]


def _block(title: str, lines: list[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []
