"""Masks, overlays, probabilities and uncertainty as pictures, and the table of formats."""

import numpy as np
import pytest
from PIL import Image

from delineate.checks import InputError
from delineate.inference.results import Uncertainty
from delineate.inference.writers import WRITERS
from delineate.inference.writers.dicom_codes import CODES, FALLBACK, code_of, read_codes

MASK = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)


def write(name, tmp_path, output):
    writer = WRITERS[name].make(tmp_path, output.info)
    writer.add(output)
    writer.end_of_file()
    writer.finish()


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_masks_of_one_class_and_of_several(output, tmp_path):
    write("masks", tmp_path, output(MASK % 2))
    np.testing.assert_array_equal(pixels(tmp_path / "masks" / "x.png"), (MASK % 2) * 255)
    write("masks", tmp_path, output(MASK, classes=("a", "b")))
    np.testing.assert_array_equal(pixels(tmp_path / "masks" / "x.png"), MASK)


def test_probabilities_keep_16_bits(output, tmp_path):
    values = np.array([[0, 0.5, 1], [1 / 3, 1e-5, 0.99999]], np.float32)
    write("probabilities", tmp_path, output(MASK % 2, probability=values))
    found = pixels(tmp_path / "probabilities" / "x.png")
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found / 65535, values, atol=0.5 / 65535 + 1e-7)

    several = output(MASK, classes=("a", "b"))
    write("probabilities", tmp_path, several)
    with np.load(tmp_path / "probabilities" / "x.npz") as file:
        assert file.files == ["probability"], "one array, as the scoring of files reads it"
        assert file["probability"].dtype == np.float32
        expected = several.prediction.probability
        np.testing.assert_allclose(file["probability"], expected, atol=0.5 / 65536 + 1e-7)
    first = (tmp_path / "probabilities" / "x.npz").read_bytes()
    write("probabilities", tmp_path, several)
    assert (tmp_path / "probabilities" / "x.npz").read_bytes() == first


def test_uncertainty_maps_and_their_scale(output, tmp_path):
    entropy = np.array([[0, 0.25, 1]], np.float32)
    variance = np.array([[0, 0.125, 0.25]], np.float32)
    unsure = Uncertainty(entropy, variance, None, None, 0.5)
    write("uncertainty", tmp_path, output(np.zeros((1, 3), np.uint8), uncertainty=unsure))
    assert pixels(tmp_path / "uncertainty" / "x.png").tolist() == [[0, 16384, 65535]]
    assert pixels(tmp_path / "variance" / "x.png").tolist() == [[0, 32768, 65535]]
    with pytest.raises(InputError, match="predicted without its uncertainty; give --uncertainty"):
        write("uncertainty", tmp_path, output(MASK % 2))


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_a_model_of_labels_gets(name, output, tmp_path):
    """The default formats pass such a model over; those that somebody asked for say why not."""
    only_label = output(None, classes=(), label={"good": 0.2, "bad": 0.8})
    if name in ("masks", "overlays"):
        write(name, tmp_path, only_label)
        assert not list(tmp_path.iterdir())
        return
    expected = (
        "without its uncertainty" if name == "uncertainty" else "has no mask to write|not a DICOM image"
    )
    with pytest.raises(InputError, match=expected):
        write(name, tmp_path, only_label)


@pytest.mark.parametrize("name", [name for name in sorted(WRITERS) if not name.startswith("dicom")])
def test_a_writer_keeps_to_its_places(name, output, tmp_path):
    unsure = Uncertainty(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), None, None, 0.5)
    write(name, tmp_path, output(MASK % 2, uncertainty=unsure))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(WRITERS[name].places)
    assert not [path for path in tmp_path.rglob(".*")], "no temporary file stays"
    for path in tmp_path.glob("*/*"):
        assert path.name.removeprefix("x") in WRITERS[name].places[path.parent.name]


def test_no_two_formats_share_a_place():
    places = [place for spec in WRITERS.values() for place in spec.places]
    assert len(places) == len(set(places))


def test_codes_by_class_name_and_from_a_file(tmp_path):
    assert code_of("Skin_Lesion") == code_of("lesion") == CODES["lesion"]
    assert code_of("optic-disc").type.value == "81016008"
    assert code_of("spleen") == FALLBACK
    path = tmp_path / "dicom-codes.yaml"
    row = '{category: ["123037004", SCT, Body structure], type: [X1, 99ME, Optic cup]}'
    path.write_text(f"optic cup: {row}\nLESION: {row}\n")
    own = read_codes(path)
    assert code_of("Optic Cup", own).type == ("X1", "99ME", "Optic cup")
    assert code_of("lesion", own).type.value == "X1"
    assert code_of("polyp", own) == CODES["polyp"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- lesion", "is not a table of codes"),
        ("a: {type: [1, 2, 3]}", "must have exactly the keys category and type"),
        ("a: {type: [1, 2], category: [1, 2, 3]}", "is not a list of value, scheme and meaning"),
        (f"a: {{type: ['{'1' * 17}', SCT, x], category: [1, 2, 3]}}", "is too long or empty"),
        ("a: [", "cannot be read as a table of codes"),
    ],
)
def test_damaged_tables_of_codes(tmp_path, text, message):
    path = tmp_path / "codes.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_codes(path)


def test_every_code_fits_into_dicom():
    """Value and scheme at most 16 characters, meanings 64; one meaning per value."""
    meanings = {}
    for code in [*CODES.values(), FALLBACK]:
        for concept in code:
            assert concept.value.isdigit()
            assert len(concept.value) <= 16
            assert concept.scheme == "SCT"
            assert meanings.setdefault(concept.value, concept.meaning) == concept.meaning


def test_codes_agree_with_pydicoms_dictionary():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict", reason="needs pydicom").concepts["SCT"]
    known = {value for values in concepts.values() for value in values}
    by_hand = {"21119008", "25499005", "41329004"}  # not in the dictionary of DICOM's own context groups
    for name, code in CODES.items():
        assert {code.category.value, code.type.value} - by_hand <= known, name
