"""PNS-Net's data: clips of CVC-612 in three parts."""

from pathlib import Path

from delineate.data.readers import cvc_612_t
from layouts import Expected, cvc_300_tv

READER = cvc_612_t
remove_part = cvc_300_tv.remove_part


def build(root: Path) -> list[Expected]:
    return (
        cvc_300_tv.train_clips(root, "CVC-ClinicDB-612", {"1": (26, 50), "9": (205,)})
        + cvc_300_tv.test_clips(root, "CVC-ClinicDB-612-Valid", {"2": (51,)}, "val")
        + cvc_300_tv.test_clips(root, "CVC-ClinicDB-612-Test", {"0": (1, 25), "24": (528,)}, "test")
    )
