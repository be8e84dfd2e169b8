"""CVC-ColonDB as its publisher offers it: frames, masks, regions and contours in one folder."""

from pathlib import Path
from types import SimpleNamespace

from tiny_data import disc, picture, save

from delineate.data.readers import cvc_colondb
from layouts import Expected

READER = SimpleNamespace(ABOUT=cvc_colondb.ABOUT_ORIGINAL, index=cvc_colondb.index_original)
FRAMES = {1: "00", 38: "00", 39: "01", 97: "03", 148: "04", 149: "05-08", 220: "05-08", 221: "09", 300: "12"}
"""Frame -> clip."""


def build(root: Path) -> list[Expected]:
    folder = root / "CVC-ColonDB" / "CVC-ColonDB"
    for frame in FRAMES:
        save(picture(frame), folder / f"{frame}.bmp")
        for kind in ("p", "s", "c", "cp"):
            save(disc(frame), folder / f"{kind}{frame}.bmp")
    return [Expected(str(frame), group=f"clip-{clip}") for frame, clip in FRAMES.items()]
