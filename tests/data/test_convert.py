"""Conversion to a plain folder, and the commands that split and convert."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from tiny_data import disc, picture, save, write
from typer.testing import CliRunner

from delineate.checks import InputError
from delineate.cli.splits import convert as convert_command
from delineate.cli.splits import split as split_command
from delineate.data import Case, MaskEncoding, index, read_manifest
from delineate.data import regions as regions_module
from delineate.data.convert import convert
from delineate.data.images import read_case_image, read_case_mask

app = typer.Typer()
app.command("split")(split_command)
app.command("convert")(convert_command)


def call(*arguments: object) -> str:
    """Run a command; what it raised is raised here."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def source(tmp_path) -> list[Case]:
    """Two PNG cases and a JPEG case of one class; the second has two mask files, the third a colour mask."""
    folder = tmp_path / "source"
    polyp = MaskEncoding(classes=("polyp",))
    found = [
        Case(
            id=f"case {number}",
            image=save(picture(number), folder / f"{number}.{'jpg' if number == 2 else 'png'}"),
            mask=save(disc(number), folder / f"{number}_mask.png"),
            label="xy"[number % 2],
            group=None if number == 2 else "p1",
            split=("train", "val", "test")[number],
            spacing=(0.5, 0.25),
            encoding=polyp,
        )
        for number in range(3)
    ]
    second = save(np.roll(disc(1), 6, axis=0), folder / "more.png")
    found[1] = replace(found[1], more_masks=(second,))
    return found


def test_everything_known_arrives(source, tmp_path):
    out = tmp_path / "deep" / "plain"
    steps = []
    done = convert(
        source, out, about={"dataset": "mine"}, progress=lambda done, total: steps.append((done, total))
    )
    assert done == (3, 3, 1, ())
    assert steps == [(1, 3), (2, 3), (3, 3)]
    again = index(out)
    for before, after in zip(source, again, strict=True):
        for name in ("id", "label", "group", "split", "spacing"):
            assert getattr(before, name) == getattr(after, name)
        np.testing.assert_array_equal(read_case_image(before), read_case_image(after))
        np.testing.assert_array_equal(read_case_mask(before), read_case_mask(after))
        assert after.encoding.classes == ("polyp",)
        assert after.encoding.values is None  # so that it fits a task that names its one class otherwise
        assert not after.more_masks
    assert again[2].image.read_bytes() == source[2].image.read_bytes()  # an untouched JPEG
    assert json.loads((out / "conversion.json").read_text()) == {
        "dataset": "mine",
        "region": None,
        "size": None,
        "cases": 3,
    }
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.csv",
        "conversion.json",
        "groups.csv",
        "images",
        "labels.csv",
        "masks",
        "spacing.csv",
        "split.csv",
    ]
    assert [path.name for path in tmp_path.joinpath("deep").iterdir()] == ["plain"]
    assert out.stat().st_mode & 0o777 == tmp_path.joinpath("deep").stat().st_mode & 0o777


def test_nothing_known_leaves_no_tables(tmp_path):
    save(picture(0), tmp_path / "0.png")
    convert([Case("0", tmp_path / "0.png")], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["conversion.json", "images"]
    assert index(tmp_path / "out")[0].mask is None


def test_size_keeps_the_aspect_ratio_and_scales_the_spacing(source, tmp_path):
    out = tmp_path / "out"
    done = convert(source, out, size=16)
    assert done.copied == 0
    for case in index(out):
        assert read_case_image(case).shape == (12, 16, 3)  # 24 x 32 before
        assert read_case_mask(case).shape == (12, 16)
        assert case.spacing == (1.0, 0.5)
        assert case.image.suffix == ".png"
        assert set(np.unique(np.array(Image.open(case.mask)))) == {0, 255}


def test_classes_keep_their_names_and_order(tmp_path):
    layers = MaskEncoding(classes=("RNFL", "GCIPL", "choroid"), values=(0, 80, 160), background=255)
    values = np.repeat(np.array([[255, 0, 80, 160]], dtype=np.uint8), 4, axis=0)
    case = Case(
        "a",
        save(picture(0, (4, 4)), tmp_path / "a.png"),
        save(values, tmp_path / "a_mask.png"),
        encoding=layers,
    )
    convert([case], tmp_path / "out")
    (again,) = index(tmp_path / "out")
    assert again.encoding.classes == layers.classes
    np.testing.assert_array_equal(read_case_mask(again)[0], [0, 1, 2, 3])
    assert table(tmp_path / "out" / "classes.csv") == [
        ["value", "name"],
        ["1", "RNFL"],
        ["2", "GCIPL"],
        ["3", "choroid"],
    ]


@pytest.fixture
def left_half(monkeypatch):
    box = regions_module.Box(top=2, left=0, height=20, width=16)
    monkeypatch.setitem(regions_module.REGIONS, "left", lambda image: box)
    return box


def test_region_cuts_image_and_mask_and_is_written_down(source, left_half, tmp_path):
    done = convert(source, tmp_path / "out", region="left", size=40)
    again = index(tmp_path / "out")
    assert done.copied == 0
    assert read_case_image(again[0]).shape == (40, 32, 3)
    assert again[0].spacing == (0.25, 0.125)
    rows = table(tmp_path / "out" / "regions.csv")
    assert rows[0] == ["image_id", "top", "left", "height", "width", "image_height", "image_width"]
    assert rows[1] == ["case 0", "2", "0", "20", "16", "24", "32"]
    expected = [
        case.id for case in source if read_case_mask(case)[2:22, :16].sum() < read_case_mask(case).sum()
    ]
    assert list(done.cut) == expected


def test_region_without_resizing_holds_the_same_pixels(source, left_half, tmp_path):
    convert(source, tmp_path / "out", region="left")
    for before, after in zip(source, index(tmp_path / "out"), strict=True):
        np.testing.assert_array_equal(read_case_image(before)[2:22, :16], read_case_image(after))
        np.testing.assert_array_equal(read_case_mask(before)[2:22, :16], read_case_mask(after))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda c: [], {}, "There is no case to convert"),
        (lambda c: c, {"size": 0}, "size must be at least 1 pixel, got 0"),
        (lambda c: c, {"region": "optic-disk"}, "Unknown region 'optic-disk'. Did you mean 'optic-disc'"),
        (lambda c: [replace(c[0], id="a/b")], {}, "id 'a/b' is not usable as a file name"),
        (lambda c: [c[0], c[0]], {}, "Two cases have the same id"),
        (
            lambda c: [c[0], replace(c[1], encoding=MaskEncoding())],
            {},
            "mask classes of 'case 1' are foreground, those of 'case 0' polyp",
        ),
        (
            lambda c: [replace(c[0], image=c[0].image.with_name("none.png"))],
            {},
            "none.png does not exist",
        ),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(source, tmp_path, change, options, message):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message):
        convert(change(source), tmp_path / "out", **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_file_in_the_middle_leaves_nothing(source, tmp_path):
    source[2].image.write_bytes(source[2].image.read_bytes()[:300])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"2\.jpg"):
        convert(source, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_sizes_that_differ_are_named(source, tmp_path):
    save(disc(0, (24, 30)), source[0].mask)
    with pytest.raises(InputError, match=r"0_mask\.png has \[24, 30\] pixels, its image \[24, 32\]"):
        convert(source, tmp_path / "out")


def test_only_a_new_or_empty_folder_is_filled(source, tmp_path):
    (tmp_path / "empty").mkdir()
    assert convert(source, tmp_path / "empty").cases == 3
    with pytest.raises(InputError, match="empty holds files already; name a new or empty folder"):
        convert(source, tmp_path / "empty")
    write(tmp_path / "file", "x")
    with pytest.raises(InputError, match="file holds files already"):
        convert(source, tmp_path / "file")


LABELS = "image_id,label\n" + "".join(f"a{i:02},{'xyz'[i % 3]}\n" for i in range(12))


def test_split_writes_one_manifest(make_folder, tmp_path):
    root = make_folder(12, labels=LABELS)
    out = tmp_path / "split.json"
    said = call("split", root, "--protocol", "70-15-15", "--seed", 3, "--out", out)
    manifest = read_manifest(out)
    assert (manifest.protocol, manifest.seed) == ("70-15-15", 3)
    assert len(manifest.entries) == 12
    image = (root / "images" / "a00.png").read_bytes()
    assert manifest.entries[0].image_sha256 == hashlib.sha256(image).hexdigest()
    assert "train" in said
    with pytest.raises(InputError, match=r"split\.json exists already and is never overwritten"):
        call("split", root, "--protocol", "70-15-15", "--out", out)
    with pytest.raises(InputError, match=r"must end in \.json; protocol 70-15-15 has no folds"):
        call("split", root, "--protocol", "70-15-15", "--out", tmp_path / "folder")


def test_split_writes_a_manifest_per_fold(make_folder, tmp_path):
    root = make_folder(12, labels=LABELS)
    call("split", root, "--protocol", "k-fold", "--folds", 3, "--out", tmp_path / "folds")
    manifests = [read_manifest(tmp_path / "folds" / f"fold{fold}.json") for fold in range(3)]
    assert [manifest.protocol for manifest in manifests] == [f"k-fold, fold {k} of 3" for k in range(3)]
    tested = [entry.id for manifest in manifests for entry in manifest.entries if entry.split == "test"]
    assert sorted(tested) == [f"a{i:02}" for i in range(12)]


def test_what_draws_nothing_has_no_seed(make_folder, tmp_path):
    call("split", make_folder(4), "--protocol", "all-test", "--out", tmp_path / "test.json")
    assert read_manifest(tmp_path / "test.json").seed is None


def test_convert_with_a_protocol(make_folder, tmp_path):
    root = make_folder(12, labels=LABELS)
    call("convert", root, tmp_path / "out", "--protocol", "k-fold", "--folds", 4, "--fold", 1, "--size", 16)
    found = index(tmp_path / "out")
    assert sum(case.split == "test" for case in found) == 3
    told = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert told == {
        "dataset": ["folder"],
        "protocol": "k-fold",
        "fold": 1,
        "folds": 4,
        "seed": 0,
        "region": None,
        "size": 16,
        "cases": 12,
    }
    with pytest.raises(InputError, match="Folds belong to a protocol; name it with --protocol"):
        call("convert", root, tmp_path / "other", "--fold", 1)


def test_sets_can_be_joined(make_folder, tmp_path):
    first = make_folder(3, name="first")
    second = tmp_path / "second"
    for number in range(2):
        save(picture(number + 50), second / "images" / f"b{number}.png")
        save(disc(number), second / "masks" / f"b{number}.png")
    call("convert", first, tmp_path / "out", "--also", f"folder={second}")
    assert [case.id for case in index(tmp_path / "out")] == ["a00", "a01", "a02", "b0", "b1"]
    with pytest.raises(
        InputError, match="The id 'a00' is in folder and in folder; these sets cannot be join"
    ):
        call("convert", first, tmp_path / "twice", "--also", f"folder={first}")
    with pytest.raises(InputError, match="--also takes NAME=FOLDER, got 'second'"):
        call("convert", first, tmp_path / "wrong", "--also", "second")
