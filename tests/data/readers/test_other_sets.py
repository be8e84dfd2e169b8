"""Ultrasound, fundus, CT and OCT sets: their tables, masks, groups and damaged copies."""

import shutil
import zipfile

import numpy as np
import pytest
from layouts import busi as busi_layout
from layouts import covid19_ct_9
from layouts import covid19_ct_20 as ct_20_layout
from layouts import covid19_ct_100 as ct_100_layout
from layouts import drishti_gs as drishti_layout
from layouts import goals2022 as goals_layout
from layouts import refuge as refuge_layout
from tiny_data import disc, picture, save
from tiny_files import nifti, workbook

from delineate.checks import InputError
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.readers import busi, covid19_ct_20, covid19_ct_100, drishti_gs, goals2022, refuge
from delineate.data.readers.spreadsheet import read_columns, read_sheet


def by_id(cases):
    return {case.id: case for case in cases}


# --- BUSI ---


def test_busi_takes_the_union_or_the_first_of_several_masks(tmp_path):
    busi_layout.build(tmp_path)
    union, first = (by_id(busi.index(tmp_path, masks=masks))["benign (10)"] for masks in ("union", "first"))
    assert [path.name for path in union.masks] == [
        "benign (10)_mask.png",
        "benign (10)_mask_1.png",
        "benign (10)_mask_2.png",
    ]
    together = np.maximum.reduce([disc(number) > 0 for number in (10, 6, 7)])
    np.testing.assert_array_equal(read_case_mask(union), together)
    assert [path.name for path in first.masks] == ["benign (10)_mask.png"]
    np.testing.assert_array_equal(read_case_mask(first), disc(10) > 0)


def test_busi_may_be_given_its_own_folder(tmp_path):
    expected = busi_layout.build(tmp_path)
    assert len(busi.index(tmp_path / "Dataset_BUSI_with_GT")) == len(expected)


def test_busi_without_a_class_is_refused(tmp_path):
    busi_layout.build(tmp_path)
    shutil.rmtree(tmp_path / "Dataset_BUSI_with_GT" / "normal")
    with pytest.raises(InputError, match="expected the folders benign, malignant, normal, found benign"):
        busi.index(tmp_path)


def test_busi_needs_the_first_mask_beside_the_others(tmp_path):
    busi_layout.build(tmp_path)
    (tmp_path / "Dataset_BUSI_with_GT" / "benign" / "benign (10)_mask.png").unlink()
    with pytest.raises(InputError, match=r"has benign \(10\)_mask.png beside benign \(10\)_mask_1.png, but"):
        busi.index(tmp_path)


def test_busi_refuses_a_file_of_another_class(tmp_path):
    busi_layout.build(tmp_path)
    save(picture(1), tmp_path / "Dataset_BUSI_with_GT" / "benign" / "malignant (7).png")
    with pytest.raises(InputError, match=r"malignant \(7\).png is no file of BUSI .* begin with 'benign'"):
        busi.index(tmp_path)


# --- REFUGE ---


def test_refuge_disc_is_rim_and_cup_together(tmp_path):
    refuge_layout.build(tmp_path)
    apart, together = refuge.index(tmp_path), refuge.index(tmp_path, classes="disc")
    for two, one in zip(apart, together, strict=True):
        rim_and_cup = read_case_mask(two)
        number = list(refuge_layout.FOLDERS).index(two.id)
        assert (rim_and_cup == 2).sum() == 9  # the cup of 3 x 3 pixels, value 0
        np.testing.assert_array_equal(rim_and_cup > 0, refuge_layout.rim_and_cup(number) < 255)
        np.testing.assert_array_equal(read_case_mask(one), rim_and_cup > 0)


def test_refuge_folders_of_the_archives_names_are_found(tmp_path):
    expected = refuge_layout.build(tmp_path)
    for name, outer in (("Training400", "REFUGE-Training400"), ("REFUGE-Test-GT", "REFUGE-Test-GT")):
        (tmp_path / name).rename(tmp_path / "moved")
        (tmp_path / outer).mkdir()
        (tmp_path / "moved").rename(tmp_path / outer / name)
    assert [case.id for case in refuge.index(tmp_path)] == sorted(case.id for case in expected)


def test_refuge_validation_images_have_no_label_without_the_table(tmp_path):
    refuge_layout.build(tmp_path)
    (tmp_path / "REFUGE-Validation400-GT" / "Fovea_locations.xlsx").unlink()
    labels = {case.id: case.label for case in refuge.index(tmp_path)}
    assert labels["V0001"] is None
    assert labels["T0002"] == "glaucoma"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["ImgName", "Glaucoma Label"], ["V0001.jpg", 0]], "1 of 2 validation images .*'V0002' for example"),
        ([["ImgName", "Glaucoma Label"], ["V0001.jpg", 0], ["V0002.jpg", 2]], "of V0002 is '2', not 0 or 1"),
        ([["ImgName", "Label"], ["V0001.jpg", 0]], "no row with the headers ImgName, Glaucoma Label"),
        ([["ImgName", "Glaucoma Label"], ["V0001.jpg", 0], ["V0001.jpg", 1]], "'V0001' comes twice"),
    ],
)
def test_refuge_tables_that_do_not_fit_are_refused(tmp_path, rows, message):
    refuge_layout.build(tmp_path)
    workbook(tmp_path / "REFUGE-Validation400-GT" / "Fovea_locations.xlsx", rows)
    with pytest.raises(InputError, match=message):
        refuge.index(tmp_path)


def test_refuge_images_without_their_masks_folder_are_refused(tmp_path):
    refuge_layout.build(tmp_path)
    shutil.rmtree(tmp_path / "REFUGE-Test-GT")
    with pytest.raises(InputError, match="expected the folders Test400 and REFUGE-Test-GT/Disc_Cup_Masks"):
        refuge.index(tmp_path)


def test_refuge_image_in_both_classes_is_refused(tmp_path):
    refuge_layout.build(tmp_path)
    save(picture(9), tmp_path / "Training400" / "Non-Glaucoma" / "g0001.jpg")
    with pytest.raises(InputError, match="have the same id 'g0001', but REFUGE"):
        refuge.index(tmp_path)


# --- Drishti-GS ---


@pytest.mark.parametrize("experts", [1, 2, 3, 4])
def test_drishti_counts_pixels_that_enough_experts_drew(tmp_path, experts):
    drishti_layout.build(tmp_path)
    case = by_id(drishti_gs.index(tmp_path, experts=experts))["drishtiGS_002"]
    drawn = sum((disc(2 * expert) > 0).astype(int) for expert in range(4))  # image number 0 of the layout
    np.testing.assert_array_equal(read_case_mask(case), drawn >= experts)


def test_drishti_cup_is_another_file(tmp_path):
    drishti_layout.build(tmp_path)
    (case, *_) = drishti_gs.index(tmp_path, structure="cup")
    assert case.mask.name == f"{case.id}_cupsegSoftmap.png"
    assert case.encoding.classes == ("cup",)


def test_drishti_without_its_table_takes_labels_from_folders(tmp_path):
    drishti_layout.build(tmp_path)
    top = tmp_path / "Drishti-GS1_files"
    (top / "Drishti-GS1_diagnosis.xlsx").unlink()
    assert {(case.label, case.group) for case in drishti_gs.index(top)} == {(None, None)}
    images = top / "Training" / "Images"
    (images / "GLAUCOMA").mkdir()
    (images / "drishtiGS_002.png").rename(images / "GLAUCOMA" / "drishtiGS_002.png")
    assert by_id(drishti_gs.index(tmp_path))["drishtiGS_002"].label == "glaucomatous"


def test_drishti_folder_against_its_table_is_refused(tmp_path):
    drishti_layout.build(tmp_path)
    images = tmp_path / "Drishti-GS1_files" / "Training" / "Images"
    (images / "NORMAL").mkdir()
    (images / "drishtiGS_002.png").rename(images / "NORMAL" / "drishtiGS_002.png")
    with pytest.raises(InputError, match="among the normal images, but .* calls it 'Glaucomatous'"):
        drishti_gs.index(tmp_path)


def test_drishti_tables_that_do_not_fit_are_refused(tmp_path):
    drishti_layout.build(tmp_path)
    table = tmp_path / "Drishti-GS1_files" / "Drishti-GS1_diagnosis.xlsx"
    header = ["Drishti-GS File", "Total", "Patient ID"]
    workbook(table, [header, ["drishtiGS_001'", "Normal", 1]])
    with pytest.raises(InputError, match="3 of 4 images of Drishti-GS1 have no row, 'drishtiGS_002'"):
        drishti_gs.index(tmp_path)
    workbook(table, [header, *([f"{name}'", "perhaps", 1] for name in drishti_layout.IMAGES)])
    with pytest.raises(InputError, match="is 'perhaps', not Normal or Glaucomatous"):
        drishti_gs.index(tmp_path)


@pytest.mark.parametrize("experts", [0, 5])
def test_drishti_has_four_experts(tmp_path, experts):
    with pytest.raises(InputError, match=f"1 to 4, not {experts}"):
        drishti_gs.index(tmp_path, experts=experts)


# --- COVID-19 CT ---


def test_ct_slices_know_their_place_window_and_spacing(tmp_path):
    ct_20_layout.build(tmp_path)
    cases = by_id(covid19_ct_20.index(tmp_path))
    hounsfield, grey = cases["coronacases_001_s002"], cases["radiopaedia_10_85902_3_s001"]
    assert (hounsfield.slice, hounsfield.window) == (2, (-1250.0, 250.0))
    assert (grey.slice, grey.window) == (1, (0.0, 255.0))
    assert hounsfield.spacing == pytest.approx((0.8, 0.7))  # rows run from front to back


def test_ct_windows_give_the_same_grey_to_the_same_tissue(tmp_path):
    for name, air, fat in (("coronacases_001", -1250, 250), ("radiopaedia_4_85506_1", 0, 255)):
        values = np.full((6, 6, 1), air, np.int16)
        values[3:] = fat
        nifti(values, tmp_path / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz")
        nifti((values == fat).astype(np.uint8), tmp_path / "Infection_Mask" / f"{name}.nii.gz")
    for case in covid19_ct_20.index(tmp_path):
        image, mask = read_case_image(case), read_case_mask(case)
        assert np.unique(image).tolist() == [0, 255]
        np.testing.assert_array_equal(image[..., 0] == 255, mask == 1)  # turned alike


def test_ct_of_one_patient_is_one_group(tmp_path):
    ct_20_layout.build(tmp_path)
    assert {case.group for case in covid19_ct_20.index(tmp_path)} == {"coronacases_001", "radiopaedia_10"}


def test_ct_kaggle_copy_gives_the_same_cases(tmp_path):
    ct_20_layout.build(tmp_path)
    ids = [case.id for case in covid19_ct_20.index(tmp_path)]
    scans = tmp_path / "ct_scans"
    (tmp_path / "COVID-19-CT-Seg_20cases").rename(scans)
    (tmp_path / "Infection_Mask").rename(tmp_path / "infection_mask")
    (scans / "coronacases_001.nii.gz").rename(scans / "coronacases_org_001.nii.gz")
    for name in ("10_85902_1", "10_85902_3"):
        new = f"radiopaedia_org_covid-19-pneumonia-{name}-dcm.nii.gz"
        (scans / f"radiopaedia_{name}.nii.gz").rename(scans / new)
    assert [case.id for case in covid19_ct_20.index(tmp_path)] == ids


def test_ct_masks_of_another_length_are_refused(tmp_path):
    ct_20_layout.build(tmp_path)
    nifti(np.zeros((12, 10, 5), np.uint8), tmp_path / "Infection_Mask" / "coronacases_001.nii.gz")
    with pytest.raises(InputError, match="coronacases_001.nii.gz has 3 slices, but its mask .* has 5"):
        covid19_ct_20.index(tmp_path)


def test_ct_damaged_volumes_are_named(tmp_path):
    ct_20_layout.build(tmp_path)
    volume = tmp_path / "COVID-19-CT-Seg_20cases" / "coronacases_001.nii.gz"
    volume.write_bytes(volume.read_bytes()[:40])
    with pytest.raises(InputError, match="coronacases_001.nii.gz"):
        covid19_ct_20.index(tmp_path)


def test_medseg_findings_are_one_infection_or_three_classes(tmp_path):
    ct_100_layout.build(tmp_path)
    covid19_ct_9.build(tmp_path)
    for read in (covid19_ct_100.index, covid19_ct_100.index_volumes):
        for one, three in zip(read(tmp_path), read(tmp_path, classes="findings"), strict=True):
            findings = read_case_mask(three)
            assert np.unique(findings).tolist() == [0, 1, 2, 3]
            np.testing.assert_array_equal(read_case_mask(one), findings > 0)


def test_medseg_files_may_be_unpacked(tmp_path):
    nifti(np.zeros((8, 8, 2), np.int16), tmp_path / "tr_im.nii")
    nifti(np.zeros((8, 8, 2), np.uint8), tmp_path / "tr_mask.nii")
    assert [case.id for case in covid19_ct_100.index(tmp_path)] == ["tr_im_s000", "tr_im_s001"]


# --- GOALS ---


def test_goals_layers_in_the_order_of_their_classes(tmp_path):
    goals_layout.build(tmp_path)
    case = by_id(goals2022.index(tmp_path))["0001"]
    mask = read_case_mask(case)
    expected = np.select([goals_layout.layers(1) == value for value in (0, 80, 160)], [1, 2, 3], 0)
    np.testing.assert_array_equal(mask, expected)


def test_goals_archives_may_lie_in_folders_of_their_names(tmp_path):
    expected = goals_layout.build(tmp_path / "plain")
    root = tmp_path / "root"
    for part, place in (
        ("Train", "GOALS2022-Train/Train"),
        ("Validation", "GOALS2022-Validation/GOALS2022-Validation"),
        ("Test", "GOALS2022-Test"),
    ):
        shutil.copytree(tmp_path / "plain" / part, root / place)
    assert [case.id for case in goals2022.index(root)] == sorted(case.id for case in expected)


def test_goals_tables_that_do_not_fit_are_refused(tmp_path):
    goals_layout.build(tmp_path)
    table = tmp_path / "Train" / "Train_GC_GT.xlsx"
    workbook(table, [["ImgName", "GC_Label"], [1, 0], [2, 1]])
    with pytest.raises(InputError, match="1 of 3 images of GOALS 2022 .* have no row, '0010' for example"):
        goals2022.index(tmp_path)
    workbook(table, [["ImgName", "GC_Label"], [1, 0], [2, 7], [10, 0]])
    with pytest.raises(InputError, match="GC_Label of 0002 is '7', not 0 or 1"):
        goals2022.index(tmp_path)


def test_goals_number_in_two_parts_is_refused(tmp_path):
    goals_layout.build(tmp_path)
    save(picture(3), tmp_path / "Test" / "Image" / "0001.png")
    with pytest.raises(InputError, match="have the same id '0001', but GOALS 2022"):
        goals2022.index(tmp_path)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda root: busi.index(root, masks="frist"),
            "several masks 'frist'. Did you mean 'first'",
        ),
        (lambda root: refuge.index(root, classes="disk"), "'disk'. Did you mean 'disc'"),
        (
            lambda root: drishti_gs.index(root, structure="macula"),
            "'macula'. Choose from: cup, disc",
        ),
        (lambda root: covid19_ct_100.index(root, classes="finding"), "Did you mean 'findings'"),
        (lambda root: covid19_ct_100.index_volumes(root, classes="x"), "Choose from: findings, infection"),
    ],
)
def test_unknown_ways_to_read_are_refused(tmp_path, read, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path)


# --- workbooks ---


def test_sheets_read_as_text_with_gaps_filled(tmp_path):
    path = workbook(tmp_path / "a.xlsx", [["title"], [], ["name", "x"], ["b & c", 0.5], ["d", 2]])
    assert read_sheet(path) == [["title"], ["name", "x"], ["b & c", "0.5"], ["d", "2"]]
    assert read_columns(path, "name", ("x",)) == {"b & c": ("0.5",), "d": ("2",)}


def sheet(path, xml):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", xml)
    return path


def test_sheets_with_empty_cells_and_texts_in_place(tmp_path):
    namespace = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    row = '<row><c r="B1" t="inlineStr"><is><t>b</t></is></c><c r="AA1"><v>1</v></c></row>'
    path = sheet(tmp_path / "a.xlsx", f"<worksheet {namespace}><sheetData>{row}</sheetData></worksheet>")
    assert read_sheet(path) == [["", "b", *[""] * 24, "1"]]


@pytest.mark.parametrize(
    "content",
    [
        "<worksheet",
        '<!DOCTYPE a [<!ENTITY b "c">]><worksheet/>',
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row>'
        '<c r="A1" t="s"><v>3</v></c></row></sheetData></worksheet>',
        " " * (17 * 2**20),
    ],
    ids=["broken", "entities", "text that is not there", "bomb"],
)
def test_damaged_sheets_are_named(tmp_path, content):
    with pytest.raises(InputError, match="a.xlsx is damaged or no .xlsx workbook"):
        read_sheet(sheet(tmp_path / "a.xlsx", content))


def test_what_is_no_workbook_is_named(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"ImgName,Label\n")
    with pytest.raises(InputError, match="a.xlsx is damaged or no .xlsx workbook"):
        read_sheet(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="b.xlsx does not exist"):
        read_sheet(tmp_path / "b.xlsx")
    whole = workbook(tmp_path / "c.xlsx", [["ImgName", "Label"]] + [[f"{i}.jpg", i % 2] for i in range(50)])
    data = whole.read_bytes()
    for length in range(0, len(data), 97):
        whole.write_bytes(data[:length])
        with pytest.raises(InputError, match="c.xlsx"):
            read_sheet(whole)
