"""PNS-Net's data: clips of CVC-612, of which the validation clips are the test set."""

from pathlib import Path

from delineate.data.readers import cvc_612_v
from layouts import Expected, cvc_300_tv

READER = cvc_612_v
remove_part = cvc_300_tv.remove_part


def build(root: Path) -> list[Expected]:
    cvc_300_tv.test_clips(root, "CVC-ClinicDB-612-Test", {"0": (1,)}, "test")
    return cvc_300_tv.train_clips(
        root, "CVC-ClinicDB-612", {"1": (26, 50), "9": (205,)}
    ) + cvc_300_tv.test_clips(root, "CVC-ClinicDB-612-Valid", {"2": (51, 67), "17": (383,)}, "test")
