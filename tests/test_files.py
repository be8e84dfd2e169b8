"""Files are whole or not there."""

import hashlib
import json
import os

import pytest

from delineate.checks import InputError
from delineate.files import atomic_path, sha256_of, write_json, write_text


def fail_half_way(path):
    path.write_text("ne")
    raise RuntimeError("half way")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:
        fail_half_way(temporary)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_sentence(tmp_path):
    path = tmp_path / "a.txt"
    message = r"Cannot write .*a\.txt: No space left on device\. Free space"
    with pytest.raises(InputError, match=message), atomic_path(path):
        raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_an_error_of_the_callers_own_file_passes(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "missing.png").read_bytes()


def test_a_folder_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(InputError, match="Cannot write .*: File exists"):
        write_text(tmp_path / "a" / "b.txt", "x")


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not os.listdir(tmp_path)
    write_json(tmp_path / "a.json", {"ü": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"ü": 1}


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
