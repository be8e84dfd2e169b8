"""COVID-19-CT-Seg: one folder per archive, with the same names in each."""

import numpy as np
from tiny_files import nifti

from delineate.data.readers import covid19_ct_20
from layouts import Expected

READER = covid19_ct_20

SLICES = {"coronacases_001": 3, "radiopaedia_10_85902_1": 2, "radiopaedia_10_85902_3": 2}


def build(root):
    expected = []
    for number, (name, slices) in enumerate(SLICES.items()):
        random = np.random.default_rng(number)
        shape = (12, 10, slices)
        hounsfield = name.startswith("coronacases")
        grey = random.integers(-1300, 900, shape) if hounsfield else random.integers(0, 256, shape)
        infection = np.zeros(shape, np.uint8)
        infection[3:6, 2:7, :-1] = 1  # the last slice is healthy
        for folder, values in (
            ("COVID-19-CT-Seg_20cases", grey.astype(np.int16)),
            ("Infection_Mask", infection),
            ("Lung_Mask", infection * 2),
            ("Lung_and_Infection_Mask", infection * 3),
        ):
            nifti(values, root / folder / f"{name}.nii.gz", (0.7, 0.8, 5.0))
        group = name if hounsfield else "radiopaedia_10"
        for position in range(slices):
            indices = {0} if position == slices - 1 else {0, 1}
            expected.append(Expected(f"{name}_s{position:03d}", group=group, indices=frozenset(indices)))
    return expected
