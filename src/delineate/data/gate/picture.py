"""A contact sheet of suspicious cases, because whether a finding is a fault is best seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.gate.report import CheckReport, Finding, Level
from delineate.data.images import read_case_image, read_case_mask
from delineate.files import atomic_path

_TILE = 220  # pixels of one picture on the sheet
_LINE = 16  # pixels of a line of text
_MARGIN = 10
_ACROSS = 3  # findings in a row
_SHOWN = 2  # cases of a finding
_INK = {"error": "#b00020", "warning": "#8a5a00", "info": "#404040"}
_OUTLINES = ("#00e5ff", "#ffd600", "#ff4081", "#76ff03", "#e040fb", "#ff9100")  # by class
_UNSHOWN = {
    "mask-missing",
    "label-missing",
    "group-missing",
    "split-missing",
    "near-duplicates",
    "mask-empty",
}


def picture(
    report: CheckReport, cases: Sequence[Case], path: Path, limit: int = 24, against: Sequence[Case] = ()
) -> int:
    """Draw suspicious cases as PNG: pairs side by side, with mask outline, ids and the name of the finding.

    Kinds of findings take turns, errors first, so that a frequent kind does not crowd out a rare one.

    Args:
        report: what `check_cases` found.
        cases: the cases that were checked.
        path: the PNG file to write.
        limit: most findings shown.
        against: the other data set, if one was compared.

    Returns:
        Number of findings drawn; with 0 nothing is written.

    Raises:
        InputError: `limit` is below 1, or the file cannot be written.
    """
    if limit < 1:
        raise InputError(f"A picture shows at least 1 finding, got the limit {limit}.")
    known, others = {case.id: case for case in cases}, {case.id: case for case in against}
    chosen = _chosen(report, limit)
    if not chosen:
        return 0
    width = _SHOWN * _TILE + 4
    height = _TILE + 3 * _LINE + 6
    across = min(_ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    sheet = Image.new(
        "RGB", (across * (width + _MARGIN) + _MARGIN, down * (height + _MARGIN) + _MARGIN), "white"
    )
    for number, (finding, ids) in enumerate(chosen):
        left = _MARGIN + number % across * (width + _MARGIN)
        top = _MARGIN + number // across * (height + _MARGIN)
        shown = [known.get(case_id) for case_id in ids]
        if finding.other_ids:
            shown = [known.get(finding.ids[0]), others.get(finding.other_ids[0])]
        _draw(sheet, (left, top), finding, [case for case in shown if case is not None])
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")
    return len(chosen)


def _chosen(report: CheckReport, limit: int) -> list[tuple[Finding, tuple[str, ...]]]:
    """Findings with the cases to show, at most `limit`; a long list of cases becomes several pairs."""
    queues: dict[tuple[Level, str], list[tuple[Finding, tuple[str, ...]]]] = {}
    for finding in report.findings:
        if finding.code in _UNSHOWN or not finding.ids:
            continue
        queue = queues.setdefault((finding.level, finding.code), [])
        for start in range(0, len(finding.ids), _SHOWN):
            if len(queue) < limit:
                queue.append((finding, finding.ids[start : start + _SHOWN]))
    chosen: list[tuple[tuple[Level, str], int]] = []
    for turn in range(limit):
        chosen += [(kind, turn) for kind, queue in queues.items() if turn < len(queue)]
    order = list(queues)
    taken = sorted(chosen[:limit], key=lambda item: (order.index(item[0]), item[1]))
    return [queues[kind][turn] for kind, turn in taken]


def _draw(sheet: Image.Image, corner: tuple[int, int], finding: Finding, cases: Sequence[Case]) -> None:
    left, top = corner
    draw = ImageDraw.Draw(sheet)
    bold, plain = ImageFont.load_default(13), ImageFont.load_default(11)
    draw.text(corner, f"{finding.level}: {finding.code}", fill=_INK[finding.level], font=bold)
    for number, case in enumerate(cases):
        x, y = left + number * (_TILE + 4), top + _LINE + 4
        draw.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), fill="#e8e8e8")
        tile = _tile(case)
        if tile is None:
            draw.text((x + 8, y + 8), "cannot be read", fill="black", font=plain)
        else:
            sheet.paste(tile, (x + (_TILE - tile.width) // 2, y + (_TILE - tile.height) // 2))
        about = ", ".join(part for part in (case.label, case.split) if part)
        for line, text in enumerate((case.id, about)):
            where = (x, y + _TILE + 2 + line * (_LINE - 2))
            draw.text(where, _fitted(draw, text, plain), fill="black", font=plain)


def _tile(case: Case) -> Image.Image | None:
    """The image with its mask's outline, longer side `_TILE`; None when it cannot be read."""
    try:
        image = Image.fromarray(read_case_image(case))
    except InputError:
        return None
    scale = _TILE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    tile = np.array(image.resize(size, Image.Resampling.BILINEAR))
    try:
        mask = None if case.mask is None else read_case_mask(case)
    except InputError:
        mask = None
    if mask is not None:
        indices = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        for index in range(1, len(case.encoding.classes) + 1):
            colour = _OUTLINES[(index - 1) % len(_OUTLINES)]
            tile[_outline(indices == index)] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return Image.fromarray(tile)


def _outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return region & ~binary_erosion(region)


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The text, cut in the middle where it is wider than a picture: the ends of ids tell them apart."""
    keep = len(text)
    shown = text
    while draw.textlength(shown, font=font) > _TILE and keep > 4:
        keep -= 1
        shown = f"{text[: keep // 2]}…{text[len(text) - (keep - keep // 2) :]}"
    return shown
