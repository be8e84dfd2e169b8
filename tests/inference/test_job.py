"""A prediction job: what it writes, what it refuses, and that a restart changes nothing."""

import csv
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from job_run import contents, make_pictures, make_run
from PIL import Image
from tiny_files import nifti

from delineate.checks import InputError
from delineate.inference.job import Loading, predict_files
from delineate.inference.predictor import Predictor

KILLED = Path(__file__).with_name("killed_job.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_recipe):
    return make_run(tmp_path_factory.mktemp("run"), small_recipe)


@pytest.fixture(scope="module")
def predictor(run):
    return Predictor.load(run, "cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("in") / "pictures", 7)


def table(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_tables_and_pictures_agree(predictor, pictures, tmp_path):
    seen = []
    report = predict_files(
        predictor,
        [pictures],
        tmp_path / "out",
        measure=True,
        spacing=0.5,
        batch_size=3,
        progress=lambda done, files: seen.append((done, files)),
    )
    names = [f"p{i:02d}" for i in range(7)]
    assert (report.files, report.images, report.skipped, report.failed) == (7, 7, 0, {})
    assert report.written == names
    assert seen == [(3, 7), (6, 7), (7, 7)]
    rows = table(tmp_path / "out" / "predictions.csv")
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    lesions = table(tmp_path / "out" / "measurements.csv")
    assert len(rows) == len(lines) == 7
    for row, line, file in zip(rows, lines, sorted(pictures.iterdir()), strict=True):
        assert row["image_id"] == line["id"] == file.stem
        assert row["file"] == line["file"] == str(file)
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{file.stem}.png")) > 0
        assert mask.shape == (int(row["height"]), int(row["width"])) == (24, 20)
        assert int(row["pixels[lesion]"]) == line["pixels"]["lesion"] == mask.sum()
        areas = [float(lesion["area_px"]) for lesion in lesions if lesion["image_id"] == file.stem]
        assert sum(areas) == mask.sum()
        assert [found["values"]["area_mm2"] for found in line["measurements"]] == [a / 4 for a in areas]
        alone = predictor(file)
        assert row["label"] == predictor.choose_label(alone.label)
        assert line["labels"] == pytest.approx(alone.label, abs=1e-5)
        np.testing.assert_array_equal(mask, alone.mask > 0)
    assert lesions, "the random network draws something"
    job = json.loads((tmp_path / "out" / "job.json").read_text())
    assert job["model"] == predictor.identity
    assert (job["state"], job["counts"]) == ("finished", {"files": 7, "failed": 0, "images": 7})
    assert sorted(p.name for p in (tmp_path / "out" / ".job").iterdir()) == ["journal", "lock"]


def test_archives_give_what_folders_give(predictor, pictures, tmp_path):
    volume = nifti(np.random.default_rng(0).uniform(0, 9, (12, 14, 5)), tmp_path / "v.nii.gz")
    files = [*sorted(pictures.iterdir()), volume]
    plain = predict_files(predictor, files, tmp_path / "plain", batch_size=2)
    assert plain.images == 12
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        for file in files:
            bundle.write(file, f"ward/{file.name}")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as bundle:
        for file in files:
            bundle.add(file, f"ward/{file.name}")
    expected = contents(tmp_path / "plain")
    for archive in ("all.zip", "all.tar.gz"):
        out = tmp_path / archive.replace(".", "_")
        report = predict_files(predictor, [tmp_path / archive], out, batch_size=2)
        assert report.failed == {}
        assert report.written == [f"ward__{name}" for name in plain.written]
        found = contents(out)
        for name in plain.written:
            assert found[f"masks/ward__{name}.png"] == expected[f"masks/{name}.png"]
            assert found[f"overlays/ward__{name}.png"] == expected[f"overlays/{name}.png"]
        assert table(out / "predictions.csv")[-1]["file"] == f"{tmp_path / archive}/ward/v.nii.gz"
        assert not (out / ".job" / "members").exists()


def test_bad_files_are_reported_and_tried_again(predictor, pictures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = sorted(pictures.iterdir())
    for file in good[:3]:
        (folder / file.name).write_bytes(file.read_bytes())
    bad, empty = folder / "p01a.png", folder / "p02a.nii.gz"
    bad.write_bytes(good[3].read_bytes()[:100])
    empty.write_bytes(b"")
    report = predict_files(predictor, [folder], tmp_path / "out", batch_size=2)
    assert report.written == ["p00", "p01", "p02"]
    assert list(report.failed) == [str(bad), str(empty)]
    rows = table(tmp_path / "out" / "failed.csv")
    assert {row["file"]: row["reason"] for row in rows} == report.failed
    assert "is an empty file" in report.failed[str(empty)]
    before = contents(tmp_path / "out")
    again = predict_files(predictor, [folder], tmp_path / "out", batch_size=2, resume=True)
    assert (again.skipped, again.images, again.failed) == (3, 3, report.failed)
    assert contents(tmp_path / "out") == before
    bad.write_bytes(good[3].read_bytes())
    empty.unlink()
    mended = predict_files(predictor, [folder], tmp_path / "out", batch_size=2, resume=True)
    assert (mended.written, mended.failed) == (["p00", "p01", "p02", "p01a"], {})
    assert not (tmp_path / "out" / "failed.csv").exists()


def test_a_broken_member_is_named_as_the_user_knows_it(predictor, pictures, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as bundle:
        bundle.writestr("a/b.png", sorted(pictures.iterdir())[0].read_bytes()[:80])
        bundle.writestr("a/c.nii.gz", b"no volume")
    report = predict_files(predictor, [tmp_path / "x.zip"], tmp_path / "out")
    assert list(report.failed) == [f"{tmp_path}/x.zip/a/b.png", f"{tmp_path}/x.zip/a/c.nii.gz"]
    for file, reason in report.failed.items():
        assert reason.startswith(file)
        assert "members" not in reason


def test_what_is_there_is_kept(predictor, pictures, tmp_path):
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "p00.png").write_bytes(b"a reference mask")
    with pytest.raises(
        InputError, match=r"out/masks exists and no prediction wrote it; choose another --out"
    ):
        predict_files(predictor, [pictures], out, overwrite=True)
    assert [p.name for p in out.rglob("*")] == ["masks", "p00.png"]

    out = tmp_path / "other"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    predict_files(predictor, [pictures], out)
    with pytest.raises(InputError, match="already holds predictions; .* --resume to go on or --overwrite"):
        predict_files(predictor, [pictures], out)
    with pytest.raises(
        InputError, match="was begun with measure False, now it is True; resume with the same"
    ):
        predict_files(predictor, [pictures], out, measure=True, resume=True)
    (out / "masks" / "mine.png").write_bytes(b"mine")
    few = sorted(pictures.iterdir())[:2]
    report = predict_files(predictor, few, out, writers=["masks"], overwrite=True)
    assert report.written == ["p00", "p01"]
    assert sorted(p.name for p in (out / "masks").iterdir()) == ["mine.png", "p00.png", "p01.png"]
    assert list((out / "overlays").iterdir()) == []
    assert (out / "notes.txt").read_text() == "mine"
    moved = tmp_path / "moved" / few[0].name
    moved.parent.mkdir()
    moved.write_bytes(few[0].read_bytes())
    with pytest.raises(InputError, match="'p00' was predicted there from another file than"):
        predict_files(predictor, [moved], out, writers=["masks"], resume=True)


def test_nothing_is_left_of_a_job_that_never_began(predictor, pictures, tmp_path):
    with pytest.raises(InputError, match=r"gone.png does not exist"):
        predict_files(predictor, [pictures, tmp_path / "gone.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for options, message in (
        ({"writers": ["png"]}, "Unknown format 'png'"),
        ({"writers": ["uncertainty"]}, "needs the uncertainty of predictions; give --uncertainty"),
        ({"engine": "ray"}, "loads the model in each worker"),
        ({"spacing": (0.1, -1)}, "must be one or two numbers above 0"),
        ({"resume": True, "overwrite": True}, "give one of them"),
    ):
        with pytest.raises(InputError, match=message):
            predict_files(predictor, [pictures], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_second_job_waits_for_nobody(predictor, pictures, tmp_path):
    def interfere(*_):
        with pytest.raises(InputError, match="Another job is writing into"):
            predict_files(predictor, [pictures], tmp_path / "out", resume=True)
        calls.append(1)

    calls = []
    predict_files(predictor, [pictures], tmp_path / "out", extra=interfere)
    assert len(calls) == 7


def test_a_writer_that_fails_costs_one_file_and_a_full_disk_the_job(
    predictor, pictures, tmp_path, monkeypatch
):
    from delineate.inference import writers
    from delineate.inference.writers.pictures import MaskWriter

    class Choosy(MaskWriter):
        forgotten = 0

        def add(self, output):
            if output.id == "p02":
                raise InputError("p02 has no frame of reference; take another.")
            if output.id == "p05" and full:
                try:
                    raise OSError(28, "No space left on device")
                except OSError as error:
                    raise InputError("Cannot write p05: No space left on device.") from error
            super().add(output)

        def forget(self):
            Choosy.forgotten += 1

    full = False
    monkeypatch.setitem(writers.WRITERS, "masks", writers.WriterSpec("", Choosy, {"masks": (".png",)}))
    report = predict_files(predictor, [pictures], tmp_path / "out", writers=["masks"], batch_size=2)
    assert list(report.failed.values()) == ["p02 has no frame of reference; take another."]
    assert report.images == 6
    assert Choosy.forgotten == 1
    both = predict_files(predictor, [pictures], tmp_path / "both", writers=["overlays", "masks", "coco"])
    assert len(both.written) == 6
    for folder in ("masks", "overlays", "coco"):  # a file is predicted whole or not at all
        assert [f.stem for f in sorted((tmp_path / "both" / folder).iterdir())] == both.written
    joined = json.loads((tmp_path / "both" / "coco.json").read_text())
    assert [image["name"] for image in joined["images"]] == both.written
    full = True
    with pytest.raises(InputError, match="No space left on device"):
        predict_files(predictor, [pictures], tmp_path / "full", writers=["masks"], batch_size=2)
    full = False
    report = predict_files(
        predictor, [pictures], tmp_path / "full", writers=["masks"], batch_size=2, resume=True
    )
    assert report.skipped > 0
    assert contents(tmp_path / "full") == contents(tmp_path / "out")


STEPS = ["rows:1", "half:1", "line:1", "half:2", "line:2", "rows:2"]
TIMES = ["0.05", "0.1", "0.2"]


def test_a_killed_job_goes_on_and_ends_the_same(run, tmp_path, predictor):
    source = make_pictures(tmp_path / "in", 14)
    nifti(np.random.default_rng(0).uniform(0, 9, (12, 14, 5)), source / "p03v.nii.gz")
    predict_files(predictor, [source], tmp_path / "whole", measure=True, batch_size=2)
    command = [sys.executable, KILLED, run, source, tmp_path / "killed", *STEPS, *TIMES]
    process = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count("ended -9") >= len(STEPS), process.stdout
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    files = sorted(path.name.split(".")[0] for path in source.iterdir())
    for part in process.stdout.split("finished ")[1:]:
        groups, _, text = part.partition(":")
        predicted = text.split("ended")[0].split()
        finished = set(files[: 2 * int(groups)])
        assert not finished & {name.split("_s")[0] for name in predicted}, (
            "finished files are never predicted again"
        )


def test_a_list_from_elsewhere_and_bytes_that_are_no_text(predictor, pictures, tmp_path):
    odd = tmp_path / 'caf\udce9, "1".png'
    odd.write_bytes(sorted(pictures.iterdir())[0].read_bytes())
    report = predict_files(predictor, [tmp_path / "*.png"], tmp_path / "out")
    assert (report.images, report.failed) == (1, {})
    row = table(tmp_path / "out" / "predictions.csv")[0]
    assert row["image_id"] == 'caf\\udce9, "1"'
    assert json.loads((tmp_path / "out" / "predictions.jsonl").read_text())["id"] == 'caf\udce9, "1"'


def test_loading_is_what_workers_get(run, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(run.parent)
    loading = Loading.of([run.name], device="cpu", uncertainty=True)
    assert loading.runs == (str(run),)
    report = predict_files(loading, [pictures], tmp_path / "out", writers=["uncertainty"], explain="gradcam")
    assert report.images == 7
    looks = [float(row["look"]) for row in table(tmp_path / "out" / "predictions.csv")]
    assert all(0 <= look <= 1 for look in looks)
    assert len(list((tmp_path / "out" / "maps").iterdir())) == 7
    with Image.open(io.BytesIO((tmp_path / "out" / "maps" / "p00.png").read_bytes())) as picture:
        assert picture.size == (20, 24)
