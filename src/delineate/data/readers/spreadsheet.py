"""The text of small .xlsx tables, in which some publishers put their labels.

Nothing but the cells of the first sheet is read; that takes a page of code and no further package.
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from delineate.checks import InputError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_MOST_BYTES = 16 * 2**20  # of one member, decompressed: a label table has thousands of cells, not millions
_LETTERS = re.compile(r"[A-Z]+")


def read_sheet(path: Path) -> list[list[str]]:
    """Read the first sheet of a workbook as text.

    Args:
        path: an Excel file of the years since 2007 (.xlsx).

    Returns:
        The rows that hold anything; cells that are not there are "". Numbers read as Excel stores them ("1",
        "0.5"), formulas as their stored result.

    Raises:
        InputError: the file is missing, damaged, too large for a label table, or no workbook.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            shared = "xl/sharedStrings.xml"
            strings = [_text(item) for item in _parse(archive, shared)] if shared in names else []
            sheets = (name for name in names if re.fullmatch(r"xl/worksheets/sheet[0-9]+\.xml", name))
            first = min(sheets, key=lambda name: (len(name), name))
            rows = _parse(archive, first).iter(f"{_MAIN}row")
            return [cells for row in rows if any(cells := _cells(row, strings))]
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        EOFError,
        zipfile.BadZipFile,
        ElementTree.ParseError,
    ) as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{path} does not exist; check the path.") from error
        raise InputError(
            f"{path} is damaged or no .xlsx workbook; unpack the publisher's archive again."
        ) from error


def read_columns(
    path: Path, key: str, columns: tuple[str, ...], *, tidy: Callable[[str], str] = str.strip
) -> dict[str, tuple[str, ...]]:
    """Read columns of a workbook whose header is in any row of the first sheet.

    Args:
        path: the workbook.
        key: header of the column that names the rows.
        columns: headers of the columns asked for.
        tidy: applied to each key.

    Returns:
        key -> the cells of `columns`, stripped; rows without a key are left out.

    Raises:
        InputError: as `read_sheet`; there is no row with all these headers, or a key comes twice.
    """
    rows = read_sheet(path)
    wanted = (key, *columns)
    stripped = [[cell.strip() for cell in row] for row in rows]
    start = next((i for i, row in enumerate(stripped) if all(name in row for name in wanted)), None)
    if start is None:
        raise InputError(
            f"{path}: the first sheet has no row with the headers {', '.join(wanted)}; restore the file."
        )
    positions = [stripped[start].index(name) for name in wanted]
    table: dict[str, tuple[str, ...]] = {}
    for row in stripped[start + 1 :]:
        name, *cells = (row[position] if position < len(row) else "" for position in positions)
        name = tidy(name)
        if not name:
            continue
        if name in table:
            raise InputError(f"{path}: {key} {name!r} comes twice; restore the file.")
        table[name] = tuple(cells)
    return table


def _parse(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError("too large")
    with archive.open(name) as stream:
        text = stream.read(_MOST_BYTES + 1)
    if (
        len(text) > _MOST_BYTES or b"<!DOCTYPE" in text
    ):  # workbooks have none; entities can grow without bound
        raise ValueError("not a plain sheet")
    return ElementTree.fromstring(text)


def _cells(row: ElementTree.Element, strings: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        letters = _LETTERS.match(cell.get("r", ""))
        column = _number(letters.group()) if letters else len(cells)
        if column < len(cells) or column > 16_384:
            raise ValueError("cells out of order")
        cells += [""] * (column - len(cells))
        value = cell.find(f"{_MAIN}v")
        stored = (value.text or "") if value is not None else ""
        kind = cell.get("t")
        if kind == "s":
            stored = strings[int(stored)]
        elif kind == "inlineStr":
            stored = _text(cell)
        cells.append(stored)
    return cells


def _text(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_MAIN}t"))


def _number(letters: str) -> int:
    """Position, from 0, of a column such as "A" or "AB"."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
