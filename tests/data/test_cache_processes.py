"""Several processes fill one cache, and one of them is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from delineate.data import Cache, index
from delineate.data.cache import sized_image
from delineate.data.entries import FORMAT

PREPARE = """
import sys
from pathlib import Path
from delineate.data import Cache, index
root, folder = map(Path, sys.argv[1:])
cache = Cache(folder)
cases = index(root)
print("ready", flush=True)
sys.stdin.readline()
built = cache.prepare(cases, (200, 300), workers=2, progress=lambda *at: print("progress", flush=True))
print("built", built, flush=True)
"""


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob(f"v{FORMAT}/*/[!.]*.npy"))


def started(root: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", PREPARE, str(root), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process: subprocess.Popen) -> None:
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def test_kill_in_the_middle(tmp_path, make_folder):
    root = make_folder(40)
    cases, cache = index(root), Cache(tmp_path / "cache")
    process = started(root, cache.folder)
    go(process)
    assert process.stdout.readline() == "progress\n"  # it is in the middle
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = entries(cache)
    assert 0 < len(left) < 52  # 40 images and 12 masks that differ
    for path in left:
        np.load(path)  # whole
    made = cache.prepare(cases, (200, 300))
    assert 0 < made < 40
    assert len(entries(cache)) == 52
    for case in cases:
        np.testing.assert_array_equal(cache.image(case, (200, 300)), sized_image(case, (200, 300)))


def test_two_processes_share_the_work(tmp_path, make_folder):
    root = make_folder(60)
    cases = index(root)
    pair = [started(root, tmp_path / "cache") for _ in range(2)]
    for process in pair:
        go(process)
    built = [int(process.communicate()[0].split()[-1]) for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sum(built) == 60  # nothing was decoded twice
    cache = Cache(tmp_path / "cache")
    assert cache.prepare(cases, (200, 300)) == 0
    for case in cases:
        np.testing.assert_array_equal(cache.image(case, (200, 300)), sized_image(case, (200, 300)))
