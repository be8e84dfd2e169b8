"""The same job on a local Ray cluster of two workers, one of which is killed."""

import os
import shutil
import signal
import threading
import time
import zipfile
from pathlib import Path

import pytest
from job_run import contents, make_pictures, make_run

from delineate.checks import InputError
from delineate.inference.job import Loading, predict_files
from delineate.inference.job.folder import JobFolder

pytest.importorskip("ray.data", reason="ray is not installed; pip install 'delineate[ray]'")
psutil = pytest.importorskip("psutil", reason="psutil finds the workers; pip install psutil")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_recipe):
    return make_run(tmp_path_factory.mktemp("run"), small_recipe)


def our_workers():
    """Processes that run `Worker`, among those that this process started."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if "MapWorker" in " ".join(child.cmdline())]


def test_a_cluster_writes_the_same_bytes_also_when_a_worker_dies(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    source = make_pictures(tmp_path / "in", 30)
    (source / "p07x.png").write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as bundle:
        for file in sorted(source.iterdir())[:5]:
            bundle.write(file, f"more/{file.name}")
    loading = Loading.of([run], device="cpu")
    sources = [source, tmp_path / "more.zip"]
    options = {"batch_size": 2, "measure": True, "explain": "auto"}
    here = predict_files(loading, sources, tmp_path / "here", **options)

    killed, stop = [], threading.Event()

    def kill_one():
        masks = Path(tmp_path / "ray" / "masks")
        while not stop.is_set():
            if masks.is_dir() and len(list(masks.iterdir())) > 3 and (workers := our_workers()):
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        there = predict_files(loading, sources, tmp_path / "ray", engine="ray", workers=2, **options)
    finally:
        stop.set()
        thread.join()
    assert killed, "a worker was killed in the middle"
    assert (there.images, there.failed) == (here.images, here.failed)
    assert {Path(name).name for name in here.failed} == {"p07x.png"}
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")

    again = predict_files(loading, sources, tmp_path / "ray", engine="ray", workers=1, resume=True, **options)
    assert (again.skipped, again.images) == (here.files - 1, here.images)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


def test_what_a_worker_cannot_do_is_one_sentence(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    source, here_only = make_pictures(tmp_path / "in", 2), tmp_path / "run"
    shutil.copytree(run, here_only)
    begin = JobFolder.begin

    def then_lose_the_run(self, **options):
        begin(self, **options)
        shutil.rmtree(here_only)

    monkeypatch.setattr(JobFolder, "begin", then_lose_the_run)
    loading = Loading.of([here_only], device="cpu")
    with pytest.raises(InputError, match=f"^{here_only}.*[.]$") as caught:
        predict_files(loading, [source], tmp_path / "out", engine="ray", workers=1)
    assert "Traceback" not in str(caught.value)


def test_what_a_cluster_cannot_do_is_said(run, tmp_path):
    import io
    import tarfile

    with tarfile.open(tmp_path / "x.tgz", "w:gz") as bundle:
        info = tarfile.TarInfo("a.png")
        bundle.addfile(info, io.BytesIO(b""))
    loading = Loading.of([run], device="cpu")
    with pytest.raises(
        InputError, match="x.tgz can only be read from its beginning, so workers cannot share it"
    ):
        predict_files(loading, [tmp_path / "x.tgz"], tmp_path / "out", engine="ray")
    picture = make_pictures(tmp_path / "in", 1)
    with pytest.raises(InputError, match="There is no Ray cluster at 127.0.0.1:1: .*refused"):
        predict_files(loading, [picture], tmp_path / "other", engine="ray", address="127.0.0.1:1")
