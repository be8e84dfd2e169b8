"""The small CSV tables beside a data set, read strictly: every fault names the file and the line."""

import csv
import difflib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from delineate.checks import InputError


class Row(NamedTuple):
    """One line of a table."""

    line: int
    """Line number in the file, from 1."""
    cells: tuple[str, ...]
    """The cells of the columns that were asked for, without surrounding blanks, none empty."""


def read_table(path: Path, columns: tuple[str, ...], *, any_second: bool = False) -> list[Row]:
    """Read a comma-separated UTF-8 table with a header; the first column is a key without duplicates.

    Args:
        path: the file; a byte-order mark is allowed, blank lines are skipped.
        columns: names that the header must hold, in any order; other columns are ignored.
        any_second: in a table of two columns the second may have any name.

    Returns:
        The rows in the order of the file, each with the cells of `columns`.

    Raises:
        InputError: not UTF-8, not CSV, a column is missing or named twice, a cell is empty, a row has too few
            or too many cells, or a key comes twice.
    """
    lines = _parse(path)
    if not lines:
        raise InputError(f"{path} is empty; its first line must be {','.join(columns)}.")
    _, header = lines[0]
    if any_second and len(columns) == 2 and len(header) == 2 and header[0] == columns[0]:
        header = list(columns)
    positions = [_position(path, header, column) for column in columns]

    rows: list[Row] = []
    first_line: dict[str, int] = {}
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells where the header has {len(header)}; "
                "quote a cell that holds a comma."
            )
        picked = tuple(cells[position] for position in positions)
        for column, cell in zip(columns, picked, strict=True):
            if not cell:
                raise InputError(f"{path}, line {number}: {column} is empty; fill it in or remove the line.")
        key = picked[0]
        if key in first_line:
            raise InputError(
                f"{path}, line {number}: {columns[0]} {key!r} is already on line {first_line[key]}; "
                "remove one."
            )
        first_line[key] = number
        rows.append(Row(number, picked))
    return rows


def read_column(path: Path, column: str, ids: Collection[str], *, any_second: bool = False) -> dict[str, Row]:
    """Read a table `image_id,<column>` and check that it speaks only of known images.

    Returns:
        image id -> its row, whose cells are (id, value).

    Raises:
        InputError: as `read_table`, or the table names an image that is not in `ids`.
    """
    rows = read_table(path, ("image_id", column), any_second=any_second)
    check_known(path, rows, ids)
    return {row.cells[0]: row for row in rows}


def check_known(path: Path, rows: list[Row], ids: Collection[str]) -> None:
    """Refuse a row about an image that is not there."""
    for row in rows:
        if row.cells[0] not in ids:
            raise InputError(
                f"{path}, line {row.line}: there is no image {row.cells[0]!r} in images/; "
                f"remove the line or add the image.{_closest(row.cells[0], ids)}"
            )


def _parse(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it again as CSV UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"{path} is not a comma-separated table ({error}); save it again as CSV.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    return [(number, cells) for number, cells in lines if any(cells)]


def _position(path: Path, header: list[str], column: str) -> int:
    if header.count(column) == 1:
        return header.index(column)
    if column in header:
        raise InputError(f"{path}: the column {column} comes twice in the header; remove one.")
    remedy = "separate the columns by commas" if len(header) == 1 and ";" in header[0] else "rename or add it"
    shown = ",".join(header)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise InputError(f"{path}: the column {column} is missing from the header {shown!r}; {remedy}.")


def _closest(name: str, ids: Collection[str]) -> str:
    stem = name.rsplit(".", 1)[0]
    if stem in ids:  # the most common slip: the file's name with its ending
        return f" Did you mean {stem!r}?"
    close = difflib.get_close_matches(name, ids, n=1, cutoff=0.8)
    return f" Did you mean {close[0]!r}?" if close else ""
