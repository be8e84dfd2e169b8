"""What the command line prints: tables, progress bars, one-sentence errors. Nothing else prints."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lightning
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from delineate.processes import place_from_environment

_WIDTH = None if sys.stdout.isatty() else 120  # Rich's own choice for a pipe, 80, folds most tables
out = Console(highlight=False, soft_wrap=True, width=_WIDTH)
"""Results."""
err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress and errors, so that results can be piped."""


def quieten_libraries() -> None:
    """Keep hints that libraries print for their developers out of this process's output."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*|torch\..*|timm\..*|monai\..*")


def let_the_first_talk() -> bool:
    """Of several processes that do one job, let only the first print, and the others their own errors.

    Returns:
        Whether this is the first, or alone.
    """
    first = place_from_environment().rank == 0
    out.quiet = err.quiet = not first
    return first


def print_json(content: Any) -> None:
    """Print JSON for programs: no colour, no wrapping."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the first column is left-aligned, figures are right-aligned."""
    table = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(
            isinstance(row[i], int | float) or _is_figure(str(row[i])) for row in rows
        )
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def print_error(message: str) -> None:
    """Print one sentence on the error stream."""
    err.quiet = False
    err.print(f"[bold red]Error:[/] {_escape(message)}")


def say(message: str) -> None:
    """Print a line about what is going on, on the error stream."""
    err.print(_escape(message))


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; the function it gives takes (done, all)."""
    with _progress() as progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update


class TrainingProgress(lightning.Callback):
    """A bar over the batches of an epoch, and a line of figures per finished epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._progress = _progress()
        self._progress.start()
        title = f"epoch {trainer.current_epoch + 1}/{self.epochs}"
        self._task = self._progress.add_task(title, total=int(trainer.num_training_batches))

    def on_train_batch_end(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.advance(self._task)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._stop()

    def on_exception(self, *_: object) -> None:
        self._stop()

    def print_row(self, row: Mapping[str, float]) -> None:
        """Print the figures of an epoch in one line."""
        shown = {name: value for name, value in row.items() if name not in ("epoch", "seconds")}
        figures = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        say(f"epoch {row['epoch']:.0f}/{self.epochs}  {figures}  ({row['seconds']:.1f} s)")

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


def _is_figure(text: str) -> bool:
    return text in ("", "-") or text[:1].isdigit() or text[:2].lstrip("-")[:1].isdigit()


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
