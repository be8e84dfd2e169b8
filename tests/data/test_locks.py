"""Claims: one holder at a time, none left behind."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from delineate.data import locks
from delineate.data.locks import claim

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

HOLD = """
import runpy, sys, time
from pathlib import Path
claim = runpy.run_path(sys.argv[2])["claim"]  # without the seconds that torch takes to load
with claim(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "locks" / "a"
    with claim(path) as first, claim(path) as second, claim(tmp_path / "locks" / "b") as other:
        assert (first, second, other) == (True, False, True)
    with claim(path) as again:
        assert again
    assert path.read_bytes() == b""


def test_patience(tmp_path):
    def hold() -> None:
        with claim(tmp_path / "a"):
            held.append(True)
            time.sleep(0.2)

    held: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        while not held:
            time.sleep(0.001)
        with claim(tmp_path / "a", patience=0.02) as too_soon:
            assert not too_soon
        with claim(tmp_path / "a", patience=10) as ours:
            assert ours


def test_a_killed_process_leaves_no_claim(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a"), locks.__file__]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    with claim(tmp_path / "a") as ours:
        assert not ours
    process.kill()
    process.communicate()
    with claim(tmp_path / "a") as ours:
        assert ours


def test_a_folder_without_locks_counts_as_free(tmp_path):
    (tmp_path / "file").touch()
    with claim(tmp_path / "file" / "a") as ours:
        assert ours
