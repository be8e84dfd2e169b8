"""Archives that strangers made: good, damaged and malicious ones."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from delineate.checks import InputError
from delineate.data.fetch.unpack import BadArchiveError, Limits, safe_path, unpack


@pytest.fixture
def places(tmp_path):
    """(folder to fill, folder for what is not whole)."""
    (tmp_path / "work").mkdir()
    return tmp_path / "out", tmp_path / "work"


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as bundle:
        for name, data in members:
            bundle.writestr(name, data)
    return path


def tarred(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as bundle:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data))
    return path


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_left(places):
    out, work = places
    return not list(work.iterdir()) and (not out.exists() or not list(out.iterdir()))


MEMBERS = [("set/images/a b.png", b"1"), ("set/ä.txt", b"2"), ("top.csv", b"3")]


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "gz", "bz2", "xz"])
def test_all_kinds_give_the_same_files(tmp_path, places, kind):
    path = tmp_path / "archive"  # the content decides, not the name
    if kind in ("zip", "deflated"):
        way = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        zipped(path, [("set/", b""), *MEMBERS], compression=way)
    else:
        tarred(path, MEMBERS, "w" if kind == "tar" else f"w:{kind}")
    seen = []
    out, work = places
    assert unpack(path, out, work, progress=lambda *row: seen.append(row)) == ["set", "top.csv"]
    assert tree(out) == dict(MEMBERS)
    assert [done for done, _ in seen] == [1, 2, 3]
    assert not list(work.iterdir())


def test_a_lone_compressed_file_loses_its_ending(tmp_path, places):
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"id,label\n"))
    assert unpack(path, *places) == ["labels.csv"]
    assert tree(places[0]) == {"labels.csv": b"id,label\n"}


def test_two_archives_may_fill_one_folder_and_equal_files_are_kept(tmp_path, places):
    out, work = places
    unpack(zipped(tmp_path / "1.zip", [("set/train/a", b"1"), ("set/README", b"x")]), out, work)
    unpack(zipped(tmp_path / "2.zip", [("set/test/b", b"2"), ("set/README", b"x")]), out, work)
    assert tree(out) == {"set/train/a": b"1", "set/test/b": b"2", "set/README": b"x"}
    third = zipped(tmp_path / "3.zip", [("set/aaa", b"new"), ("set/train/a", b"other")])
    with pytest.raises(InputError, match=r"train/a is there already and differs from what 3.zip holds"):
        unpack(third, out, work)
    assert "set/aaa" not in tree(out)  # all or nothing
    fourth = zipped(tmp_path / "4.zip", [("set/train", b"a file")])
    with pytest.raises(InputError, match=r"set/train is there already and differs"):
        unpack(fourth, out, work)


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "c:/evil", "a/..", "\\\\host\\x"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path, places, name, kind):
    make = zipped if kind == "zip" else tarred
    path = make(tmp_path / "slip", [("good.txt", b"1"), (name, b"2")])
    with pytest.raises(BadArchiveError, match=r"holds the name .*, which leads out of its folder; do not"):
        unpack(path, *places)
    assert nothing_left(places)
    assert not list(tmp_path.glob("evil"))


def test_safe_names_stay_as_they_are():
    assert safe_path("./a//b.png", "x").as_posix() == "a/b.png"
    assert safe_path("a..b/...c", "x").as_posix() == "a..b/...c"
    with pytest.raises(BadArchiveError, match="holds the name '', which leads out"):
        safe_path("", "x")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, places, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tarred(tmp_path / "a.tar", [("good.txt", b"1"), (info, b"")], "w")
    with pytest.raises(BadArchiveError, match=r"holds 'link', which is a link or a device"):
        unpack(path, *places)
    assert nothing_left(places)


def test_links_in_a_zip_are_refused(tmp_path, places):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zipped(tmp_path / "a.zip", [(info, b"/etc/passwd")])
    with pytest.raises(BadArchiveError, match=r"holds 'link', which is a link or a device"):
        unpack(path, *places)
    assert nothing_left(places)


@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_bombs_are_refused(tmp_path, places, kind):
    zeros = bytes(3_000_000)  # about 1000 times as much as the archive
    path = tmp_path / "bomb"
    if kind == "zip":
        zipped(path, [("a", zeros)], compression=zipfile.ZIP_DEFLATED)
    elif kind == "tar":
        tarred(path, [("a", zeros)])
    else:
        path.write_bytes(gzip.compress(zeros))
    with pytest.raises(BadArchiveError, match="would grow to more than 100 times its size"):
        unpack(path, *places, Limits(always=1_000_000))
    assert nothing_left(places)
    unpack(path, *places, Limits(always=4_000_000))  # small enough to be harmless


def test_a_bomb_of_names_and_a_full_disk_are_refused(tmp_path, places):
    path = zipped(tmp_path / "a.zip", [(f"{i}", b"") for i in range(12)])
    with pytest.raises(BadArchiveError, match="holds more than 10 files"):
        unpack(path, *places, Limits(members=10))
    path = zipped(tmp_path / "b.zip", [("a", bytes(1000))])
    with pytest.raises(InputError, match=r"has no room for what b.zip holds; free [\d.]+ .B or more"):
        unpack(path, *places, Limits(spare=10**18))
    assert nothing_left(places)


def test_damage_is_found_wherever_it_is(tmp_path, places):
    noise = bytes(i * i % 251 for i in range(20_000))
    good = zipped(tmp_path / "a.zip", [("a", noise), ("b", noise)], compression=zipfile.ZIP_DEFLATED)
    whole = good.read_bytes()
    packed = tarred(tmp_path / "a.tgz", [("a", noise), ("b", noise)]).read_bytes()
    for data, name in ((whole, "a.zip"), (packed, "a.tgz")):
        for keep in (0, 3, 30, len(data) // 2, len(data) * 9 // 10):
            (tmp_path / name).write_bytes(data[:keep])
            with pytest.raises(BadArchiveError, match=rf"{name} is (damaged|no whole zip)"):
                unpack(tmp_path / name, *places)
            assert nothing_left(places)
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    good.write_bytes(flipped)
    with pytest.raises(BadArchiveError, match=r"a.zip is damaged \(.*\); download it again"):
        unpack(good, *places)
    assert nothing_left(places)


def test_passwords_doubled_names_and_empty_archives_are_refused(tmp_path, places):
    path = zipped(tmp_path / "a.zip", [("a", b"1")])
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of encryption in the local header, and in the directory
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(BadArchiveError, match="asks for a password"):
        unpack(path, *places)
    with pytest.raises(BadArchiveError, match=r"holds the name 'a/x' twice"):
        unpack(tarred(tmp_path / "b.tar", [("a/x", b"1"), ("a/x", b"2")], "w"), *places)
    with pytest.raises(BadArchiveError, match=r"holds the name .* twice"):
        unpack(tarred(tmp_path / "c.tar", [("a", b"1"), ("a/x", b"2")], "w"), *places)
    with pytest.raises(BadArchiveError, match=r"d.zip is empty"):
        unpack(zipped(tmp_path / "d.zip", []), *places)
    assert nothing_left(places)
