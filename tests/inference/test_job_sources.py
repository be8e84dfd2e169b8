"""What a job lists: files, folders, patterns, lists and archives, their ids, and what it refuses."""

import io
import os
import struct
import tarfile
import zipfile

import pytest
from PIL import Image

from delineate.checks import InputError
from delineate.data.fetch.unpack import Limits
from delineate.inference.job import archives
from delineate.inference.job.archives import Extractor, list_members
from delineate.inference.job.plan import write_plan
from delineate.inference.job.sources import Unit, list_units


def picture(colour=0):
    data = io.BytesIO()
    Image.new("RGB", (5, 4), (colour, 10, 20)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.PNG",
        "a.jpg",
        ".hidden.png",
        "notes.txt",
        "deep/c.nii.gz",
        "deep/more/d.png",
        ".git/e.png",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture())
    return tmp_path / "in"


def ids(*sources, **options):
    return [unit.id for unit in list_units(sources, **options)]


def test_files_folders_patterns_and_lists(folder, tmp_path, monkeypatch):
    assert ids(folder) == ["a", "b"]
    assert ids(folder, recursive=True) == ["a", "b", "deep__c", "deep__more__d"]
    assert ids(folder / "notes.txt") == ["notes"], "a file that is named is tried, whatever its ending"
    assert ids(f"{folder}/*") == ["a", "b"]
    assert ids(f"{folder}/**/*.png") == ["deep__more__d"]
    assert ids(f"{folder}/d*p/*.nii.gz") == ["deep__c"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("# mine\nin/b.PNG\n\nnowhere/gone.png\n")
    assert ids("@names.txt") == ["b", "gone"], "what is missing is found out when it is read"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.png", "gone.png does not exist"),
        ("in/deep/more/../../empty", "holds no image .*--recursive also looks"),
        ("in/*.bmp", "The pattern in/.*bmp matches no image"),
        ("@gone.txt", "The list gone.txt cannot be read: No such file"),
        ("@in/notes.txt", "The list in/notes.txt cannot be read: it is no UTF-8 text"),
    ],
)
def test_sources_that_are_none(folder, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        ids(source)


def write_archive(path, members):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as bundle:
            for position, (name, data) in enumerate(members.items()):
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_STORED if position % 2 else zipfile.ZIP_DEFLATED
                with bundle.open(info, "w", force_zip64=position == 2) as member:
                    member.write(data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as bundle:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz"])
def test_archives_are_read_member_by_member(tmp_path, name):
    members = {f"ward/{i}/é{i}.png": picture(i) for i in range(4)}
    extra = {
        "__MACOSX/ward/._a.png": b"x",
        "read me.txt": b"y",
        "ward/.z.png": b"z",
        "./long" + "g" * 120 + ".png": b"q",
    }
    archive = write_archive(tmp_path / name, members | extra)
    units = list(list_units([archive]))
    assert [u.id for u in units] == [f"ward__{i}__é{i}" for i in range(4)] + ["long" + "g" * 120]
    assert units[0].file == f"{archive}/ward/0/é0.png"
    extractor = Extractor()
    for unit, data in zip(units, members.values(), strict=False):
        extractor.extract(unit.member, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data
    if name in ("x.zip", "x.tar"):  # every member has a place of its own
        Extractor().extract(units[1].member, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == members["ward/1/é1.png"]
    extractor.close()


def test_a_zip_behind_other_bytes(tmp_path):
    plain = write_archive(tmp_path / "x.zip", {"a.png": picture(3)})
    (tmp_path / "y.zip").write_bytes(b"#!/bin/sh\nexit\n" + plain.read_bytes())
    (unit,) = list_units([tmp_path / "y.zip"])
    Extractor().extract(unit.member, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == picture(3)


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
def test_names_that_lead_out_are_refused(tmp_path, ending):
    archive = write_archive(tmp_path / f"x{ending}", {"a.png": picture(), "../../evil.png": picture()})
    with pytest.raises(InputError, match=r"holds the name '../../evil.png', which leads out of its folder"):
        ids(archive)


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
def test_bombs_are_refused(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(archives, "_LIMITS", Limits(ratio=3, always=2**14))
    archive = write_archive(tmp_path / f"x{ending}", {"a.png": bytes(2**20)})
    if ending != ".tar":
        with pytest.raises(InputError, match="would grow to more than 3 times its size"):
            list(list_members(archive))
    else:
        assert len(list(list_members(archive))) == 1, "it is as large as it says"


def test_a_zip_that_lies_is_found_out(tmp_path):
    archive = write_archive(tmp_path / "x.zip", {"a.png": bytes(5000)})
    (member,) = list_members(archive)
    data = archive.read_bytes()
    place = data.rindex(b"PK\1\2")
    for field, value, reason in ((24, 4000, "more bytes than its table says"), (16, 7, "checksum is wrong")):
        lying = tmp_path / f"lying{field}.zip"
        lying.write_bytes(data[: place + field] + struct.pack("<L", value) + data[place + field + 4 :])
        (wrong,) = list_members(lying)
        with pytest.raises(InputError, match=f"lying{field}.zip/a.png is damaged .*{reason}"):
            Extractor().extract(wrong, tmp_path / "copy")
    end = data.rindex(b"PK\5\6")
    entry, tail = bytearray(data[place:end]), bytearray(data[end:])
    entry[30:32], entry[42:46] = struct.pack("<H", 12), b"\xff" * 4  # where it begins says a zip64 field
    entry[51:51] = struct.pack("<HHQ", 1, 8, 2**63)
    tail[12:16] = struct.pack("<L", len(entry))
    (tmp_path / "beyond.zip").write_bytes(data[:place] + entry + tail)
    (wrong,) = list_members(tmp_path / "beyond.zip")
    with pytest.raises(InputError, match=r"beyond.zip/a.png is damaged"):
        Extractor().extract(wrong, tmp_path / "copy")
    (tmp_path / "half.zip").write_bytes(data[:-30])
    with pytest.raises(InputError, match="half.zip is damaged .it has no table of contents."):
        list(list_members(tmp_path / "half.zip"))
    (tmp_path / "half.tgz").write_bytes(
        write_archive(tmp_path / "x.tgz", {"a.png": os.urandom(9000)}).read_bytes()[:4000]
    )
    with pytest.raises(InputError, match="half.tgz is damaged"):
        list(list_members(tmp_path / "half.tgz"))


def test_members_that_are_no_plain_files(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as bundle:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        bundle.addfile(link)
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as bundle:
        link = zipfile.ZipInfo("b.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        bundle.writestr(link, "/etc/passwd")
    for unit in list_units([tmp_path / "x.tar", tmp_path / "y.zip"]):
        with pytest.raises(InputError, match=r"[ab].png is a link or a device and no plain file"):
            Extractor().extract(unit.member, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    data = bytearray(write_archive(tmp_path / "z.zip", {"c.png": picture()}).read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    (tmp_path / "z.zip").write_bytes(data)
    (unit,) = list_units([tmp_path / "z.zip"])
    with pytest.raises(InputError, match=r"z.zip/c.png asks for a password"):
        Extractor().extract(unit.member, tmp_path / "copy")


def test_a_plan_keeps_the_order_and_finds_clashes(tmp_path):
    units = [Unit(f"x{i}", f"/in/x{i}.png") for i in range(7)]
    plan = write_plan([*units, units[2], units[2]], tmp_path / "plan", 3)
    assert plan.files == 7
    assert [len(group) for group in plan.groups()] == [3, 3, 1]
    assert [u for group in plan.groups() for u in group] == units, "listed again is listed once"
    assert plan.group_at(plan.starts[1]) == units[3:6]
    with pytest.raises(
        InputError, match="/in/x4.png and /other/x4.jpg would both be written as 'x4'; rename"
    ):
        write_plan([*units, Unit("x4", "/other/x4.jpg")], tmp_path / "plan", 3)
    scan, page = Unit("scan", "/in/scan.nii"), Unit("scan_s001", "/in/scan_s001.png")
    with pytest.raises(InputError, match="scan_s001.png has a name like a slice of the volume 'scan'"):
        write_plan([scan, page], tmp_path / "plan", 3)
    assert write_plan([Unit("scan", "/in/scan.png"), page], tmp_path / "plan", 3).files == 2
    tiff = Unit("scan", str(tmp_path / "scan.tif"))
    one = Image.new("L", (4, 4))
    one.save(tiff.file)
    assert write_plan([page, tiff], tmp_path / "plan", 3).files == 2
    one.save(tiff.file, save_all=True, append_images=[one])
    with pytest.raises(InputError, match="scan_s001.png has a name like a slice of the volume 'scan'"):
        write_plan([page, tiff], tmp_path / "plan", 3)
