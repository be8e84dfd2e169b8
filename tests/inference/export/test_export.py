"""Exported folders: whole, equal to PyTorch, or not there."""

import importlib
import json
import shutil

import numpy as np
import onnx
import pytest

from delineate.checks import InputError
from delineate.files import sha256_of
from delineate.inference.backends import exported as backend
from delineate.inference.backends.exported import open_exported, open_whole
from delineate.inference.export import (
    export_model,
    is_exported,
    make,
    onnx_format,
    parity,
    read_record,
    running,
)
from delineate.inference.export.parity import accept, builtin_pictures, check_network, compare
from delineate.inference.predictor import Predictor

FORMATS = ["onnx", "openvino"]


@pytest.fixture(scope="module")
def predictor(runs):
    return Predictor.load(runs.one, device="cpu")


@pytest.fixture
def folder(runs, exported, tmp_path):
    """A copy of an ONNX export, to damage."""
    return shutil.copytree(runs.one / "exports" / "onnx-fp32", tmp_path / "copy")


@pytest.mark.parametrize("to", FORMATS)
def test_the_record_says_what_was_made(runs, exported, to):
    info = exported[to]
    place = runs.one / "exports" / f"{to}-fp32"
    assert is_exported(place)
    assert read_record(place) == (info, Predictor.load(runs.one, device="cpu").info)
    assert info.files == {f.name: sha256_of(f) for f in place.iterdir() if f.name != "export.json"}
    assert info.outputs == ("mask", "probability", "mask_logits")
    assert info.opset == 20
    assert info.versions["delineate"]
    assert info.parity.probability < 1e-5
    assert info.parity.pixels_that_differ == 0
    assert info.parity.pixels == sum(b * h * w for b, h, w in info.parity.cases)
    assert len({case[1:] for case in info.parity.cases}) == 5
    assert [p.name for p in place.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("shape", [(1, 32, 48), (3, 35, 90), (2, 9, 130), (1, 1, 3)])
def test_the_whole_graph_takes_any_batch_and_size(runs, exported, predictor, to, shape):
    pictures = np.random.default_rng(4).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = open_whole(runs.one / "exports" / f"{to}-fp32", threads=1)(pictures)
    assert list(found) == ["mask", "probability", "mask_logits"]
    assert found["mask"].dtype == np.uint8
    for i, expected in enumerate(predictor.predict(list(pictures))):
        np.testing.assert_allclose(found["probability"][i], expected.probability, atol=1e-4)
        assert (found["mask"][i] != expected.mask).mean() < 1e-3
    assert found["probability"].min() < 0.4
    assert found["probability"].max() > 0.6  # else a constant would pass as well


@pytest.mark.parametrize("to", FORMATS)
def test_the_backend_gives_the_networks_logits(runs, exported, predictor, to):
    opened = open_exported(runs.one / "exports" / f"{to}-fp32", threads=1)
    assert opened.name == f"{to}-fp32"
    assert opened.device_name == "cpu"
    sized = np.random.default_rng(5).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    expected = predictor.backend.forward(sized)
    found = opened.forward(sized)
    np.testing.assert_allclose(found.mask, expected.mask, atol=1e-4, rtol=1e-4)
    assert found.label is None
    before = found.mask.clone()
    opened.forward(sized[:1])  # must not write over what was given before
    assert bool((found.mask == before).all())


def test_several_classes_and_labels(runs, tmp_path):
    run = runs.write(
        tmp_path / "many",
        "model.name=unet+hlf",
        "task.classes=[rim, cup]",
        "task.labels={a: [a], b: [b], c: [c]}",
    )
    info = export_model(run, "onnx")
    assert info.parity.label_probability < 1e-5
    found = open_whole(run / "exports" / "onnx-fp32")(np.full((2, 40, 33, 3), 90, np.uint8))
    assert {name: value.shape for name, value in found.items()} == {
        "mask": (2, 40, 33),
        "probability": (2, 3, 40, 33),
        "label_probability": (2, 3),
        "mask_logits": (2, 3, 32, 48),
        "label_logits": (2, 3),
    }
    np.testing.assert_allclose(found["probability"].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(found["label_probability"].sum(1), 1, atol=1e-5)
    assert open_exported(run / "exports" / "onnx-fp32").forward(
        np.zeros((1, 32, 48, 3), np.uint8)
    ).label.shape == (1, 3)


def test_nothing_in_the_file_tells_where_it_was_made(runs, exported):
    content = (runs.one / "exports" / "onnx-fp32" / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b"delineate/" not in content


def test_a_graph_that_differs_is_refused_and_leaves_nothing(runs, exported, tmp_path, monkeypatch):
    session, ready = running.onnx_session, runs.one / "exports" / "onnx-fp32"

    def wrong(*arguments):
        run = session(*arguments)
        return lambda images: {n: v + (n == "probability") * np.float32(0.01) for n, v in run(images).items()}

    monkeypatch.setattr(running, "onnx_session", wrong)
    monkeypatch.setattr(onnx_format, "onnx_model", lambda *_: onnx.load(ready / "model.onnx"))
    with pytest.raises(
        InputError,
        match=r"^The onnx-fp32 export differs from PyTorch by 0\.01 in probability, more than 0\.001;",
    ):
        export_model(runs.one, "onnx", out=tmp_path / "place" / "x")
    assert list((tmp_path / "place").iterdir()) == []


def test_differences_are_counted(predictor):
    batch = np.random.default_rng(6).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    expected = list(predictor.predict(list(batch)))
    answer = {
        "mask": np.stack([e.mask for e in expected]),
        "probability": np.stack([e.probability for e in expected]),
        "mask_logits": predictor.forward(list(batch)).mask.numpy(),
    }
    assert compare(predictor, lambda _: answer, [batch]).probability == 0
    answer["mask"][1, 3, 4:7] ^= 1
    answer["probability"] = answer["probability"] + np.float32(0.25)
    found = compare(predictor, lambda _: answer, [batch])
    assert (found.pixels, found.pixels_that_differ) == (1200, 3)
    assert found.probability == pytest.approx(0.25, abs=1e-6)
    with pytest.raises(InputError, match="3 of 1200 mask pixels another class than PyTorch, more than 0.1%"):
        accept(found.model_copy(update={"probability": 0.0}), "onnx-fp32")
    answer["probability"][0, 0, 0] = np.nan
    assert compare(predictor, lambda _: answer, [batch]).probability == np.inf
    accept(found.model_copy(update={"tolerance": None}), "onnx-int8")  # there the score decides
    for tolerance in (None, 1e-3):
        broken = compare(predictor, lambda _: answer, [batch], tolerance=tolerance)
        with pytest.raises(InputError, match="The onnx-int8 export gives numbers that are not finite"):
            accept(broken, "onnx-int8")
    answer["mask_logits"] = answer["mask_logits"][:1]
    with pytest.raises(
        InputError, match=r"gives mask_logits of shape \(1, 1, 32, 48\), PyTorch \(2, 1, 32, 48\)"
    ):
        compare(predictor, lambda _: answer, [batch])


def test_a_network_that_is_sure_of_everything_cannot_hide_a_wrong_graph(toys):
    sure = Predictor(toys.Toy(toys.info(labels=(), size=(8, 8)), lambda x: 0 * x.mean(3, keepdims=True) - 8))
    batch = np.zeros((1, 8, 8, 3), np.uint8)
    expected = sure(batch[0])
    answer = {
        "mask": expected.mask[None],
        "probability": np.full((1, 8, 8), 1e-9, np.float32),
        "mask_logits": np.full((1, 1, 8, 8), -20, np.float32),
    }
    found = compare(sure, lambda _: answer, [batch])
    assert found.probability < 1e-3
    with pytest.raises(InputError, match="differs from PyTorch by 12 in a logit, more than a hundredth"):
        accept(found, "onnx-fp32")


def test_the_network_alone_must_agree_with_the_whole(predictor):
    def whole(pictures):
        return {"mask_logits": np.full((len(pictures), 1, 32, 48), 5.0, np.float32)}

    def other(pictures):
        assert pictures.shape == (2, 3, 32, 48)
        return {"mask_logits": np.full((2, 1, 32, 48), 5.01, np.float32)}

    check_network(whole, whole, (32, 48), "onnx-fp32", exact=True)
    check_network(other, whole, (32, 48), "onnx-int8", exact=False)
    with pytest.raises(
        InputError, match="in the onnx-fp32 export differs from the whole graph in mask_logits"
    ):
        check_network(other, whole, (32, 48), "onnx-fp32", exact=True)


def test_builtin_pictures_repeat_themselves():
    first, second = builtin_pictures((32, 48)), builtin_pictures((32, 48))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("to", "more", "message"),
    [
        ("onxx", {}, "Unknown export format 'onxx'. Did you mean 'onnx'?"),
        ("onnx", {"precision": "fp16"}, "Unknown precision 'fp16'."),
        ("onnx", {"precision": "bf16"}, "bf16 is not available for onnx; choose openvino."),
        (
            "torchscript",
            {"precision": "int8"},
            "int8 is not available for torchscript; choose onnx or openvino.",
        ),
        ("openvino", {"precision": "int8"}, "int8 needs pictures to calibrate with"),
        ("onnx", {}, "exists; choose another --out or give --overwrite."),
    ],
)
def test_wrong_calls_are_one_sentence(runs, exported, to, more, message):
    with pytest.raises(InputError) as error:
        export_model(runs.one, to, **more)
    assert message in str(error.value)


def test_not_a_run(tmp_path):
    with pytest.raises(InputError, match="is not a finished run"):
        export_model(tmp_path, "onnx")
    assert list(tmp_path.iterdir()) == []


def test_only_an_export_is_replaced(runs, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="is not an exported folder, so it is not replaced"):
        export_model(runs.one, "onnx", out=tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_an_earlier_export_is_replaced_whole(folder, runs):
    (folder / "left.txt").write_text("old")
    before = read_record(folder)[0]
    with make._whole_folder(folder) as new:
        for file in (runs.one / "exports" / "onnx-fp32").iterdir():
            shutil.copy(file, new)
    assert not (folder / "left.txt").exists()
    assert read_record(folder)[0] == before
    with pytest.raises(ZeroDivisionError), make._whole_folder(folder):
        raise ZeroDivisionError
    assert read_record(folder)[0] == before
    assert [f.name for f in folder.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_changed_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{name} is not the file that export.json names \(SHA-256 differs\)"
    ):
        open_exported(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing; export the run again\."):
        open_exported(folder)


def test_damaged_records_are_refused(folder):
    path = folder / "export.json"
    record = json.loads(path.read_text())
    for wrong in ("", "{}", json.dumps(record | {"more": 1}), json.dumps(record | {"schema_version": 2})):
        path.write_text(wrong)
        with pytest.raises(InputError, match="export.json is damaged or of another version"):
            open_exported(folder)
    path.write_text(json.dumps(record | {"files": record["files"] | {"../secret": "0"}}))
    with pytest.raises(InputError, match="names files that it should not"):
        open_exported(folder)
    path.unlink()
    with pytest.raises(
        InputError, match=r"has no export.json; make it with `delineate export RUN --to onnx`\."
    ):
        open_exported(folder)


def test_formats_for_other_programs_are_not_run(folder):
    path = folder / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "torchscript"}))
    with pytest.raises(InputError, match="delineate does not run torchscript files"):
        open_exported(folder)


def test_a_missing_extra_is_named(folder, monkeypatch):
    found = importlib.import_module

    def without(name, *rest):
        if name.startswith("onnx"):
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match=r"needs the package 'onnx'; run: pip install 'delineate\[export\]'"):
        open_exported(folder)


def test_bf16_on_a_processor_without_it_says_so(runs, exported, monkeypatch, tmp_path):
    folder = shutil.copytree(runs.one / "exports" / "openvino-fp32", tmp_path / "bf16")
    path = folder / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": "bf16"}))
    monkeypatch.setattr(backend, "has_bf16", lambda: False)
    monkeypatch.setattr(running, "has_bf16", lambda: False)
    opened = open_exported(folder)
    assert opened.name == "openvino-bf16-as-fp32"
    # What the folder holds is what may be asked for, whatever it runs as.
    Predictor.load(folder, backend="openvino", precision="bf16")
    with pytest.raises(InputError, match="holds openvino-bf16, not openvino-int8; leave the backend out"):
        Predictor.load(folder, backend="openvino", precision="int8")
    assert Predictor([opened, opened]).notes == ("This processor has no bf16, so the network runs in fp32.",)


def test_parity_has_a_tolerance_that_rounding_keeps(exported):
    assert max(info.parity.probability for info in exported.values()) < parity.TOLERANCE / 100
