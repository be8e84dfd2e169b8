"""CVC-ColonDB as PraNet's testing data unpack."""

from pathlib import Path

from tiny_data import disc, picture, save

from delineate.data.readers import cvc_colondb
from layouts import Expected

READER = cvc_colondb

FRAMES = (1, 380)


def build(root: Path) -> list[Expected]:
    folder = root / "TestDataset" / "CVC-ColonDB"
    for frame in FRAMES:
        save(picture(frame), folder / "images" / f"{frame}.png")
        save(disc(frame), folder / "masks" / f"{frame}.png")
    return [Expected(str(frame), "test") for frame in FRAMES]
