"""Tiny workbooks and volumes for tests, in the formats that publishers use."""

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import nibabel
import numpy as np

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(path: Path, rows: list[list[str | int | float]]) -> Path:
    """Write an .xlsx file as Excel does: texts in a shared table, numbers in the cells, no empty cells."""
    texts: list[str] = []
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for column, value in enumerate(row):
            place = f"{chr(ord('A') + column)}{number}"
            if isinstance(value, str):
                texts.append(value)
                cells.append(f'<c r="{place}" t="s"><v>{len(texts) - 1}</v></c>')
            else:
                cells.append(f'<c r="{place}"><v>{value}</v></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    strings = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f"{head}<Types/>")
        archive.writestr("xl/sharedStrings.xml", f'{head}<sst xmlns="{_MAIN}">{strings}</sst>')
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'{head}<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
        )
    return path


def nifti(values: np.ndarray, path: Path, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Path:
    """Write a volume whose axes run to the right, the front and the head; `spacing` in millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])).to_filename(path)
    return path
