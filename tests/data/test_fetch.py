"""Fetching: whole, cut, resumed, changed meanwhile, wrong in every way, two at once."""

import hashlib
import json
import multiprocessing

import pytest
from small_server import about_of, archive, serving

from delineate.checks import InputError
from delineate.data.fetch import RECORD, Listener, Patience, fetch, transfer
from delineate.data.readers.about import Download

QUICK = Patience(timeout=(2, 2), attempts=3, pause=0.01)


def left_over(out):
    """Everything below the folder but the record and the lock."""
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return files - {RECORD, ".fetch/lock"}


def content(out):
    return (out / "set/images/a.png").read_bytes()[:6]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


def test_a_whole_file_is_unpacked_recorded_and_not_fetched_again(server, tmp_path):
    page = server.offer("set.zip")
    seen, said = [], []

    def bar(title):
        class Bar:
            def __enter__(self):
                return lambda done, total: seen.append((title, done, total))

            def __exit__(self, *_):
                pass

        return Bar()

    about = server.about("set.zip")
    (one,) = fetch(about, tmp_path, listener=Listener(bar, said.append))
    assert one.sha256 == hashlib.sha256(page.body).hexdigest()
    assert one.size == len(page.body)
    assert one.holds == ("set",)
    assert left_over(tmp_path) == {"set/images/a.png"}
    assert content(tmp_path) == b"pixels"
    assert json.loads((tmp_path / RECORD).read_text())["files"][0]["sha256"] == one.sha256
    assert [row for row in seen if row[0] == "set.zip"][-1] == ("set.zip", len(page.body), len(page.body))
    assert fetch(about, tmp_path, listener=Listener(say=said.append)) == [one]
    assert said == ["set.zip is there already"]
    assert len(server.requests) == 1


def test_a_cut_connection_is_resumed_in_the_same_run(server, tmp_path):
    page = server.offer("set.zip", cuts=[70_000, 60_000])
    fetch(server.about("set.zip"), tmp_path, patience=QUICK)
    assert server.requests == [
        ("/set.zip", None),
        ("/set.zip", "bytes=70000-"),
        ("/set.zip", "bytes=130000-"),
    ]
    assert page.cuts == []
    assert left_over(tmp_path) == {"set/images/a.png"}


@pytest.mark.parametrize("length", [True, False])
def test_a_later_run_goes_on_where_the_first_gave_up(server, tmp_path, length):
    page = server.offer("set.zip", cuts=[70_000, 0, 0], length=length)
    about = server.about("set.zip", size=len(page.body))
    with pytest.raises(
        InputError, match=r"Cannot download set.zip from .*, 3 times in a row; run this again"
    ):
        fetch(about, tmp_path, patience=QUICK)
    assert left_over(tmp_path) == {".fetch/set.zip.part", ".fetch/set.zip.part.json"}
    fetch(about, tmp_path, patience=QUICK)
    assert server.requests[-1] == ("/set.zip", "bytes=70000-")
    assert left_over(tmp_path) == {"set/images/a.png"}


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_one(server, tmp_path):
    def change(page):
        if server.requests:
            page.body, page.etag = archive("newer!"), '"v2"'

    page = server.offer("set.zip", cuts=[70_000], before=change)
    (one,) = fetch(server.about("set.zip"), tmp_path, patience=QUICK)
    assert one.sha256 == hashlib.sha256(page.body).hexdigest()
    assert content(tmp_path) == b"newer!"
    assert [asked for _, asked in server.requests] == [None, "bytes=70000-"]


@pytest.mark.parametrize("options", [{"etag": None}, {"etag": 'W/"weak"'}, {"ranges": False}])
def test_without_a_sure_version_or_ranges_it_starts_again(server, tmp_path, options):
    page = server.offer("set.zip", cuts=[70_000], **options)
    (one,) = fetch(server.about("set.zip"), tmp_path, patience=QUICK)
    assert one.sha256 == hashlib.sha256(page.body).hexdigest()  # zip readers forgive bytes before the archive
    asked = server.requests[1][1]
    assert asked == ("bytes=70000-" if "ranges" in options else None)


def test_without_a_version_a_checksum_allows_to_resume(server, tmp_path):
    page = server.offer("set.zip", cuts=[70_000], etag=None)
    checksum = f"md5:{hashlib.md5(page.body).hexdigest()}"
    fetch(server.about("set.zip", checksum=checksum), tmp_path, patience=QUICK)
    assert server.requests[1][1] == "bytes=70000-"


def test_a_part_that_is_longer_than_the_file_is_dropped(server, tmp_path):
    server.offer("set.zip", cuts=[70_000, 0, 0])
    about = server.about("set.zip")
    with pytest.raises(InputError, match="3 times in a row"):
        fetch(about, tmp_path, patience=QUICK)
    with (tmp_path / ".fetch/set.zip.part").open("ab") as file:
        file.write(bytes(300_000))
    fetch(about, tmp_path, patience=QUICK)
    assert content(tmp_path) == b"pixels"


@pytest.mark.parametrize(
    ("options", "download", "message"),
    [
        ({}, {"size": 17}, r"offers 20\d{4} bytes, but set.zip is published with 17"),
        ({"length": False}, {"size": 17}, "sent more bytes than announced instead of set.zip"),
        ({}, {"checksum": "md5:" + "0" * 32}, r"has the checksum md5:\w{32}, but md5:0+ is published"),
        ({}, {"checksum": "sha256:" + "0" * 64}, r"has the checksum sha256:\w{64}, but sha256:0+ is"),
        (
            {"status": 404},
            {},
            r"answers 404 \(the file is not there\); get it with a browser from https://ex",
        ),
        ({"status": 403}, {}, r"answers 403 \(it refuses access\)"),
        ({"status": 401}, {}, r"answers 401 \(it asks for an account\)"),
        ({"status": 503}, {}, r"answers 503 \(Service Unavailable\), 3 times in a row; run this again later"),
        ({"body": b"<p>Log in", "kind": "text/html; charset=utf-8"}, {}, "answers with a web page instead"),
        ({"body": b"\n<!DOCTYPE html><p>Log in"}, {}, "answers with a web page instead of set.zip"),
        ({"body": b'{"error": "quota"}'}, {}, "sent something that is no zip file"),
        ({"body": b""}, {}, "sent nothing instead of set.zip"),
        ({"body": b"PK\x03\x04" + bytes(99)}, {}, "no whole zip, tar or gz file; download it again"),
        ({"headers": {"Content-Encoding": "gzip"}}, {}, r"sends set.zip compressed \(gzip\) although"),
    ],
)
def test_a_wrong_answer_is_one_sentence_and_leaves_nothing(server, tmp_path, options, download, message):
    server.offer("set.zip", **options)
    with pytest.raises(InputError, match=message) as caught:
        fetch(server.about("set.zip", **download), tmp_path, patience=QUICK)
    assert "\n" not in str(caught.value)
    assert left_over(tmp_path) == set()
    assert not (tmp_path / RECORD).exists()


def test_no_server_is_one_sentence(tmp_path, server, monkeypatch):
    about = about_of((Download("http://127.0.0.1:9/set.zip", "set.zip"),))
    with pytest.raises(InputError, match=r"no connection to 127.0.0.1, 3 times in a row"):
        fetch(about, tmp_path, patience=QUICK)


@pytest.mark.parametrize("url", ["http://example.org/set.zip", "ftp://example.org/a", "file:///etc/passwd"])
def test_other_addresses_than_https_are_refused(tmp_path, url):
    with pytest.raises(InputError, match="which is not https; nothing was downloaded from there"):
        fetch(about_of((Download(url, "set.zip"),)), tmp_path, patience=QUICK)


def test_redirects_are_followed_but_never_away_from_https(server, tmp_path):
    server.offer("set.zip")
    server.offer("old.zip", b"", status=302, headers={"Location": "/set.zip"})
    server.offer("bad.zip", b"", status=302, headers={"Location": "http://example.org/set.zip"})
    fetch(server.about("old.zip"), tmp_path / "a", patience=QUICK)
    assert content(tmp_path / "a") == b"pixels"
    with pytest.raises(InputError, match="leads to http://example.org/set.zip, which is not https"):
        fetch(server.about("bad.zip"), tmp_path / "b", patience=QUICK)


def test_a_file_of_another_day_must_be_the_same(server, tmp_path):
    page = server.offer("set.zip")
    about = server.about("set.zip")
    fetch(about, tmp_path)
    (tmp_path / "set/images/a.png").unlink()
    (tmp_path / "set/images").rmdir()
    (tmp_path / "set").rmdir()
    page.body = archive("newer!")
    with pytest.raises(InputError, match=r"has the SHA-256 \w{64}, but had \w{64} when it was fetched on 20"):
        fetch(about, tmp_path, patience=QUICK)
    assert left_over(tmp_path) == set()


def test_an_archive_put_there_by_hand_is_checked_used_and_kept(server, tmp_path):
    body = archive()
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives/set.zip").write_bytes(body)
    wrong = server.about("set.zip", size=17)
    with pytest.raises(
        InputError, match=r"has 20\d{4} bytes, but 17 are published; remove .*set.zip to down"
    ):
        fetch(wrong, tmp_path)
    fetch(server.about("set.zip", checksum=f"sha256:{hashlib.sha256(body).hexdigest()}"), tmp_path)
    assert server.requests == []
    assert left_over(tmp_path) == {"archives/set.zip", "set/images/a.png"}


def test_several_files_one_kept_as_it_is_and_one_in_a_folder_of_its_own(server, tmp_path):
    server.offer("a.zip")
    server.offer("labels.csv", b"id,label\n", kind="text/csv")
    downloads = (
        Download(f"{server.url}/a.zip", "a.zip", unpack="part 1"),
        Download(f"{server.url}/labels.csv", "labels.csv", unpack=None),
    )
    fetch(about_of(downloads), tmp_path, only="labels.csv")
    assert left_over(tmp_path) == {"labels.csv"}
    files = fetch(about_of(downloads), tmp_path, keep_archives=True)
    assert [one.holds for one in files] == [("part 1/set",), ("labels.csv",)]
    assert left_over(tmp_path) == {"labels.csv", "part 1/set/images/a.png", "archives/a.zip"}
    with pytest.raises(InputError, match=r"Tiny set has no file 'label.csv'. Did you mean 'labels.csv'\?"):
        fetch(about_of(downloads), tmp_path, only="label.csv")


def test_what_is_there_is_never_overwritten(server, tmp_path):
    server.offer("set.zip")
    mine = tmp_path / "set/images/a.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"a.png is there already and differs from what set.zip holds; move"):
        fetch(server.about("set.zip"), tmp_path)
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    fetch(server.about("set.zip"), tmp_path)
    assert len(server.requests) == 1  # the archive was whole and waited
    assert left_over(tmp_path) == {"set/images/a.png"}


def test_a_folder_of_another_set_or_a_damaged_record_is_refused(server, tmp_path):
    server.offer("set.zip")
    about = server.about("set.zip")
    fetch(about, tmp_path)
    with pytest.raises(InputError, match="holds Tiny set; choose another folder for Big set"):
        fetch(about_of(about.downloads, title="Big set"), tmp_path)
    (tmp_path / RECORD).write_text('{"title": ')
    with pytest.raises(InputError, match=r"fetched.json is damaged; remove it to fetch everything again"):
        fetch(about, tmp_path)
    with pytest.raises(InputError, match="Tiny set has no direct address to download from"):
        fetch(about_of(()), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write to .*file: .*; choose another folder"):
        fetch(about, tmp_path / "file")


def test_a_full_disk_is_noticed_before_anything_is_downloaded(server, tmp_path, monkeypatch):
    page = server.offer("set.zip")
    usage = transfer.shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(InputError, match=r"has 0.1 MB free, but at least 0.4 MB are needed; free space"):
        fetch(server.about("set.zip", size=len(page.body)), tmp_path)
    assert server.requests == []
    with pytest.raises(InputError, match=r"has 0.1 MB free, but set.zip needs 0.2 MB more"):
        fetch(server.about("set.zip"), tmp_path)
    assert left_over(tmp_path) == set()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes_at_once_fetch_once(server, tmp_path):
    server.offer("set.zip", delay=0.5)
    about = server.about("set.zip")
    out = tmp_path / "out"

    def run(said):
        with said.open("w") as file:
            fetch(about, out, listener=Listener(say=lambda text: file.write(f"{text}\n")))

    logs = [tmp_path / "1.txt", tmp_path / "2.txt"]
    processes = [multiprocessing.get_context("fork").Process(target=run, args=(log,)) for log in logs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.requests) == 1
    first, second = sorted(log.read_text() for log in logs)
    assert first == ""
    assert second.endswith("set.zip is there already\n")
    assert left_over(out) == {"set/images/a.png"}


def test_a_process_killed_in_the_middle_leaves_what_the_next_goes_on_with(server, tmp_path):
    page = server.offer("set.zip", cuts=[70_000, 0, 0])
    about = server.about("set.zip")
    with pytest.raises(InputError, match="3 times in a row"):
        fetch(about, tmp_path, patience=QUICK)
    part = tmp_path / ".fetch/set.zip.part"
    part.write_bytes(page.body)  # killed after the last byte, before the file was moved
    half = tmp_path / ".fetch/unpack-x/set"  # killed while unpacking
    half.mkdir(parents=True)
    (half / "half.png").write_bytes(b"")
    asked = len(server.requests)
    fetch(about, tmp_path, patience=QUICK)
    assert len(server.requests) == asked
    assert left_over(tmp_path) == {"set/images/a.png"}
