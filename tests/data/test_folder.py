"""The plain folder and its tables."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_data import disc, picture, save, write

from delineate.checks import InputError
from delineate.data import READERS, MaskEncoding, index
from delineate.data.images import read_case_mask


def test_everything(make_folder):
    root = make_folder(
        3,
        labels="image_id,label\na00,benign\na02,malignant\n",
        split="image_id,split\na00,train\na01,val\na02,test\n",
        groups="image_id,patient_id\na00,p1\na01,p1\n",
        spacing="column_mm,image_id,row_mm\n0.5,a01,0.25\n",
    )
    first, second, third = index(root)
    assert [case.id for case in (first, second, third)] == ["a00", "a01", "a02"]
    assert first.image == root / "images" / "a00.png"
    assert first.mask == root / "masks" / "a00.png"
    assert (first.label, second.label, third.label) == ("benign", None, "malignant")
    assert (first.split, second.split, third.split) == ("train", "val", "test")
    assert (first.group, second.group, third.group) == ("p1", "p1", None)
    assert (first.spacing, second.spacing) == (None, (0.25, 0.5))
    assert first.encoding == MaskEncoding()


def test_masks_are_optional_as_a_whole_and_one_by_one(make_folder):
    assert [case.mask for case in index(make_folder(2, masks=False, name="none"))] == [None, None]
    root = make_folder(2)
    (root / "masks" / "a01.png").unlink()
    assert [case.mask is None for case in index(root)] == [False, True]


def test_other_endings_and_jpeg_masks(make_folder):
    root = make_folder(1)
    save(picture(5), root / "images" / "b.JPG")
    save(disc(5), root / "masks" / "b.jpeg")
    case = index(root)[1]
    assert (case.id, case.encoding.threshold) == ("b", 128)
    assert index(root)[0].encoding.threshold is None


def test_what_file_managers_leave_is_passed_over(make_folder):
    root = make_folder(1)
    for name in (".DS_Store", "Thumbs.db", "._a00.png"):
        (root / "images" / name).write_bytes(b"x")
    assert len(index(root)) == 1


def test_classes(make_folder):
    root = make_folder(1, classes="value,name\n80,gcipl\n0,rnfl\n255,background\n")
    assert index(root)[0].encoding == MaskEncoding(("gcipl", "rnfl"), (80, 0), background=255)
    write(root / "classes.csv", "value,name\n1,lesion\n")
    assert index(root)[0].encoding == MaskEncoding(("lesion",), (1,))


def test_byte_order_mark_blanks_quotes_and_windows_lines(make_folder):
    root = make_folder(2)
    (root / "labels.csv").write_bytes('\ufeffimage_id, label\r\na00, nevus \r\n\r\na01,"a, b"\r\n'.encode())
    assert [case.label for case in index(root)] == ["nevus", "a, b"]


def test_missing_and_empty_folders(tmp_path, make_folder):
    with pytest.raises(InputError, match=r"The data folder .*nowhere does not exist; check the path\."):
        index(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no folder images/; put the images into"):
        index(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"images holds no images; supported endings are .png .jpg"):
        index(tmp_path)
    with pytest.raises(InputError, match=r"Unknown data set 'foldr'. Did you mean 'folder'\?"):
        index(tmp_path, "foldr")
    assert all(reader.description for reader in READERS.values())


def test_faulty_files(make_folder):
    root = make_folder(1)
    extra = save(disc(1), root / "masks" / "zz.png")
    with pytest.raises(InputError, match=r"The mask .*zz.png has no image of the same name"):
        index(root)
    extra.unlink()
    extra = save(picture(1), root / "images" / "a00.bmp")
    with pytest.raises(
        InputError, match=r"a00.bmp and .*a00.png have the same id 'a00'; rename or remove one"
    ):
        index(root)
    extra.unlink()
    extra = write(root / "images" / "a.webp", "x")
    with pytest.raises(InputError, match=r"a.webp has an ending that is not supported; convert it to PNG"):
        index(root)
    extra.unlink()
    (root / "images" / "more").mkdir()
    with pytest.raises(InputError, match=r"more is a folder inside images/"):
        index(root)


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("labels", "image_id,label\na00,x\nb,y\n", r"labels.csv, line 3: there is no image 'b' in images/"),
        ("labels", "image_id,label\na00.png,x\n", r"line 2: .*'a00.png'.* Did you mean 'a00'\?"),
        (
            "labels",
            "image_id,label\na00,x\na00,y\n",
            r"line 3: image_id 'a00' is already on line 2; remove one",
        ),
        (
            "labels",
            "image_id,class\na00,x\n",
            r"the column label is missing from the header 'image_id,class'",
        ),
        (
            "labels",
            "image_id;label\na00;x\n",
            r"is missing from the header .*; separate the columns by commas",
        ),
        ("labels", "image_id,label\na00,\n", r"labels.csv, line 2: label is empty; fill it in"),
        ("labels", "image_id,label\na00,a,b\n", r"line 2: 3 cells where the header has 2; quote a cell"),
        ("labels", "image_id,label,label\na00,x,y\n", r"the column label comes twice in the header"),
        ("labels", "", r"labels.csv is empty; its first line must be image_id,label"),
        ("labels", 'image_id,label\na00,"x\n', r"labels.csv is not a comma-separated table"),
        (
            "split",
            "image_id,split\na00,tset\n",
            r"split.csv, line 2: unknown split 'tset'. Did you mean 'test'\?",
        ),
        ("split", "image_id,split\nzz,train\n", r"split.csv, line 2: there is no image 'zz'"),
        ("groups", "image_id,group\nzz,1\n", r"groups.csv, line 2: there is no image 'zz'"),
        ("groups", "name,patient\na00,1\n", r"the column image_id is missing"),
        ("groups", "image_id,a,b\na00,1,2\n", r"the column group is missing"),
        ("spacing", "image_id,row_mm,column_mm\na00,0,1\n", r"spacing.csv, line 2: '0' is not a spacing"),
        (
            "spacing",
            "image_id,row_mm,column_mm\na00,x,1\n",
            r"'x' is not a spacing; write millimetres per pixel",
        ),
        ("spacing", "image_id,row_mm,column_mm\na00,1,inf\n", r"'inf' is not a spacing"),
        ("window", "image_id,low,high\na00,5,5\n", r"window.csv, line 2: 5 to 5 is not a window; write two"),
        ("window", "image_id,low,high\n*,x,5\n", r"line 2: x to 5 is not a window"),
        ("window", "image_id,low,high\nzz,0,5\n", r"window.csv, line 2: there is no image 'zz'"),
        ("classes", "value,name\n>=128,x\n0,background\n", r"a threshold stands alone and names the fore"),
        ("classes", "value,name\n>128,x\n", r"a threshold stands alone .* such as >=128,lesion"),
        ("classes", "value,name\n>=0,x\n", r"line 2: '0' is not a threshold; write a whole number 1 to 255"),
        ("classes", "value,name\n256,x\n", r"classes.csv, line 2: '256' is not a mask value"),
        ("classes", "value,name\n-1,x\n", r"'-1' is not a mask value; write a whole number 0 to 255"),
        ("classes", "value,name\n1,x\n01,y\n", r"line 3: the value 1 is named twice"),
        ("classes", "value,name\n1,x\n2,x\n", r"line 3: the class 'x' is named twice"),
        ("classes", "value,name\n0,background\n", r"names no class besides the background"),
        ("classes", "value,name\n0,x\n1,y\n", r"the value 0 is the background and the class 'x' at once"),
    ],
)
def test_faulty_tables(make_folder, table, text, message):
    root = make_folder(2, **{table: text})
    with pytest.raises(InputError, match=message) as error:
        index(root)
    assert f"{table}.csv" in str(error.value)


def test_table_that_is_not_utf8(make_folder):
    root = make_folder(1)
    (root / "labels.csv").write_bytes("image_id,label\na00,né\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"labels.csv is not UTF-8 text; save it again as CSV UTF-8"):
        index(root)


def test_jpeg_masks_cannot_hold_classes(make_folder):
    root = make_folder(1, masks=False, classes="value,name\n1,x\n2,y\n")
    save(disc(0), root / "masks" / "a00.jpg")
    with pytest.raises(
        InputError, match=r"a00.jpg is a JPEG, which changes the values that classes.csv names"
    ):
        index(root)


def test_threshold_for_masks_that_were_blurred(make_folder):
    root = make_folder(1, masks=False, classes="value,name\n>=100,lesion\n")
    save(np.array([[0, 99], [100, 255]], np.uint8), root / "masks" / "a00.png")
    (case,) = index(root)
    assert case.encoding == MaskEncoding(("lesion",), threshold=100)
    np.testing.assert_array_equal(read_case_mask(case), [[0, 0], [1, 1]])
    (root / "masks" / "a00.png").rename(root / "masks" / "a00.jpg")
    assert index(root)[0].encoding == case.encoding


def test_windows(make_folder):
    root = make_folder(2, window="image_id,low,high\n*,-1250,250\na01,0,4095\n")
    assert [case.window for case in index(root)] == [(-1250, 250), (0, 4095)]


def volume_of(path, slices, seed=0):
    nibabel = pytest.importorskip("nibabel", reason="NIfTI needs nibabel")
    values = np.random.default_rng(seed).integers(0, 2, (6, 5, slices)).astype(np.uint8)
    image = nibabel.Nifti1Image(values, np.diag([0.5, 0.7, 5, 1]))
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def test_volumes_become_one_case_per_slice(make_folder):
    root = make_folder(
        1,
        labels="image_id,label\nv,ill\nv_s001,well\n",
        split="image_id,split\nv,test\na00,train\n",
        groups="image_id,patient\nw,p7\n",
        spacing="image_id,row_mm,column_mm\nw,2,3\n",
        window="image_id,low,high\n*,0,9\nv,0,1\nv_s002,0,2\n",
    )
    volume_of(root / "images" / "v.nii.gz", 3)
    volume_of(root / "masks" / "v.nii", 3, seed=1)
    volume_of(root / "images" / "w.nii", 2)
    volume_of(root / "images" / "flat.nii", 1)
    cases = {case.id: case for case in index(root)}
    assert list(cases) == ["a00", "flat", "v_s000", "v_s001", "v_s002", "w_s000", "w_s001"]
    assert [case.slice for case in cases.values()] == [None, None, 0, 1, 2, 0, 1]
    assert [case.label for case in cases.values()] == [None, None, "ill", "well", "ill", None, None]
    assert [case.group for case in cases.values()] == [None, None, "v", "v", "v", "p7", "p7"]
    assert [case.split for case in cases.values()] == ["train", None, "test", "test", "test", None, None]
    assert [case.spacing for case in cases.values()] == [None, *[(0.7, 0.5)] * 4, (2, 3), (2, 3)]
    assert [case.window[1] for case in cases.values()] == [9, 9, 1, 1, 2, 9, 9]
    masks = [read_case_mask(cases[f"v_s{k:03d}"]) for k in range(3)]
    stored = np.random.default_rng(1).integers(0, 2, (6, 5, 3))
    for k in range(3):
        np.testing.assert_array_equal(masks[k], stored[::-1, ::-1, k].T)


def test_more_than_a_thousand_slices_stay_in_order(make_folder):
    root = make_folder(1)
    volume_of(root / "images" / "v.nii.gz", 1001)
    cases = index(root)[1:]
    assert (cases[2].id, cases[-1].id) == ("v_s0002", "v_s1000")
    assert [case.slice for case in cases] == list(range(1001))


def test_volumes_and_masks_that_do_not_fit(make_folder):
    root = make_folder(1)
    volume_of(root / "images" / "v.nii.gz", 3)
    volume_of(root / "masks" / "v.nii.gz", 2)
    with pytest.raises(
        InputError, match=r"masks/v.nii.gz has 2 slices and its image .*v.nii.gz has 3 slices;"
    ):
        index(root)
    (root / "masks" / "v.nii.gz").unlink()
    save(disc(1), root / "masks" / "v.png")
    with pytest.raises(InputError, match=r"masks/v.png has 1 slice and its image .*v.nii.gz has 3 slices;"):
        index(root)
    (root / "masks" / "v.png").unlink()
    save(picture(1), root / "images" / "v_s001.png")
    with pytest.raises(InputError, match=r"v_s001.png has the id of a slice of .*v.nii.gz; rename one"):
        index(root)
    (root / "images" / "v_s001.png").unlink()
    (root / "images" / "v.nii.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(InputError, match=r"v.nii.gz cannot be decoded"):
        index(root)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60) | st.text('a0,"\n\r;x \0', max_size=40).map(str.encode),
    header=st.sampled_from([b"", b"image_id,label\n", b"image_id,split\n", b"value,name\n"]),
    table=st.sampled_from(["labels", "split", "groups", "spacing", "window", "classes"]),
)
def test_no_table_raises_anything_but_an_input_error(make_folder, content, header, table):
    root = make_folder(1)
    path = root / f"{table}.csv"
    path.write_bytes(header + content)
    try:
        assert len(index(root)) == 1
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    finally:
        path.unlink()
