"""The MedSeg slices: all in one file, their masks in another."""

import numpy as np
from tiny_files import nifti

from delineate.data.readers import covid19_ct_100
from layouts import Expected

READER = covid19_ct_100


def findings(shape):
    """Values 1, 2 and 3 in every slice."""
    values = np.zeros(shape, np.float32)
    for value in (1, 2, 3):
        values[2 * value : 2 * value + 2, 3:7] = value
    return values


def build(root):
    shape = (12, 12, 4)
    grey = np.random.default_rng(1).uniform(-1400, 200, shape).astype(np.float32)
    nifti(grey, root / "tr_im.nii.gz")
    nifti(findings(shape), root / "tr_mask.nii.gz")
    nifti(grey[..., :2], root / "val_im.nii.gz")
    return [Expected(f"tr_im_s{position:03d}") for position in range(4)]
