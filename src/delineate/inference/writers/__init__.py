"""The formats in which predictions are written, by name."""

from delineate.inference.writers.base import Output, Writer, WriterSpec
from delineate.inference.writers.coco import CocoWriter
from delineate.inference.writers.dicom_writer import DicomSegWriter, FractionalDicomSegWriter
from delineate.inference.writers.geojson import GeoJsonWriter
from delineate.inference.writers.nifti import NiftiWriter
from delineate.inference.writers.pictures import (
    MaskWriter,
    OverlayWriter,
    ProbabilityWriter,
    UncertaintyWriter,
)

__all__ = ["WRITERS", "Output", "Writer", "WriterSpec"]

WRITERS: dict[str, WriterSpec] = {
    "masks": WriterSpec(
        "PNG: 0 and 255 for one class, the class index for several", MaskWriter, {"masks": (".png",)}
    ),
    "overlays": WriterSpec(
        "PNG: the outline of each class on the image", OverlayWriter, {"overlays": (".png",)}
    ),
    "probabilities": WriterSpec(
        "16-bit PNG for one class (65535 means 1), .npz for several",
        ProbabilityWriter,
        {"probabilities": (".png", ".npz")},
    ),
    "uncertainty": WriterSpec(
        "16-bit PNG: entropy, and variance where several predictions were averaged",
        UncertaintyWriter,
        {"uncertainty": (".png",), "variance": (".png",)},
        needs_uncertainty=True,
    ),
    "geojson": WriterSpec(
        "contours as polygons with holes, one GeoJSON file per picture",
        GeoJsonWriter,
        {"contours": (".geojson",)},
    ),
    "coco": WriterSpec(
        "regions of all pictures in one COCO file", CocoWriter, {"coco": (".json",), "coco.json": ()}
    ),
    "nifti": WriterSpec(
        "class indices in the grid of the source volume", NiftiWriter, {"nifti": (".nii.gz",)}
    ),
    "dicom-seg": WriterSpec(
        "DICOM segmentation that refers to its DICOM source, a segment for each class",
        DicomSegWriter,
        {"dicom-seg": (".dcm",)},
    ),
    "dicom-seg-fractional": WriterSpec(
        "DICOM segmentation of probabilities",
        FractionalDicomSegWriter,
        {"dicom-seg-fractional": (".dcm",)},
    ),
}
