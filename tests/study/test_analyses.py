"""Efficiency and activation maps: hand-computed figures, files, and the commands."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from delineate.checks import InputError
from delineate.cli.analyse import analyse_app
from delineate.files import write_json
from delineate.inference.predictor import Predictor
from delineate.inference.profile import count_macs
from delineate.layers.encoders import create_encoder
from delineate.models import MODELS
from delineate.models.chnet import CHNet
from delineate.study.analyses import efficiency
from delineate.study.analyses.activation_maps import METHODS, where_it_looks, write_activation_maps
from delineate.study.analyses.canvas import name_points, sheet
from delineate.study.analyses.efficiency import MODELS_COMPARED, write_efficiency


def tiny(name, labels=0):
    levels = {"chnet": (0, 1, 2), "smp:unet": (0, 1, 2, 3), "smp:fpn": (0, 1)}[name]
    return CHNet(create_encoder("test_resnet", levels=levels), width=8, hidden=8)


@pytest.fixture
def small_table(monkeypatch):
    monkeypatch.setattr(efficiency, "create_model", tiny)


# --- efficiency ---------------------------------------------------------------------------------------


def test_every_model_that_is_compared_by_default_exists():
    assert set(MODELS_COMPARED) <= set(MODELS)


def test_times_are_medians_of_interleaved_rounds_and_ratios_are_paired(monkeypatch, small_table, tmp_path):
    # Milliseconds of (first, second): two rounds to warm up, then three, of which the last is slow for both.
    passes = iter([99, 99, 99, 99, 10, 30, 20, 40, 100, 200])
    order = []

    def measured(network, image):
        order.append(id(network))
        return next(passes) / 1000

    monkeypatch.setattr(efficiency, "_pass_seconds", measured)
    table = write_efficiency(("chnet", "smp:unet"), tmp_path, size=64, rounds=3, device="cpu")
    assert order == order[:2] * 5
    assert order[0] != order[1]
    assert table["milliseconds"].tolist() == pytest.approx([20, 40])
    assert table["ratio"].tolist() == pytest.approx([1, 2])  # median of 3, 2 and 2
    model = tiny("smp:unet")
    assert table["parameters"][1] == sum(weight.numel() for weight in model.parameters())
    assert table["macs"][1] == count_macs(model, (64, 64))
    written = pd.read_csv(tmp_path / "efficiency.csv")
    assert list(written) == ["model", "parameters", "macs", "milliseconds", "ratio", "peak_memory_mib"]
    assert written["parameters"].tolist() == table["parameters"].tolist()
    page = (tmp_path / "efficiency.md").read_text()
    assert "Ratio: median of the rounds' ratios to `chnet`" in page
    assert "| smp:unet | " in page
    assert "| 40.0 | 2.00 |" in page


def test_runs_join_the_picture_with_their_measured_dice(small_table, trained_run, tmp_path):
    run = tmp_path / "trained"
    run.mkdir()
    for name in ("model.json", "model.safetensors"):
        (run / name).symlink_to(trained_run[0] / name)
    options = {"size": 64, "rounds": 1, "device": "cpu", "runs": [run]}
    with pytest.raises(InputError, match=r"trained has no Dice of the split 'test'; run `delineate evaluate"):
        write_efficiency(("chnet",), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    write_json(run / "summary.json", {"test": {"dice": {"mean": 0.75, "low": 0.7, "high": None, "n": 3}}})
    write_efficiency(("chnet",), tmp_path / "out", **options)
    macs = count_macs(Predictor.load(run, "cpu").model, (64, 64)) / 1e9
    assert (
        f"| trained | 0.750 | 0.700 to 0.750 | {macs:.2f} |" in (tmp_path / "out/efficiency.md").read_text()
    )
    with Image.open(tmp_path / "out" / "efficiency.png") as picture:
        assert picture.width > 3 * picture.height  # a third panel


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (("chnett",), {}, "Unknown model 'chnett'. Did you mean 'chnet'"),
        (("chnet", "chnet"), {}, "Name each model once, got chnet, chnet."),
        (("chnet",), {"size": 0}, "must be at least 1, got 0 and 10."),
        (("chnet",), {"rounds": 0}, "must be at least 1, got 256 and 0."),
    ],
)
def test_a_wrong_comparison_is_refused(models, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_efficiency(models, tmp_path, **options)


def test_names_cover_neither_each_other_nor_points(tmp_path):
    x, y = [1.0, 1.02, 1.04, 3.0], [1.0, 1.01, 1.0, 2.0]
    with sheet(tmp_path / "points.png", width=5, height=4) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, 4), ylim=(0, 3))
        name_points(axes, x, y, ["one model", "another model", "a third model", "far away"])
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
        dots = axes.transData.transform(list(zip(x, y, strict=True)))
        assert len(boxes) == 4
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        assert not any(box.contains(*dot) for box in boxes for dot in dots)


# --- activation maps ----------------------------------------------------------------------------------


def test_where_a_map_looks_by_hand():
    activation = np.array([[0.0, 1.0], [0.5, 0.5]], dtype=np.float32)
    prediction = np.array([[1, 0], [1, 0]], dtype=np.uint8)
    reference = np.array([[0, 2], [0, 2]], dtype=np.uint8)
    found = where_it_looks(activation, prediction, reference)
    assert found == (0.25, 0.75, True)
    assert where_it_looks(activation, prediction, 1 - prediction.clip(max=1)).hit
    assert where_it_looks(activation, prediction, prediction) == (0.25, 0.25, False)
    assert where_it_looks(activation, None, None) == (None, None, None)
    assert where_it_looks(np.zeros_like(activation), prediction, reference) == (None, None, False)
    assert where_it_looks(activation, np.zeros_like(prediction), None) == (0.0, None, None)


@pytest.fixture(scope="module")
def explained(trained_run, tmp_path_factory):
    run, root = trained_run
    out = tmp_path_factory.mktemp("explained")
    masks = out / "masks"
    masks.mkdir()
    (masks / "case01.png").symlink_to(root / "masks" / "case01.png")
    images = [root / "images" / "case01.png", root / "images" / "case02.png"]
    return write_activation_maps(run, images, out / "maps", masks=masks, device="cpu"), out / "maps", images


def test_maps_have_a_picture_per_image_and_a_row_per_method(explained, trained_run):
    table, out, images = explained
    assert sorted(path.name for path in out.iterdir()) == ["activation_maps.csv", "case01.png", "case02.png"]
    assert list(zip(table["image"], table["method"], strict=True)) == [
        (image, method) for image in ("case01", "case02") for method in METHODS
    ]
    written = pd.read_csv(out / "activation_maps.csv")
    with_reference = written["image"] == "case01"
    assert written["share_in_prediction"].between(0, 1).all()
    assert written.loc[with_reference, "share_in_reference"].between(0, 1).all()
    assert set(written.loc[with_reference, "hit"]) <= {0, 1}
    assert written.loc[~with_reference, ["share_in_reference", "hit"]].isna().all(axis=None)
    predictor = Predictor.load(trained_run[0], "cpu")
    probability = predictor(images[0]).label
    label = predictor.choose_label(probability)
    assert set(written.loc[with_reference, "label"]) == {label}
    assert written["label_probability"][0] == pytest.approx(probability[label], abs=1e-5)


def test_a_model_without_labels_is_explained_by_its_mask(trained_run, tmp_path, monkeypatch):
    run, root = trained_run
    real = Predictor.load(run, "cpu")
    real.model.label_head = None
    real.info = real.info.model_copy(update={"labels": ()})
    monkeypatch.setattr(Predictor, "load", lambda *_: real)
    table = write_activation_maps(run, [root / "images" / "case03.png"], tmp_path)
    assert table["label"].isna().all()
    assert table["label_probability"].isna().all()
    assert len(table) == 3


def test_wrong_references_are_refused(trained_run, tmp_path):
    run, root = trained_run
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.zeros((5, 7), dtype=np.uint8)).save(masks / "other.png")
    image = root / "images" / "case01.png"
    with pytest.raises(InputError, match="masks holds no mask named as one of the images"):
        write_activation_maps(run, [image], tmp_path / "out", masks=masks)
    (masks / "other.png").rename(masks / "case01.png")
    with pytest.raises(InputError, match="is 7 x 5 pixels, its image 48 x 40; give masks at the size"):
        write_activation_maps(run, [image], tmp_path / "out", masks=masks)


# --- commands -----------------------------------------------------------------------------------------


def call(*arguments):
    result = CliRunner().invoke(analyse_app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_every_analysis_shows_an_example():
    for name in ("efficiency", "activation-maps", "decoupling", "differences", "attention-stability"):
        assert f"Example: delineate analyse {name}" in call(name, "--help").stdout


def test_activation_maps_as_a_command(trained_run, tmp_path):
    run, root = trained_run
    image = root / "images" / "case01.png"
    means = json.loads(call("activation-maps", run, image, "--out", tmp_path, "--json").stdout)
    assert list(means) == list(METHODS)
    written = pd.read_csv(tmp_path / "activation_maps.csv").set_index("method")
    for method, row in means.items():
        assert row["share_in_prediction"] == pytest.approx(written["share_in_prediction"][method], rel=1e-4)
        assert (row["share_in_reference"], row["hit"]) == (None, None)  # no reference was given


def test_efficiency_as_a_command(small_table, tmp_path):
    result = call("efficiency", "chnet", "--size", 64, "--rounds", 1, "--out", tmp_path, "--json")
    (row,) = json.loads(result.stdout)
    assert (row["model"], row["ratio"]) == ("chnet", 1.0)
    assert row["macs"] == count_macs(tiny("chnet"), (64, 64))


def test_decoupling_as_a_command_refuses_what_it_cannot_study(tmp_path):
    with pytest.raises(InputError, match="The decoupling study compares masks only; add --set 'task.labels"):
        call("decoupling", "demo", "--data", tmp_path, "--out", tmp_path / "out")
    with pytest.raises(InputError, match="needs at least one decoder, each once, got ''"):
        call("decoupling", "demo", "--data", tmp_path, "--out", tmp_path / "out", "--decoders", ",")


def test_scales_are_numbers(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="--scales needs numbers with commas between, got '1,two'"):
        call("attention-stability", tmp_path, "--images", tmp_path, "--out", tmp_path, "--scales", "1,two")
