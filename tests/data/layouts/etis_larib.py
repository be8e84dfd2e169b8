"""ETIS-LaribPolypDB as the publisher's archive unpacks: numbered TIFF files, masks with the letter p."""

from pathlib import Path

from tiny_data import disc, picture, save

from delineate.data.readers import etis_larib
from layouts import Expected

READER = etis_larib

FRAMES = (1, 2, 196)


def build(root: Path) -> list[Expected]:
    for frame in FRAMES:
        save(picture(frame), root / "ETIS-LaribPolypDB" / "ETIS-LaribPolypDB" / f"{frame}.tif")
        save(disc(frame), root / "ETIS-LaribPolypDB" / "Ground Truth" / f"p{frame}.tif")
    return [Expected(str(frame), "test") for frame in FRAMES]
