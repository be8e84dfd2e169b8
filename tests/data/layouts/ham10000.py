"""HAM10000 as its archives unpack: two folders of images, one of masks, a mask with a reversed palette."""

from pathlib import Path

import numpy as np
from PIL import Image
from tiny_data import disc, picture, save, write

from delineate.data.readers import ham10000
from layouts import Expected

READER = ham10000
IMAGES = {"ISIC_0024306": 1, "ISIC_0024307": 1, "ISIC_0029306": 2}  # image -> part
METADATA = """\
lesion_id,image_id,dx,dx_type,age,sex,localization,dataset
HAM_0000550,ISIC_0024306,nv,follow_up,45.0,male,trunk,vidir_molemax
HAM_0000550,ISIC_0024307,nv,follow_up,,unknown,"trunk, left",vidir_molemax
HAM_0003577,ISIC_0029306,mel,histo,50.0,male,lower extremity,rosendahl
"""


def build(root: Path) -> list[Expected]:
    for case_id, part in IMAGES.items():
        number = int(case_id[5:])
        save(picture(number), root / f"HAM10000_images_part_{part}" / f"{case_id}.jpg")
        mask = root / "HAM10000_segmentations_lesion_tschandl" / f"{case_id}_segmentation.png"
        save(disc(number), mask)
    reversed_palette = Image.fromarray((disc(29306) == 0).astype(np.uint8), mode="P")
    reversed_palette.putpalette([255, 255, 255, 0, 0, 0])
    reversed_palette.save(mask)
    write(root / "HAM10000_metadata.csv", METADATA)
    return [
        Expected("ISIC_0024306", None, "nv", "HAM_0000550"),
        Expected("ISIC_0024307", None, "nv", "HAM_0000550"),
        Expected("ISIC_0029306", None, "mel", "HAM_0003577"),
    ]
