"""Dermoscopy readers: labels, groups and masks of what the publishers' tables and files say, and damage."""

import shutil

import numpy as np
import pytest
from layouts import ham10000 as ham_layout
from layouts import isic2016 as layout2016
from layouts import isic2017 as layout2017
from layouts import isic2018 as layout2018
from layouts import ph2 as ph2_layout
from PIL import Image
from tiny_data import disc, picture, save, write

from delineate.checks import InputError
from delineate.data.images import read_case_mask
from delineate.data.readers import ham10000, isic2016, isic2017, isic2018, ph2
from delineate.data.readers.about import count_faults

LAYOUTS_2016_TO_2018 = (layout2016, layout2017, layout2018)


def labels(cases):
    return {case.id: case.label for case in cases}


def test_published_label_counts_add_up_to_the_published_images():
    for reader in (isic2016, isic2017, ph2, ham10000):
        assert sum(reader.ABOUT.labels.values()) == sum(reader.ABOUT.counts.values()), reader.ABOUT.title


def test_every_archive_of_a_part_can_be_downloaded():
    for reader in (isic2016, isic2017, isic2018):
        archives = {download.name for download in reader.ABOUT.downloads}
        assert {f"{folder}.zip" for part in reader.PARTS for folder in part[1:3]} <= archives
        assert all(download.url.endswith(f"/{download.name}") for download in reader.ABOUT.downloads)


@pytest.mark.parametrize("layout", LAYOUTS_2016_TO_2018)
def test_folder_that_an_unpacker_has_wrapped_once_more(layout, tmp_path):
    layout.build(tmp_path)
    before = layout.READER.index(tmp_path)
    name = layout.READER.PARTS[0].images
    (tmp_path / name).rename(tmp_path / "inner")
    (tmp_path / name).mkdir()
    (tmp_path / "inner").rename(tmp_path / name / name)
    after = layout.READER.index(tmp_path)
    assert [(case.id, case.mask, case.label) for case in after] == [(c.id, c.mask, c.label) for c in before]
    assert after[0].image == tmp_path / name / name / "ISIC_0000000.jpg"


@pytest.mark.parametrize("layout", LAYOUTS_2016_TO_2018)
def test_a_part_with_only_one_of_its_folders(layout, tmp_path):
    layout.build(tmp_path)
    part = layout.READER.PARTS[-1]
    shutil.rmtree(tmp_path / part.masks)
    with pytest.raises(
        InputError, match=f"expected the folders {part.images} and {part.masks} together, found"
    ):
        layout.READER.index(tmp_path)


def test_one_id_in_two_parts(tmp_path):
    layout2018.build(tmp_path)
    save(picture(1), tmp_path / "ISIC2018_Task1-2_Test_Input" / "ISIC_0000000.jpg")
    save(disc(1), tmp_path / "ISIC2018_Task1_Test_GroundTruth" / "ISIC_0000000_segmentation.png")
    with pytest.raises(InputError, match=r"have the same id 'ISIC_0000000', but ISIC 2018 \(task 1\) has no"):
        isic2018.index(tmp_path)


def test_a_superpixel_picture_is_not_an_image(tmp_path):
    layout2017.build(tmp_path)
    folder = tmp_path / "ISIC-2017_Training_Data"
    assert (folder / "ISIC_0000000_superpixels.png").is_file()
    (folder / "ISIC_0000000.jpg").unlink()
    with pytest.raises(InputError, match="1 of 2 masks of ISIC 2017 .* have no image, 'ISIC_0000000'"):
        isic2017.index(tmp_path)


@pytest.mark.parametrize("layout", [layout2016, layout2017])
def test_without_a_table_a_part_has_no_labels(layout, tmp_path):
    layout.build(tmp_path)
    (tmp_path / layout.READER.TABLES["test"]).unlink()
    unlabelled = {case.split for case in layout.READER.index(tmp_path) if case.label is None}
    assert unlabelled == {"test"}


class TestTableOf2016:
    TABLE = isic2016.TABLES["train"]

    def test_both_spellings_and_a_header_that_a_copy_brings(self, tmp_path):
        text = "img_id,Label\r\nISIC_1,benign\r\nISIC_2,malignant\r\nISIC_3,0.0\r\nISIC_4,1.0\r\n"
        assert isic2016.read_labels(write(tmp_path / "t.csv", text)) == {
            "ISIC_1": "benign",
            "ISIC_2": "malignant",
            "ISIC_3": "benign",
            "ISIC_4": "malignant",
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("ISIC_0000000,benign\n", "has no line for 1 of 2 images, 'ISIC_0000002' for example"),
            ("ISIC_0000000,benign\nISIC_0000002,nevus\n", "line 2: 'nevus' is not one of the labels benign"),
            ("ISIC_0000000,benign\nISIC_0000002\n", "line 2: 1 cells where two were expected"),
            ("ISIC_0000000,benign\nISIC_0000000,benign\n", "line 2: 'ISIC_0000000' comes twice"),
            ("", "Part3_Training_GroundTruth.csv is empty"),
            ('ISIC_0000000,"benign\n', "is not a table of values"),
        ],
    )
    def test_damage(self, tmp_path, text, message):
        layout2016.build(tmp_path)
        write(tmp_path / self.TABLE, text)
        with pytest.raises(InputError, match=message):
            isic2016.index(tmp_path)

    def test_not_text(self, tmp_path):
        layout2016.build(tmp_path)
        (tmp_path / self.TABLE).write_bytes(b"\xff\xfe\x00I")
        with pytest.raises(InputError, match="is not UTF-8 text"):
            isic2016.index(tmp_path)


class TestTableOf2017:
    HEADER = "image_id,melanoma,seborrheic_keratosis\n"

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("ISIC_0000000,0,0\n", "has no line for 1 of 2 images, 'ISIC_0000002'"),
            ("ISIC_0000000,1.0,1.0\n", "line 2: melanoma '1.0' and seborrheic_keratosis '1.0' must each"),
            ("ISIC_0000000,0.5,0\n", "line 2: melanoma '0.5'"),
            ("ISIC_0000000,yes,no\n", "line 2: melanoma 'yes'"),
            ("ISIC_0000000,0\n", "line 2: 2 cells where the header has 3"),
            ("ISIC_0000000,0,0\nISIC_0000000,0,0\n", "'ISIC_0000000' is already on line 2"),
        ],
    )
    def test_damage(self, tmp_path, rows, message):
        layout2017.build(tmp_path)
        write(tmp_path / isic2017.TABLES["train"], self.HEADER + rows)
        with pytest.raises(InputError, match=message):
            isic2017.index(tmp_path)

    def test_whole_numbers_are_flags_too(self, tmp_path):
        table = write(tmp_path / "t.csv", self.HEADER + "a,1,0\nb,0,1\nc,0,0\n")
        expected = {"a": "melanoma", "b": "seborrheic_keratosis", "c": "nevus"}
        assert isic2017.read_labels(table) == expected


class TestLabelsOf2018:
    def test_older_tables_beside_label_what_they_agree_on(self, tmp_path):
        layout2018.build(tmp_path)
        write(tmp_path / isic2016.TABLES["train"], "ISIC_0000000,benign\nISIC_0000077,benign\n")
        write(tmp_path / isic2016.TABLES["test"], "ISIC_0012255,1.0\n")
        rows = "ISIC_0000000,0.0,1.0\nISIC_0000077,1.0,0.0\n"
        write(tmp_path / isic2017.TABLES["train"], TestTableOf2017.HEADER + rows)
        assert labels(isic2018.index(tmp_path)) == {
            "ISIC_0000000": "benign",  # benign in 2016, seborrheic keratosis in 2017
            "ISIC_0000077": None,  # benign in 2016, melanoma in 2017
            "ISIC_0012169": None,  # in neither
            "ISIC_0012255": "melanoma",  # malignant in 2016
        }
        found, conflicts = isic2018.read_labels(tmp_path)
        assert conflicts == ("ISIC_0000077",)
        assert set(conflicts) <= set(isic2018.CONFLICTING)
        assert set(found.values()) == set(isic2018.LABELS)

    def test_a_damaged_older_table_is_named(self, tmp_path):
        layout2018.build(tmp_path)
        write(tmp_path / isic2016.TABLES["train"], "ISIC_0000000,mole\n")
        with pytest.raises(
            InputError, match=r"ISBI2016_ISIC_Part3_Training_GroundTruth\.csv, line 1: 'mole'"
        ):
            isic2018.index(tmp_path)


class TestPH2:
    def test_three_diagnoses_on_demand(self, tmp_path):
        ph2_layout.build(tmp_path)
        assert labels(ph2.index(tmp_path, fine=True)) == {
            "IMD002": "atypical_nevus",
            "IMD003": "common_nevus",
            "IMD058": "melanoma",
        }

    def test_the_folder_above_is_a_root_too(self, tmp_path):
        ph2_layout.build(tmp_path / "PH2Dataset")
        assert ph2.index(tmp_path) == ph2.index(tmp_path / "PH2Dataset")
        assert labels(ph2.index(tmp_path))["IMD058"] == "melanoma"

    def test_masks_of_one_and_of_eight_bits(self, tmp_path):
        ph2_layout.build(tmp_path)
        modes = set()
        for case in ph2.index(tmp_path):
            with Image.open(case.mask) as file:
                modes.add(file.mode)
            np.testing.assert_array_equal(read_case_mask(case), disc(int(case.id[3:])) > 0)
        assert modes == {"1", "L"}

    @pytest.mark.parametrize("separator", [",", "\t"])
    def test_table_with_commas_or_tabs_and_a_legend_below(self, tmp_path, separator):
        ph2_layout.build(tmp_path)
        (tmp_path / "PH2_dataset.txt").unlink()
        rows = [
            "Name,Clinical Diagnosis,Asymmetry",
            "IMD003,0,0",
            "IMD002,1,1",
            "IMD058,2,2",
            ",,",
            "0 - Co,,",
        ]
        name = "PH2_dataset.csv" if separator == "," else "PH2_dataset.txt"
        write(tmp_path / name, "\n".join(rows).replace(",", separator))
        assert labels(ph2.index(tmp_path)) == {"IMD002": "nevus", "IMD003": "nevus", "IMD058": "melanoma"}

    def test_without_a_table_there_are_no_labels(self, tmp_path):
        ph2_layout.build(tmp_path)
        (tmp_path / "PH2_dataset.txt").unlink()
        assert set(labels(ph2.index(tmp_path)).values()) == {None}

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("|| IMD058", "|| IMD059", r"PH2_dataset\.txt has no line for IMD058"),
            ("|| IMD058", "|| IMD003", "line 4: IMD003 comes twice"),
            (
                "                  2 ||",
                "                  3 ||",
                "line 4: the clinical diagnosis '3' of IMD058",
            ),
            ("Clinical Diagnosis ||", "Diagnosis ||", "no line with the columns Name and Clinical Diagnosis"),
        ],
    )
    def test_damaged_table(self, tmp_path, old, new, message):
        ph2_layout.build(tmp_path)
        table = tmp_path / "PH2_dataset.txt"
        assert old in table.read_text()
        write(table, table.read_text().replace(old, new))
        with pytest.raises(InputError, match=message):
            ph2.index(tmp_path)

    def test_a_lost_image(self, tmp_path):
        ph2_layout.build(tmp_path)
        (tmp_path / "PH2 Dataset images/IMD003/IMD003_Dermoscopic_Image/IMD003.bmp").unlink()
        with pytest.raises(InputError, match=r"IMD003 has no image IMD003_Dermoscopic_Image.IMD003\.bmp"):
            ph2.index(tmp_path)

    def test_an_empty_folder_of_images(self, tmp_path):
        (tmp_path / "PH2 Dataset images").mkdir()
        with pytest.raises(
            InputError, match="expected a folder such as IMD003/ for each image, found nothing"
        ):
            ph2.index(tmp_path)


class TestHAM10000:
    def test_images_of_one_lesion_are_one_group(self, tmp_path):
        ham_layout.build(tmp_path)
        groups = [case.group for case in ham10000.index(tmp_path)]
        assert groups == ["HAM_0000550", "HAM_0000550", "HAM_0003577"]

    def test_a_reversed_palette_does_not_invert_the_mask(self, tmp_path):
        ham_layout.build(tmp_path)
        case = ham10000.index(tmp_path)[-1]
        with Image.open(case.mask) as file:
            assert file.mode == "P"
            assert (np.array(file) == (disc(29306) == 0)).all()  # index 1 is the background
        np.testing.assert_array_equal(read_case_mask(case), disc(29306) > 0)

    @pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab"])
    def test_metadata_without_ending_and_with_tabs(self, tmp_path, name):
        expected = ham_layout.build(tmp_path)
        before = ham10000.index(tmp_path)
        (tmp_path / "HAM10000_metadata.csv").unlink()
        text = ham_layout.METADATA
        if name.endswith(".tab"):
            text = text.replace('"trunk, left"', "trunk").replace(",", "\t").replace("nv", '"nv"')
        write(tmp_path / name, text)
        assert ham10000.index(tmp_path) == before
        assert len(before) == len(expected)

    def test_as_task_3_of_2018_publishes_it(self, tmp_path):
        ham_layout.build(tmp_path)
        before = ham10000.index(tmp_path)
        whole = tmp_path / "ISIC2018_Task3_Training_Input"
        whole.mkdir()
        for part in ham10000.PARTS:
            for path in (tmp_path / part).iterdir():
                path.rename(whole / path.name)
            (tmp_path / part).rmdir()
        (tmp_path / "HAM10000_metadata.csv").unlink()
        assert {(case.label, case.group) for case in ham10000.index(tmp_path)} == {(None, None)}
        folder = tmp_path / ham10000.TASK3_LABELS
        folder.mkdir()
        write(
            folder / f"{ham10000.TASK3_LABELS}.csv",
            "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
            "ISIC_0024306,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
            "ISIC_0024307,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
            "ISIC_0029306,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n",
        )
        write(
            tmp_path / ham10000.TASK3_LESIONS,
            "image,lesion_id,diagnosis_confirm_type\n"
            "ISIC_0024306,HAM_0000550,follow_up\n"
            "ISIC_0024307,HAM_0000550,follow_up\n"
            "ISIC_0029306,HAM_0003577,histopathology\n",
        )
        after = ham10000.index(tmp_path)
        assert [(c.id, c.label, c.group) for c in after] == [(c.id, c.label, c.group) for c in before]
        write(
            folder / f"{ham10000.TASK3_LABELS}.csv", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,1,0,0,0,0,0\n"
        )
        with pytest.raises(InputError, match="line 2: exactly one class must be 1"):
            ham10000.index(tmp_path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                "HAM_0003577,ISIC_0029306,mel",
                "HAM_0003577,ISIC_0029307,mel",
                "no diagnosis for 1 of 3 images",
            ),
            (",mel,", ",melanoma,", "line 4: image_id 'ISIC_0029306', lesion_id 'HAM_0003577' and dx 'melan"),
            ("HAM_0003577,", ",", "line 4: image_id 'ISIC_0029306', lesion_id ''"),
            ("ISIC_0024307", "ISIC_0024306", "line 3: 'ISIC_0024306' comes twice"),
            (",rosendahl", "", "line 4: 7 cells where the header has 8"),
            ("lesion_id", "lesion", "the column lesion_id is missing from the header"),
        ],
    )
    def test_damaged_metadata(self, tmp_path, old, new, message):
        ham_layout.build(tmp_path)
        assert old in ham_layout.METADATA
        write(tmp_path / "HAM10000_metadata.csv", ham_layout.METADATA.replace(old, new))
        with pytest.raises(InputError, match=message):
            ham10000.index(tmp_path)

    def test_the_second_part_is_missed_by_name(self, tmp_path):
        ham_layout.build(tmp_path)
        shutil.rmtree(tmp_path / "HAM10000_images_part_2")
        with pytest.raises(InputError, match="expected the folder HAM10000_images_part_2, found"):
            ham10000.index(tmp_path)

    def test_one_image_in_both_parts(self, tmp_path):
        ham_layout.build(tmp_path)
        shutil.copy(tmp_path / "HAM10000_images_part_1/ISIC_0024306.jpg", tmp_path / "HAM10000_images_part_2")
        with pytest.raises(InputError, match="have the same id 'ISIC_0024306'"):
            ham10000.index(tmp_path)


def test_published_counts_are_checked_part_by_part(tmp_path):
    layout2017.build(tmp_path)
    assert count_faults(isic2017.ABOUT, isic2017.index(tmp_path)) == [
        f"ISIC 2017 (ISBI 2017 challenge, part 1) has {published} cases of the part {part}, but {found} were "
        "found; unpack the publisher's archives again."
        for part, published, found in (("train", 2000, 2), ("val", 150, 1), ("test", 600, 1))
    ]
