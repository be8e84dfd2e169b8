"""Commands for the corrections that `delineate serve` stores."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson, Reader

corrections_app = typer.Typer(
    help="What people corrected in the web page: list it, train on it.", no_args_is_help=True
)
StoreAddress = Annotated[
    str, typer.Argument(help="SQLite file that `delineate serve` writes, or a postgresql:// address.")
]


@corrections_app.command("list")
def listing(
    store: StoreAddress,
    limit: Annotated[int, typer.Option(help="Most rows, the newest first.")] = 20,
    author: Annotated[str | None, typer.Option(help="Only this person's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List corrections, the newest first.

    Example: delineate corrections list runs/demo/corrections.db
    """
    from delineate.web.store import CorrectionStore

    with CorrectionStore(store, must_exist=True) as found:
        rows = found.list(limit=limit, author=author)
    if as_json:
        console.print_json(rows)
        return
    columns = ("id", "stored_at", "author", "filename", "model", "label", "seconds")
    shown = [tuple("-" if row[name] is None else str(row[name]) for name in columns) for row in rows]
    console.print_table(f"{len(rows)} correction(s)", columns, shown)


@corrections_app.command("export")
def export(
    store: StoreAddress,
    out: Annotated[Path, typer.Argument(help="Folder of the new data set.")],
    data: Annotated[
        Path | None, typer.Option("--with", help="A data set to take along; its training masks are replaced.")
    ] = None,
    dataset: Reader = "folder",
    model: Annotated[str | None, typer.Option(help="Only corrections of this model.")] = None,
    author: Annotated[str | None, typer.Option(help="Only this person's.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from this moment on, for example 2026-11-01 (UTC).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write corrections as a data set to train on.

    Example: delineate corrections export runs/demo/corrections.db corrected --with phantom
    """
    from delineate.data.readers import index
    from delineate.web.store import CorrectionStore
    from delineate.web.store.export import export_corrections

    cases = () if data is None else index(data, dataset)
    with CorrectionStore(store, must_exist=True) as found, console.progress_bar("writing") as update:
        done = export_corrections(
            found, out, base=cases, model=model, author=author, since=_moment(since), progress=update
        )
    if as_json:
        console.print_json({"out": str(out), **vars(done)})
        return
    console.say(
        f"{out}: {done.cases} images, {done.added} new and {done.replaced} with a corrected mask or label"
    )
    if done.kept_out:
        console.say(f"{done.kept_out} corrected image(s) validate or test; they stay as they were")
    if done.superseded:
        console.say(f"{done.superseded} correction(s) have a newer one of the same image")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--since must be a date such as 2026-11-01 or 2026-11-01T08:00, got {text!r}."
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
