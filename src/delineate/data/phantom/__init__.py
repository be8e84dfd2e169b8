"""Phantom dermoscopy images: a synthetic data set whose truth is known.

Pictures of pigmented skin lesions with masks, labels and the parameters they were drawn from, for
demonstrations, tests and studies of methods. Benign and malignant lesions differ in the ABCD signs, whose
distributions overlap: asymmetry, border, colour and diameter (Friedman, Rigel and Kopf, Early detection of
malignant melanoma, CA Cancer J Clin 1985;35:130-151).
"""

from delineate.data.phantom.anatomy import (
    FIELD_OF_VIEW_MM,
    LABELS,
    Features,
    LesionParameters,
    PhantomOptions,
    Skin,
    Spread,
    sample_lesion,
    sample_skin,
)
from delineate.data.phantom.picture import render_phantom
from delineate.data.phantom.write import PhantomReport, write_phantom

__all__ = [
    "FIELD_OF_VIEW_MM",
    "LABELS",
    "Features",
    "LesionParameters",
    "PhantomOptions",
    "PhantomReport",
    "Skin",
    "Spread",
    "render_phantom",
    "sample_lesion",
    "sample_skin",
    "write_phantom",
]
