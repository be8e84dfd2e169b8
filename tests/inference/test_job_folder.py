"""The folder of a job: nothing of others is lost, nothing of a broken job stays, odd files fail alone."""

import json
import os
import time

import numpy as np
import pytest
from job_run import contents, make_pictures, make_run
from PIL import Image

from delineate.checks import InputError
from delineate.inference import writers
from delineate.inference.job import pipeline, predict_files
from delineate.inference.job.journal import Journal
from delineate.inference.job.plan import write_plan
from delineate.inference.job.sources import Unit
from delineate.inference.predictor import Predictor
from delineate.inference.writers.pictures import MaskWriter


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_recipe):
    return make_run(tmp_path_factory.mktemp("run"), small_recipe)


@pytest.fixture(scope="module")
def predictor(run):
    return Predictor.load(run, "cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return sorted(make_pictures(tmp_path_factory.mktemp("in") / "pictures", 5).iterdir())


def ids(out):
    return [image["name"] for image in json.loads((out / "coco.json").read_text())["images"]]


def test_overwriting_stays_out_of_what_the_earlier_job_did_not_write(predictor, pictures, tmp_path):
    data = tmp_path / "data"
    (data / "masks").mkdir(parents=True)
    (data / "masks" / "p00.png").write_bytes(b"a reference mask")
    (data / "measurements.csv").write_text("mine")
    predict_files(predictor, pictures[:1], data, writers=["overlays"])
    for options, place in (({}, "masks"), ({"writers": ["overlays"], "measure": True}, "measurements.csv")):
        with pytest.raises(InputError, match=f"data/{place} exists and no prediction wrote it"):
            predict_files(predictor, pictures[:1], data, overwrite=True, **options)
    assert (data / "overlays" / "p00.png").exists(), "the earlier job is as it was"
    assert (data / "masks" / "p00.png").read_bytes() == b"a reference mask"

    stray = tmp_path / "stray"
    stray.mkdir()
    (stray / "predictions.csv").write_text("mine")
    with pytest.raises(InputError, match=r"stray/predictions.csv exists and no prediction wrote it"):
        predict_files(predictor, pictures[:1], stray, overwrite=True)
    (stray / "job.json").write_text("[]")
    with pytest.raises(InputError, match=r"job.json is missing or damaged, or no prediction wrote it"):
        predict_files(predictor, pictures[:1], stray, overwrite=True)
    assert (stray / "predictions.csv").read_text() == "mine"


def test_overwriting_removes_only_names_that_a_format_gives(predictor, pictures, tmp_path):
    out = tmp_path / "out"
    predict_files(predictor, pictures, out, explain="gradcam")
    kept = {"p00.corrected.png", "p00.json", "p00_s7.png", "p00.png.bak"}
    for name in kept:
        (out / "masks" / name).write_bytes(b"mine")
    (out / "masks" / "p00_s007.png").write_bytes(b"of a slice")
    predict_files(predictor, pictures[:2], out, overwrite=True)
    assert {path.name for path in (out / "masks").iterdir()} == kept | {"p00.png", "p01.png"}
    assert not list((out / "maps").iterdir())
    predict_files(predictor, pictures[:1], out, explain="gradcam", overwrite=True)  # an empty folder is free


def test_what_a_killed_job_did_not_finish_is_removed(predictor, pictures, tmp_path):
    out = tmp_path / "out"
    predict_files(predictor, pictures[:2], out, writers=["masks", "coco"])
    expected = contents(out)
    # As when it is killed after the files of x were written and before they were noted.
    for place, ending in (("masks", ".png"), ("coco", ".json")):
        (out / place / f"x{ending}").write_bytes((out / place / f"p00{ending}").read_bytes())
        (out / place / f"mine{ending}").write_bytes((out / place / f"p00{ending}").read_bytes())
    (out / "coco" / "mine.json").unlink()
    planned = [Unit(path.stem, str(path)) for path in pictures[:2]]
    write_plan([*planned, Unit("x", "/gone/x.png")], out / ".job" / "plan", 8)
    job = json.loads((out / "job.json").read_text())
    (out / "job.json").write_text(json.dumps(job | {"state": "running"}))
    predict_files(predictor, pictures[:2], out, writers=["masks", "coco"], resume=True)
    assert (out / "masks" / "mine.png").exists()
    (out / "masks" / "mine.png").unlink()
    assert contents(out) == expected
    assert not (out / ".job" / "plan").exists()


def test_what_a_broken_job_did_not_finish_is_removed(predictor, pictures, tmp_path):
    def stop(name, *_):
        if name == "p04":
            deadline = time.monotonic() + 20
            while len(list((tmp_path / "out" / "coco").glob("[!.]*"))) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        predict_files(predictor, pictures, tmp_path / "out", writers=["coco"], batch_size=5, extra=stop)
    assert len(list((tmp_path / "out" / "coco").iterdir())) == 4, "written, but not noted as done"
    predict_files(predictor, pictures[3:], tmp_path / "out", writers=["coco"], overwrite=True)
    assert ids(tmp_path / "out") == ["p03", "p04"]


def test_a_table_that_was_cut_is_noted_with_its_true_length(tmp_path):
    heads = {"a.csv": "h\n", "b.csv": "h\n"}
    journal = Journal(tmp_path, tmp_path / "journal", heads)
    journal.commit([Unit("x", "/x.png")], 1, {"a.csv": "x\n", "b.csv": "x\n"})
    journal.close()
    with (tmp_path / "b.csv").open("a") as table:
        table.write("half of a row, as a killed job leaves it")
    journal = Journal(tmp_path, tmp_path / "journal", heads)
    journal.commit([Unit("y", "/y.png")], 1, {"a.csv": "y\n"})
    journal.close()
    noted = json.loads((tmp_path / "journal").read_text().splitlines()[-1])["bytes"]
    assert noted == {"a.csv": 6, "b.csv": 4} == {name: (tmp_path / name).stat().st_size for name in heads}


def test_bytes_that_are_no_text_go_through_every_format(run, pictures, tmp_path):
    predictor = Predictor.load(run, "cpu", uncertainty=True)
    odd = tmp_path / 'caf\udce9, "1".png'
    odd.write_bytes(pictures[0].read_bytes())
    names = [name for name in writers.WRITERS if not name.startswith("dicom")]
    report = predict_files(predictor, [odd], tmp_path / "out", writers=names, explain="gradcam")
    assert report.failed == {}
    assert ids(tmp_path / "out") == ['caf\udce9, "1"']
    written = [path.name for path in (tmp_path / "out").glob("*/*") if path.parent.name != ".job"]
    assert sorted(name.removeprefix(odd.stem) for name in written) == [
        ".geojson",
        ".json",
        ".nii.gz",
        *[".png"] * 5,
    ]
    again = predict_files(predictor, [odd], tmp_path / "out", writers=names, explain="gradcam", resume=True)
    assert again.skipped == 1


def test_bytes_that_are_no_text_name_a_dicom_file(predictor, pictures, tmp_path):
    pytest.importorskip("highdicom", reason="highdicom is not installed; pip install 'delineate[dicom]'")
    from delineate.inference.writers.dicom_seg import save
    from delineate.inference.writers.secondary_capture import secondary_capture

    odd = tmp_path / "caf\udce9.dcm"
    save(secondary_capture(np.asarray(Image.open(pictures[0]).convert("RGB")), name="x"), odd)
    names = ["dicom-seg", "dicom-seg-fractional"]
    assert predict_files(predictor, [odd], tmp_path / "out", writers=names).failed == {}
    assert all((tmp_path / "out" / name / odd.name).exists() for name in names)


def test_what_a_format_cannot_hold_costs_one_file(predictor, pictures, toys, tmp_path, monkeypatch):
    class Choosy(MaskWriter):
        def add(self, output):
            if output.id == "p01":
                raise ValueError("no such number")
            self.last = output.id
            super().add(output)

        def end_of_file(self):
            if self.last == "p03":
                raise TypeError("no such type")

    monkeypatch.setitem(writers.WRITERS, "masks", writers.WriterSpec("", Choosy, {"masks": (".png",)}))
    report = predict_files(predictor, pictures, tmp_path / "out", batch_size=2)
    assert list(report.failed.values()) == [
        f"{pictures[i]} cannot be written as asked (no such {what}); leave it out or change --format."
        for i, what in ((1, "number"), (3, "type"))
    ]
    assert sorted(os.listdir(tmp_path / "out" / "overlays")) == ["p00.png", "p02.png", "p04.png"]

    nan = Predictor(toys.Toy(toys.info(), label=float("nan")))
    report = predict_files(nan, pictures[:2], tmp_path / "nan", writers=["overlays"])
    assert list(report.failed) == [str(path) for path in pictures[:2]]
    assert all("not JSON compliant" in reason for reason in report.failed.values())


def test_uncertainty_maps_count_towards_what_may_wait(run, pictures, tmp_path, monkeypatch):
    waiting, settle = [], pipeline._Pipeline._settle

    def noting(self, most):
        waiting.append(self._waiting_bytes)
        settle(self, most)

    monkeypatch.setattr(pipeline._Pipeline, "_settle", noting)
    predictor = Predictor.load(run, "cpu", tta="mirror", uncertainty=True)
    predict_files(predictor, pictures[:1], tmp_path / "out")
    assert waiting[0] == 24 * 20 * (3 + 1 + 4 + 4 + 4)  # image, mask, probability, entropy, variance
