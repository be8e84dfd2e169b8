"""The MedSeg volumes: a folder of images, one of masks, one of lung masks."""

from types import SimpleNamespace

import numpy as np
from tiny_files import nifti

from delineate.data.readers import covid19_ct_100
from layouts import Expected
from layouts.covid19_ct_100 import findings

READER = SimpleNamespace(ABOUT=covid19_ct_100.ABOUT_VOLUMES, index=covid19_ct_100.index_volumes)


def build(root):
    expected = []
    for name, slices in (("1", 2), ("2", 3)):
        shape = (12, 10, slices)
        nifti(np.random.default_rng(int(name)).uniform(-1400, 200, shape), root / "rp_im" / f"{name}.nii.gz")
        nifti(findings(shape), root / "rp_msk" / f"{name}.nii.gz")
        nifti(np.ones(shape, np.uint8), root / "rp_lung_msk" / f"{name}.nii.gz")
        expected += [Expected(f"rp_{name}_s{position:03d}", group=f"rp_{name}") for position in range(slices)]
    return expected
