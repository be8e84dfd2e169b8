"""DICOM segmentations: the same mask at the same frames, references, geometry, and a strict validator."""

import shutil
import subprocess
from datetime import datetime

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom")
highdicom = pytest.importorskip("highdicom", reason="DICOM segmentations need highdicom")

from delineate.checks import InputError  # noqa: E402
from delineate.data.case import Case  # noqa: E402
from delineate.data.volumes import volume_slices  # noqa: E402
from delineate.inference.writers import WRITERS  # noqa: E402
from delineate.inference.writers.dicom_codes import CODES  # noqa: E402
from delineate.inference.writers.dicom_seg import save, segmentation_of, to_bytes  # noqa: E402
from delineate.inference.writers.secondary_capture import secondary_capture  # noqa: E402

DERMOSCOPY, ENDOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.7", "1.2.840.10008.5.1.4.1.1.77.1.1"
KINDS = {
    "ct": lambda sources: sources.ct(),
    "ct without thickness": lambda sources: sources.ct(SliceThickness=None),
    "enhanced ct": lambda sources: sources.enhanced_ct(),
    "enhanced ct at one place": lambda sources: sources.enhanced_ct(PerFrameFunctionalGroupsSequence=[]),
    "ultrasound loop": lambda sources: sources.ultrasound(),
    "ultrasound of one frame": lambda sources: sources.ultrasound(frames=1, colour=False),
    "photograph": lambda sources: sources.photograph(),
    "dermoscopy": lambda sources: sources.photograph(sop_class=DERMOSCOPY, Modality="DMS"),
    "endoscopy": lambda sources: sources.photograph(sop_class=ENDOSCOPY, Modality="ES"),
}
CLASSES = ("lesion", "optic disc")


def masks_of(path, classes=2):
    header = pydicom.dcmread(path, stop_before_pixels=True)
    shape = (volume_slices(path), header.Rows, header.Columns)
    masks = np.random.default_rng(4).integers(0, classes + 1, shape).astype(np.uint8)
    if len(masks) > 2:
        masks[1] = 0  # a frame without any finding is left out of the file
    return masks


def read_back(path, source, fractional=False):
    """The mask of every frame of the source, as highdicom finds it through the references."""
    found = highdicom.seg.segread(path)
    header = pydicom.dcmread(source, stop_before_pixels=True)
    how = {"combine_segments": not fractional, "ignore_spatial_locations": True}
    if "NumberOfFrames" not in header:
        return found.get_pixels_by_source_instance([header.SOPInstanceUID], **how)
    frames = list(range(1, header.NumberOfFrames + 1))
    return found.get_pixels_by_source_frame(
        header.SOPInstanceUID, frames, assert_missing_frames_are_empty=True, **how
    )


def predict(writer, path, masks, output, classes):
    for position, mask in enumerate(masks):
        name, slice = ("x", None) if len(masks) == 1 else (f"x_s{position:03d}", position)
        writer.add(output(mask, case=Case(name, path, slice=slice), classes=classes))
    writer.end_of_file()
    writer.finish()


@pytest.mark.parametrize("classes", [CLASSES[:1], CLASSES], ids=["one class", "two classes"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_lies_at_the_frames_of_its_source(sources, info, output, tmp_path, kind, classes):
    path = KINDS[kind](sources)
    masks = masks_of(path, len(classes))
    predict(WRITERS["dicom-seg"].make(tmp_path, info(*classes)), path, masks, output, classes)
    written = tmp_path / "dicom-seg" / "x.dcm"
    np.testing.assert_array_equal(read_back(written, path), masks)
    assert valid(written)

    # And by the bits alone, with what the file says of each of its frames.
    made, source = pydicom.dcmread(written), pydicom.dcmread(path)
    rebuilt = np.zeros_like(masks)
    frames = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    shared = made.SharedFunctionalGroupsSequence[0]
    for pixels, frame in zip(frames, made.PerFrameFunctionalGroupsSequence, strict=True):
        holder = frame if "SegmentIdentificationSequence" in frame else shared
        segment = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        origin = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert origin.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert origin.ReferencedSOPClassUID == source.SOPClassUID
        rebuilt[int(origin.get("ReferencedFrameNumber") or 1) - 1][pixels == 1] = segment
    np.testing.assert_array_equal(rebuilt, masks)


@pytest.mark.parametrize("kind", ["ct", "ultrasound loop", "photograph"])
def test_probabilities_in_255_steps(sources, info, output, tmp_path, kind):
    path = KINDS[kind](sources)
    masks = masks_of(path)
    predict(WRITERS["dicom-seg-fractional"].make(tmp_path, info(*CLASSES)), path, masks, output, CLASSES)
    written = tmp_path / "dicom-seg-fractional" / "x.dcm"
    found = read_back(written, path, fractional=True)
    for number in (1, 2):
        expected = np.where(masks == number, 0.75, 0.125)
        np.testing.assert_allclose(found[..., number - 1], expected, atol=0.5 / 255 + 1e-6)
    assert valid(written)


def test_patient_study_and_place_are_the_sources(sources, info):
    path = sources.ct()
    source = pydicom.dcmread(path)
    made = segmentation_of(path, masks_of(path, 1), info("polyp"), "chnet.kvasir 0123456789ab")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate"):
        assert made[keyword].value == source[keyword].value, keyword
    assert str(made.PatientName) == "Müller^Anna"
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SOPInstanceUID != source.SOPInstanceUID
    assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    shared, frame = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == source.PixelSpacing
    assert shared.PixelMeasuresSequence[0].SliceThickness == 2.5
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert orientation == source.ImageOrientationPatient
    assert frame.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
    segment = made.SegmentSequence[0]
    assert segment.SegmentLabel == "polyp"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "41329004"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "delineate"
    assert "model=chnet.kvasir 0123456789ab" in algorithm.AlgorithmParameters
    assert made.ContentDescription == "For research only, not for diagnosis"


@pytest.mark.parametrize("kind", ["ultrasound loop", "photograph", "enhanced ct at one place"])
def test_nothing_of_a_lent_place_stays(sources, info, kind):
    path = KINDS[kind](sources)
    made = segmentation_of(path, masks_of(path, 1), info(), "m")
    text = str(made)
    for name in ("Frame of Reference", "Image Position", "Image Orientation", "Pixel Spacing", "2.25.1\n"):
        assert name not in text, name
    pointer = made.DimensionIndexSequence[-1].DimensionIndexPointer
    assert pointer == pydicom.tag.Tag("InStackPositionNumber")
    frames = [f.FrameContentSequence[0] for f in made.PerFrameFunctionalGroupsSequence]
    assert [frame.InStackPositionNumber for frame in frames] == [*range(1, len(frames) + 1)]
    sources_frames = [
        f.DerivationImageSequence[0].SourceImageSequence[0].get("ReferencedFrameNumber", 1)
        for f in made.PerFrameFunctionalGroupsSequence
    ]
    # The second frame of three or four holds nothing.
    assert sources_frames == {"ultrasound loop": [1, 3, 4], "photograph": [1]}.get(kind, [1, 3])


def test_files_of_one_series_share_a_series_and_the_same_input_is_the_same_file(sources, info, tmp_path):
    first, second = sources.ct("ct1"), sources.ct("ct2", height=102.5)
    mask = masks_of(first, 1)
    made = [segmentation_of(path, mask, info(), "m") for path in (first, second)]
    assert made[0].SeriesInstanceUID == made[1].SeriesInstanceUID
    assert made[0].SOPInstanceUID != made[1].SOPInstanceUID
    save(made[0], tmp_path / "a.dcm")
    save(segmentation_of(first, mask, info(), "m"), tmp_path / "b.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    assert made[0].ContentDate == "20240305"

    others = [
        segmentation_of(first, 1 - mask, info(), "m"),
        segmentation_of(first, mask, info(), "another model"),
        segmentation_of(first, mask, info(), "m", algorithm="SEMIAUTOMATIC", author="A. Reader"),
        segmentation_of(first, mask, info(), "m", created=datetime(2026, 2, 3, 4, 5, 6)),
        segmentation_of(first, mask, info(), "m", codes={"lesion": CODES["polyp"]}),
    ]
    assert len({made[0].SOPInstanceUID, *(other.SOPInstanceUID for other in others)}) == 6
    assert others[1].SeriesInstanceUID != made[0].SeriesInstanceUID
    assert str(others[2].ContentCreatorName) == "A. Reader^"
    assert (others[3].ContentDate, others[3].ContentTime) == ("20260203", "040506")


def test_an_empty_mask_is_written_as_one_empty_frame_per_frame(sources, info, tmp_path):
    path = sources.ultrasound(frames=3)
    made = segmentation_of(path, np.zeros((3, 12, 10), np.uint8), info(), "m")
    assert made.NumberOfFrames == 3
    assert not made.pixel_array.any()
    save(made, tmp_path / "x.dcm")
    assert valid(tmp_path / "x.dcm")


def test_some_frames_of_a_loop(sources, info, tmp_path):
    path = sources.ultrasound(frames=4)
    mask = np.ones((12, 10), np.uint8)
    save(segmentation_of(path, mask, info(), "m", frames=[2]), tmp_path / "x.dcm")
    found = read_back(tmp_path / "x.dcm", path)
    assert [frame.any() for frame in found] == [False, False, True, False]


def test_a_picture_becomes_a_pair(info, tmp_path):
    image = np.random.default_rng(5).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    picture = secondary_capture(image, name="lésion 7.jpg", spacing=(0.1, 0.2))
    mask = np.eye(7, 9, dtype=np.uint8)
    made = segmentation_of(picture, mask, info("nevus"), "m", created=datetime(2026, 1, 2))
    assert "PixelData" in picture, "the picture itself stays whole"
    save(picture, tmp_path / "picture.dcm")
    save(made, tmp_path / "seg.dcm")
    assert valid(tmp_path / "picture.dcm")
    assert valid(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "picture.dcm").pixel_array, image)
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", tmp_path / "picture.dcm")[0], mask)
    assert made.StudyInstanceUID == picture.StudyInstanceUID
    again = secondary_capture(image, name="lésion 7.jpg", spacing=(0.1, 0.2))
    assert to_bytes(again) == (tmp_path / "picture.dcm").read_bytes()
    with pytest.raises(InputError, match="must be uint8 RGB"):
        secondary_capture(image[..., 0], name="x")


def test_what_is_no_source_is_refused_in_one_sentence(sources, info, output, tmp_path):
    writer = WRITERS["dicom-seg"].make(tmp_path, info())
    with pytest.raises(InputError, match=r"x\.png is not a DICOM image \(\.dcm\), but a DICOM segmentation"):
        writer.add(output(np.zeros((2, 2), np.uint8)))
    (tmp_path / "x.dcm").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is damaged or not a DICOM file; export it again"):
        segmentation_of(tmp_path / "x.dcm", np.zeros((2, 2), np.uint8), info(), "m")
    path = sources.ct()
    with pytest.raises(InputError, match=r"does not fit 1 frames of 11 x 13 pixels"):
        segmentation_of(path, np.zeros((2, 2), np.uint8), info(), "m")
    nowhere = pydicom.dcmread(path)
    nowhere.ImagePositionPatient = 5
    with pytest.raises(InputError, match=r"No DICOM segmentation of \S+ can be made"):
        segmentation_of(nowhere, np.zeros((11, 13), np.uint8), info(), "m")
    header = pydicom.dcmread(path)
    del header.SeriesInstanceUID
    with pytest.raises(InputError, match="lacks SeriesInstanceUID, without which nothing can refer to it"):
        segmentation_of(header, np.zeros((11, 13), np.uint8), info(), "m")
    header = pydicom.dcmread(path)
    header.TotalPixelMatrixRows = 4000
    with pytest.raises(InputError, match="is a whole-slide image in tiles"):
        segmentation_of(header, np.zeros((11, 13), np.uint8), info(), "m")
    assert not (tmp_path / "dicom-seg").exists()


def test_a_header_without_patient_data_is_enough(sources, info, tmp_path):
    header = pydicom.dcmread(sources.photograph())
    for keyword in ("PatientName", "PatientID", "StudyDate", "ContentDate", "SeriesNumber", "InstanceNumber"):
        delattr(header, keyword)
    save(segmentation_of(header, np.ones((9, 14), np.uint8), info(), "m"), tmp_path / "x.dcm")
    assert valid(tmp_path / "x.dcm")


def valid(path):
    """Ask dciodvfy for errors; without it only the tests that read back say something."""
    if shutil.which("dciodvfy") is None:
        return True
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    assert not errors, errors
    return True


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_the_validator_would_find_an_error(sources, info, tmp_path):
    made = segmentation_of(sources.ct(), np.ones((11, 13), np.uint8), info(), "m")
    del made.SegmentSequence[0].SegmentAlgorithmType
    save(made, tmp_path / "x.dcm")
    with pytest.raises(AssertionError, match="SegmentAlgorithmType"):
        valid(tmp_path / "x.dcm")
