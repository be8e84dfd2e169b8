"""Tiny data sets on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_data import disc, picture, save, write

Folder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> Folder:
    """A plain folder of `count` cases named a00, a01, ... with the tables given by keyword."""

    def make(count: int = 4, masks: bool = True, name: str = "set", size=(24, 32), **tables: str) -> Path:
        root = tmp_path / name
        for number in range(count):
            save(picture(number, size), root / "images" / f"a{number:02}.png")
            if masks:
                save(disc(number, size), root / "masks" / f"a{number:02}.png")
        for table, text in tables.items():
            write(root / f"{table}.csv", text)
        return root

    return make
