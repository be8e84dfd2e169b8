"""CVC-ClinicDB as the publisher's archive unpacks: numbered TIFF files in folders with a blank."""

from pathlib import Path

from tiny_data import disc, picture, save, write

from delineate.data.readers import cvc_clinicdb
from layouts import Expected

READER = cvc_clinicdb

FRAMES = {1: 1, 25: 1, 26: 2, 205: 10, 206: 11, 612: 29}
"""Frame -> sequence, from the publisher's table."""


def build(root: Path) -> list[Expected]:
    for frame in FRAMES:
        save(picture(frame), root / "CVC-ClinicDB" / "Original" / f"{frame}.tif")
        save(disc(frame), root / "CVC-ClinicDB" / "Ground Truth" / f"{frame}.tif")
    write(root / "CVC-ClinicDB" / "README.txt", "CVC-ClinicDB")
    return [Expected(str(frame), group=f"sequence-{sequence:02}") for frame, sequence in FRAMES.items()]
