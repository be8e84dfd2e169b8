"""Uploads turned into other files: pictures to show, DICOM segmentations."""

import io
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image
from web_service import Bright, dicom_bytes, disc, encoded, model_info, nifti_bytes, sent, serving

from delineate.inference.predictor import Predictor

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
PATH = "/api/v1/render/dicom-seg"
MASK = (disc()[..., 0] > 127).astype(np.uint8)


@pytest.fixture(scope="module")
def client():
    with serving() as made:
        yield made


def both(image, mask):
    return {"files": [("file", ("a", image)), ("mask", ("mask.png", mask))]}


def whole(values, **changes):
    """A DICOM file with what every image must say about patient and study."""
    uid = pydicom.uid.generate_uid
    needed = {
        "StudyInstanceUID": uid(),
        "SeriesInstanceUID": uid(),
        "PatientName": "Test^One",
        "StudyID": "1",
    }
    return dicom_bytes(values, **needed | changes)


def read(content):
    return highdicom.seg.segread(io.BytesIO(content))


def mask_in(segmentation, shape):
    """Class indices; a segmentation of one class, with one frame."""
    (frame,) = segmentation.pixel_array.reshape(-1, *shape)
    assert segmentation.number_of_segments == 1
    return (frame > 0).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 255])
def test_a_dicom_image_gets_a_segmentation(client, scale):
    source = whole(disc())
    answer = client.post(PATH + "?author=A.+Reader", **both(source, encoded(MASK * scale)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.headers["content-disposition"] == 'attachment; filename="segmentation.dcm"'
    made, image = read(answer.content), pydicom.dcmread(io.BytesIO(source))
    assert (made.StudyInstanceUID, made.PatientID) == (image.StudyInstanceUID, "P1")
    reference = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID
    np.testing.assert_array_equal(mask_in(made, MASK.shape), MASK)
    assert made.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "Reader" in str(made.ContentCreatorName)
    long = client.post(PATH + "?author=" + "A" * 100, **both(source, encoded(MASK)))
    assert str(read(long.content).ContentCreatorName).startswith("A" * 60)
    plain = client.post(PATH + "?corrected=false", **both(source, encoded(MASK)))
    assert read(plain.content).SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


@pytest.mark.parametrize("kind", ["jpeg", "nifti"])
def test_any_other_picture_comes_along_as_a_dicom_image(client, kind, tmp_path):
    grey = disc()[..., 0]
    volume = nifti_bytes(grey.T[::-1, ::-1, None])
    source = encoded(disc(), "JPEG", quality=100, subsampling=0) if kind == "jpeg" else volume
    answer = client.post(PATH + "?spacing=0.1,0.2", **both(source, encoded(MASK)))
    assert answer.headers["content-type"] == "application/zip"
    again = client.post(PATH + "?spacing=0.1,0.2", **both(source, encoded(MASK)))
    assert again.content == answer.content
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.dcm", "segmentation.dcm"]
    image, made = pydicom.dcmread(tmp_path / "image.dcm"), read((tmp_path / "segmentation.dcm").read_bytes())
    assert [float(side) for side in image.PixelSpacing] == [0.1, 0.2]
    np.testing.assert_allclose(image.pixel_array.astype(int), disc().astype(int), atol=4)
    reference = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert made.StudyInstanceUID == image.StudyInstanceUID
    np.testing.assert_array_equal(mask_in(made, MASK.shape), MASK)
    if shutil.which("dciodvfy"):
        for file in tmp_path.iterdir():
            told = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
            assert "Error" not in told, (file.name, told)


def test_one_frame_of_several(client):
    frames = np.stack([disc()[..., 0].astype(np.uint16)] * 3)
    answer = client.post(PATH + "?slice=2", **both(whole(frames), encoded(MASK)))
    assert answer.status_code == 200, answer.text
    made = read(answer.content)
    reference = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedFrameNumber == 3


@pytest.mark.parametrize(
    ("image", "mask", "status", "message"),
    [
        (encoded(disc()), encoded(MASK[:, :-1]), 422, "The mask has 40 x 59 pixels, its image 40 x 60; send"),
        (encoded(disc()), encoded(MASK * 7), 422, "The mask holds the value 7, but there are 1 class"),
        (encoded(disc()), encoded(disc()), 422, "A mask must be an 8-bit grey PNG, got one of mode RGB"),
        (encoded(disc()), b"x", 422, "The mask is no readable PNG"),
        (dicom_bytes(disc()), encoded(MASK), 422, "lacks StudyInstanceUID, SeriesInstanceUID, without which"),
        (b"x", encoded(MASK), 415, "The file is none of"),
    ],
)
def test_what_cannot_be_made(client, image, mask, status, message):
    answer = client.post(PATH, **both(image, mask))
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert "/tmp" not in answer.text


def test_a_mask_is_needed_and_a_model_that_has_masks(client):
    answer = client.post(PATH, **sent(encoded(disc())))
    assert answer.json()["error"] == "Send one file, in a part named mask with a file name; got 0."
    with serving(Predictor(Bright(model_info(classes=())))) as labels:
        answer = labels.post(PATH, **both(encoded(disc()), encoded(MASK)))
    assert answer.json() == {"error": "This model only classifies, so it has no masks.", "code": "no_classes"}


def test_pictures_that_browsers_cannot_show(client):
    for content in (encoded(disc(), "TIFF"), dicom_bytes(disc())):
        shown = client.post("/api/v1/render/png", **sent(content))
        assert shown.headers["content-type"] == "image/png"
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(shown.content))), disc())
