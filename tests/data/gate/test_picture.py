"""The contact sheet of suspicious cases."""

import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_data import save

from delineate.checks import InputError
from delineate.data import index
from delineate.data.gate import CheckReport, Finding, check_cases, picture

WIDTH, HEIGHT, MARGIN = 444, 274, 10


def test_pairs_are_side_by_side_with_their_outline(make_folder, tmp_path):
    root = make_folder(3, size=(40, 40))
    for name in ("a00", "a01"):
        save(np.full((40, 40, 3), 100, np.uint8), root / "images" / f"{name}.png")
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    save(mask, root / "masks" / "a00.png")
    report = CheckReport(3, (Finding("error", "duplicate", "same", ("a00", "a01")),))
    assert picture(report, index(root), tmp_path / "sheet.png") == 1
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, 3)
    top, left = MARGIN + 20, MARGIN
    assert sheet[top + 5, left + 5].tolist() == [100, 100, 100]
    assert sheet[top + 5, left + 224 + 5].tolist() == [100, 100, 100]
    cyan = (sheet[top : top + 220, left : left + 220] == [0, 229, 255]).all(axis=2)
    rows, columns = np.nonzero(cyan)
    # 40 pixels become 220, so the square from 10 to 30 has its edge at 55 and 164, one pixel wide.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (55, 164, 55, 164)
    assert cyan.sum() == 4 * 109


def test_kinds_take_turns_and_unreadable_images_are_named(make_folder, tmp_path):
    root = make_folder(6)
    (root / "images" / "a00.png").write_bytes(b"x")
    for name in ("a02", "a03", "a04"):
        shutil.copy(root / "images" / "a01.png", root / "images" / f"{name}.png")
        shutil.copy(root / "masks" / "a01.png", root / "masks" / f"{name}.png")
    cases = index(root)
    report = check_cases(cases)
    assert picture(report, cases, tmp_path / "all.png") == 3  # one unreadable, two pairs of one quadruple
    assert picture(report, cases, tmp_path / "two.png", limit=2) == 2
    assert Image.open(tmp_path / "two.png").size == (2 * (WIDTH + MARGIN) + MARGIN, HEIGHT + 2 * MARGIN)


def test_cases_of_another_set_stand_beside_ours(make_folder, tmp_path):
    ours, others = index(make_folder(2)), index(make_folder(2, name="other"))
    report = check_cases(ours, against=others)
    assert picture(report, ours, tmp_path / "sheet.png", against=others) == 1
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    one, two = sheet[60:180, MARGIN : MARGIN + 220], sheet[60:180, MARGIN + 224 : MARGIN + 444]
    assert np.array_equal(one, two)


def test_nothing_suspicious_writes_nothing(make_folder, tmp_path):
    cases = index(make_folder(3))
    assert picture(check_cases(cases), cases, tmp_path / "sheet.png") == 0
    assert not (tmp_path / "sheet.png").exists()
    with pytest.raises(InputError, match="A picture shows at least 1 finding, got the limit 0"):
        picture(check_cases(cases), cases, tmp_path / "sheet.png", limit=0)
