"""Kvasir-SEG as kvasir-seg.zip unpacks: JPEG images, JPEG masks, the boxes' JSON beside them."""

from pathlib import Path

import numpy as np
from tiny_data import disc, picture, save, write

from delineate.data.readers import kvasir_seg
from layouts import Expected

READER = kvasir_seg

IDS = ("cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "ck2395w2mb4vu07480otsu6tw")


def build(root: Path) -> list[Expected]:
    for number, case_id in enumerate(IDS):
        save(picture(number), root / "Kvasir-SEG" / "images" / f"{case_id}.jpg", quality=90)
        # The publisher's masks are colour JPEG files.
        mask = np.repeat(disc(number)[..., None], 3, axis=2)
        save(mask, root / "Kvasir-SEG" / "masks" / f"{case_id}.jpg", quality=90)
    write(root / "Kvasir-SEG" / "kavsir_bboxes.json", "{}")
    return [Expected(case_id) for case_id in IDS]
