"""PH2 as its archive unpacks: a folder for each image, masks as BMP of 1 or 8 bits, colour regions beside."""

from pathlib import Path

from tiny_data import disc, picture, save, write

from delineate.data.readers import ph2
from layouts import Expected

READER = ph2
DIAGNOSES = {"IMD003": 0, "IMD002": 1, "IMD058": 2}
TABLE = """\
||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network ||     Colors ||
|| IMD003 ||                        ||                  0 ||         0 |              T  ||          4 ||
|| IMD002 ||                        ||                  1 ||         1 |              AT ||       3  4 ||
|| IMD058 ||               Melanoma ||                  2 ||         2 |              AT || 2  3  4  6 ||

Legends for Clinical Diagnosis
0 - Common Nevus
1 - Atypical Nevus
2 - Melanoma
"""


def build(root: Path) -> list[Expected]:
    for case_id in DIAGNOSES:
        number = int(case_id[3:])
        place = root / "PH2 Dataset images" / case_id
        mask = disc(number) > 0 if number % 2 else disc(number)  # 1 bit or 8 bits
        save(picture(number), place / f"{case_id}_Dermoscopic_Image" / f"{case_id}.bmp")
        save(mask, place / f"{case_id}_lesion" / f"{case_id}_lesion.bmp")
        save(disc(number + 1) > 0, place / f"{case_id}_roi" / f"{case_id}_R1_Label4.bmp")
    write(root / "PH2_dataset.txt", TABLE)
    (root / "PH2_dataset.xlsx").write_bytes(b"PK")
    return [
        Expected("IMD002", None, "nevus"),
        Expected("IMD003", None, "nevus"),
        Expected("IMD058", None, "melanoma"),
    ]
