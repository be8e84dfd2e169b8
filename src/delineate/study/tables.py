"""Tables of results as CSV, Markdown and LaTeX, from one description.

The best value of a column is bold. A value that cannot be told apart from it is a tie: underlined in LaTeX
and HTML, marked "≈" in Markdown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from delineate.files import atomic_path, write_text
from delineate.study.page import large, number, probability

Mark = Literal["best", "tie", ""]
Style = Literal["score", "difference", "p", "text", "count", "large", "number"]


@dataclass(frozen=True)
class Cell:
    """One entry of a table."""

    value: float | str | None
    """The number; a word in a column of words; None when there is none."""
    sd: float | None = None
    """Standard deviation over runs."""
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end."""
    mark: Mark = ""
    """best: the best of its column; tie: not told apart from the best."""
    unit: str = ""
    """When the rows of a column differ in their units."""


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    better: Literal["up", "down", "none"] = "none"
    """Which direction is better."""
    unit: str = ""
    """As in `METRICS`: "" for a plain number, "px", "mm"."""
    style: Style = "score"
    """How its numbers are written."""

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    heads: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Written:
    """A cell as text."""

    text: str
    sd: str
    """"± 0.010", or ""."""
    interval: str
    """"0.790 – 0.830", or ""."""
    mark: Mark
    word: bool
    """Whether it stands in a column of words."""
    value: float | None
    """The number, to tint a cell with."""


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    name: str
    """Of its files."""
    caption: str
    """A sentence."""
    heads: tuple[str, ...]
    """Titles of the columns that name the rows."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Sentences beneath it."""

    @property
    def marked(self) -> bool:
        """Whether some value is the best of its column."""
        return any(cell.mark for row in self.rows for cell in row.cells)

    @property
    def tied(self) -> bool:
        """Whether some value ties with the best."""
        return any(cell.mark == "tie" for row in self.rows for cell in row.cells)

    def to_frame(self) -> pd.DataFrame:
        """Return plain numbers: `<column>`, and `_sd`, `_low`, `_high`, `_mark` of it where a row has one."""
        found: dict[str, list[object]] = {
            head: [row.heads[place] for row in self.rows] for place, head in enumerate(self.heads)
        }
        for place, column in enumerate(self.columns):
            cells = [row.cells[place] for row in self.rows]
            found[column.name] = [cell.value for cell in cells]
            for part in ("sd", "low", "high", "mark"):
                values = [getattr(cell, part) for cell in cells]
                if any(value not in (None, "") for value in values):
                    found[f"{column.name}_{part}"] = values
        return pd.DataFrame(found)

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown, with caption and notes."""
        arrows = {"up": " ↑", "down": " ↓", "none": ""}
        titles = [column.title + arrows[column.better] for column in self.columns]
        lines = [
            f"**{_escaped_markdown(self.caption)}**",
            "",
            _line(_escaped_markdown(title) for title in (*self.heads, *titles)),
            _line(["---"] * len(self.heads) + ["---" if c.style == "text" else "---:" for c in self.columns]),
        ]
        for row in self.rows:
            cells = [_markdown(cell, column) for cell, column in zip(row.cells, self.columns, strict=True)]
            lines.append(_line([*map(_escaped_markdown, row.heads), *cells]))
        notes = [*map(_escaped_markdown, self.notes), *self._key("**bold**", "≈")]
        return "\n".join([*lines, *(["", " ".join(notes)] if notes else [])]) + "\n"

    def to_latex(self) -> str:
        """Return a `table` environment that needs the package booktabs."""
        arrows = {"up": r" $\uparrow$", "down": r" $\downarrow$", "none": ""}
        titles = [_escaped_latex(column.title) + arrows[column.better] for column in self.columns]
        words = ["l" if column.style == "text" else "r" for column in self.columns]
        notes = [
            *map(_escaped_latex, self.notes),
            *self._key(r"\textbf{bold}", r"\underline{underlined}"),
        ]
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped_latex(self.caption)}}}",
            rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{'l' * len(self.heads)}{''.join(words)}}}",
            r"\toprule",
            " & ".join([*map(_escaped_latex, self.heads), *titles]) + r" \\",
            r"\midrule",
            *(
                " & ".join(
                    [
                        *map(_escaped_latex, row.heads),
                        *(_latex(cell, column) for cell, column in zip(row.cells, self.columns, strict=True)),
                    ]
                )
                + r" \\"
                for row in self.rows
            ),
            r"\bottomrule",
            r"\end{tabular}",
            *([rf"\par\smallskip\footnotesize {' '.join(notes)}"] if notes else []),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def lines(self) -> list[tuple[tuple[str, ...], list[Written]]]:
        """Return the heads and the written cells of each row, for a page."""
        return [
            (
                row.heads,
                [_written(cell, column) for cell, column in zip(row.cells, self.columns, strict=True)],
            )
            for row in self.rows
        ]

    def _key(self, best: str, tie: str) -> list[str]:
        key = [f"{best}: best of its column."] if self.marked else []
        return key + ([f"{tie}: a tie with the best."] if self.tied else [])


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Write each table as `<name>.csv`, `.md` and `.tex` into `folder`, each file whole or not at all."""
    for table in tables:
        with atomic_path(folder / f"{table.name}.csv") as temporary:
            table.to_frame().to_csv(temporary, index=False, float_format="%.8g")
        write_text(folder / f"{table.name}.md", table.to_markdown())
        write_text(folder / f"{table.name}.tex", table.to_latex())


def written(cell: Cell, column: Column) -> str:
    """Write the number of a cell without its interval: "0.812", "+0.013", "< 0.001"; "–" for none."""
    value = cell.value
    if isinstance(value, str):
        return value
    if column.style == "p":
        return probability(value)
    if column.style == "large":
        return large(value)
    if column.style in ("count", "number") and value is not None:
        return f"{value:.0f}" if column.style == "count" else f"{value:.1f}"
    text = _number(value, cell, column)
    return f"+{text}" if column.style == "difference" and value is not None and value > 0 else text


def _number(value: float | None, cell: Cell, column: Column) -> str:
    return number(value, cell.unit or column.unit)


def _written(cell: Cell, column: Column) -> Written:
    interval = ""
    if cell.low is not None and cell.high is not None:
        between = " to " if cell.low < 0 else " – "
        interval = f"{_number(cell.low, cell, column)}{between}{_number(cell.high, cell, column)}"
    text = written(cell, column)
    return Written(
        text=text if isinstance(cell.value, str) else text.replace("-", "−"),
        sd="" if cell.sd is None else f"± {_number(cell.sd, cell, column)}",
        interval=interval.replace("-", "−"),
        mark=cell.mark,
        word=column.style == "text",
        value=None if isinstance(cell.value, str) else cell.value,
    )


def _line(parts: Iterable[str]) -> str:
    return f"| {' | '.join(parts)} |"


def _markdown(cell: Cell, column: Column) -> str:
    text = _escaped_markdown(written(cell, column))
    if cell.sd is not None:
        text += f" ± {_number(cell.sd, cell, column)}"
    text = f"**{text}**" if cell.mark == "best" else f"{text} ≈" if cell.mark == "tie" else text
    if cell.low is not None and cell.high is not None:
        text += f" ({_number(cell.low, cell, column)} to {_number(cell.high, cell, column)})"
    return text


def _latex(cell: Cell, column: Column) -> str:
    text = written(cell, column)
    minus = not isinstance(cell.value, str) and text.startswith("-")
    text = f"$-${text[1:]}" if minus else _escaped_latex(text)
    text = rf"\textbf{{{text}}}" if cell.mark == "best" else text
    text = rf"\underline{{{text}}}" if cell.mark == "tie" else text
    if cell.sd is not None:
        text += rf" $\pm$ {_number(cell.sd, cell, column)}"
    if cell.low is not None and cell.high is not None:
        ends = f"{_number(cell.low, cell, column)}, {_number(cell.high, cell, column)}".replace("-", "$-$")
        text += rf" {{\scriptsize [{ends}]}}"
    return text


_LATEX: dict[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#",
    "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
    "–": "--", "±": r"$\pm$", "≈": r"$\approx$", "−": "$-$",
}  # fmt: skip


def _escaped_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _escaped_markdown(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_|<>[]" else sign for sign in text).replace("\n", " ")
