"""The decoupling study: its plan, its recipes, and one whole study on discs."""

import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.recipe_io import load_recipe
from delineate.record import read_record
from delineate.study.analyses import decoupling
from delineate.study.analyses.decoupling import StudyListener, study_decoupling
from delineate.study.analyses.decoupling_plan import check_base, plan, recipe_of, same_training
from delineate.training.fit import Listener

PLAN = {"decoders": ("fcn32s",), "backbones": ("chnet",)}
LEVELS = (0, 1, 2, 3)
NAMES = [
    "chnet",
    "fcn32s",
    "chnet+fcn32s.random",
    "chnet+fcn32s.own",
    "untrained+fcn32s.random",
    "untrained+fcn32s.own",
]


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.fixture(scope="module")
def base(small_settings):
    changes = (
        "task.labels={}",
        "loss.label=[]",
        "training.monitor=dice",
        "training.epochs=1",
        "model.name=chnet",
        "model.options={width: 16, hidden: 16}",
        "optimiser.encoder_rate_factor=0.5",
        "evaluation.surface=false",
        "evaluation.saliency=false",
    )
    return load_recipe("demo", [*small_settings, *changes])


@pytest.fixture(scope="module")
def study(base, make_folder, tmp_path_factory):
    """A finished study: (its folder, data, the result, names of the runs that were trained)."""
    root = make_folder(tmp_path_factory.mktemp("study") / "data")
    out, trained = root.parent / "out", []

    def on_run(run, number, count):
        trained.append((run.name, number, count))
        return Listener()

    result = study_decoupling(base, root, out, runs=plan(**PLAN), listener=StudyListener(on_run))
    return out, root, result, trained


def test_the_plan_of_the_paper():
    runs = plan()
    assert [run.name for run in runs if not run.frozen] == ["chnet", "unet", "attention-unet", "fcn32s"]
    # 3 trained backbones and the untrained one, 4 decoders, 2 starts; 3 decoders have their own backbone.
    assert sum(run.frozen for run in runs) == 4 * 4 * 2 - 3
    position = {run.name: i for i, run in enumerate(runs)}
    assert len(position) == len(runs)
    assert all(position[need] < position[run.name] for run in runs for need in run.needs)
    only_random = plan(initialisations=("random",), untrained=False)
    assert [run.name for run in only_random if not run.frozen] == ["chnet", "unet", "attention-unet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoders": ()}, "needs at least one decoder, each once, got ''"),
        ({"backbones": ("unet", "unet")}, "needs at least one backbone, each once, got 'unet, unet'"),
        ({"decoders": ("chnett",)}, "Unknown model 'chnett'. Did you mean 'chnet'?"),
        (
            {"initialisations": ("own", "zero")},
            "Unknown initialisation of a decoder 'zero'. Choose from: own",
        ),
    ],
)
def test_a_wrong_plan_is_refused(arguments, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        plan(**arguments)


def test_recipes_differ_only_where_the_study_says(base, tmp_path):
    runs = {run.name: run for run in plan()}
    whole = recipe_of(runs["chnet"], base, tmp_path, tmp_path / "raw")
    assert whole.model == base.model  # its own model keeps its options
    assert whole.optimiser.encoder_rate_factor == 0.5
    own = recipe_of(runs["unet+attention-unet.own"], base, tmp_path, tmp_path / "raw")
    assert own.model.name == "attention-unet"
    assert own.model.options == {"depth": 4}
    assert own.model.encoder == "test_resnet"
    assert own.model.encoder_from == str(tmp_path / "unet")
    assert own.model.decoder_from == str(tmp_path / "attention-unet")
    assert own.model.freeze_encoder
    assert own.optimiser.encoder_rate_factor == 1
    for section in ("task", "data", "augmentation", "loss", "schedule", "training", "evaluation"):
        assert getattr(own, section) == getattr(base, section)
    raw = recipe_of(runs["untrained+unet.random"], base, tmp_path, tmp_path / "raw")
    assert (raw.model.encoder_from, raw.model.decoder_from) == (str(tmp_path / "raw"), None)
    moved = recipe_of(runs["unet+attention-unet.own"], base, tmp_path / "elsewhere", tmp_path / "raw")
    assert moved != own
    assert same_training(moved, own)
    assert not same_training(own, raw)


def test_a_base_recipe_that_cannot_be_varied(small_recipe, base):
    with pytest.raises(InputError, match="compares masks only; add --set 'task.labels={}'"):
        check_base(small_recipe)
    for changes, message in (
        ({"freeze_encoder": True}, "sets model.encoder_from, decoder_from and freeze_encoder itself"),
        ({"encoder": "unet"}, "needs one timm network as the backbone of all models, got 'unet'"),
    ):
        other = base.model_copy(update={"model": base.model.model_copy(update=changes)})
        with pytest.raises(InputError, match=message):
            check_base(other)


def test_a_study_trains_every_run_once_and_writes_table_picture_and_page(study):
    out, _, result, trained = study
    assert trained == [(name, i, len(NAMES)) for i, name in enumerate(NAMES, 1)]
    assert result.failed == {}
    table = pd.read_csv(out / "decoupling.csv")
    assert list(table["run"]) == NAMES
    assert set(table["split"]) == {"val"}
    assert table["cases"].eq(3).all()
    assert table["epochs"].eq(1).all()
    assert (table["low"] <= table["dice"]).all()
    assert (table["dice"] <= table["high"]).all()
    weights = table.set_index("run")["trainable_parameters"]
    # FCN-32s is one 1x1 convolution on the deepest map, which has 192 channels here.
    assert weights[NAMES[2:]].eq(192 + 1).all()
    encoder = create_encoder("test_resnet", levels=LEVELS)
    assert weights["fcn32s"] == 193 + sum(weight.numel() for weight in encoder.parameters())
    assert all(
        read_record(out / "runs" / name / "record.json").evaluations.keys() == {"val"} for name in NAMES
    )
    page = (out / "decoupling.md").read_text()
    assert "backbone `test_resnet`, its first 4 levels, in every run, starting from random numbers" in page
    assert page.count("of 1 |") == len(NAMES)
    with Image.open(out / "decoupling.png") as picture:
        assert picture.width > 1000


def test_frozen_backbones_are_those_of_the_runs_they_come_from(study):
    out = study[0]

    def encoder(folder):
        return {k: v for k, v in load_file(folder / "model.safetensors").items() if k.startswith("encoder.")}

    def equal(one, other):
        first, second = encoder(one), encoder(other)
        return first.keys() == second.keys() and all(first[k].equal(second[k]) for k in first)

    runs = out / "runs"
    for name in NAMES[2:]:
        source = out / "untrained" if name.startswith("untrained") else runs / "chnet"
        assert equal(runs / name, source), name
    assert not equal(runs / "chnet", runs / "fcn32s")
    assert not equal(runs / "chnet", out / "untrained")


def test_calling_again_repeats_nothing(study, base):
    out, root, result, _ = study
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="is not empty; continue a study there with --resume"):
        study_decoupling(base, root, out, runs=plan(**PLAN))

    def never(*_):
        raise AssertionError

    again = study_decoupling(base, root, out, runs=plan(**PLAN), resume=True, listener=StudyListener(never))
    assert before == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    pd.testing.assert_frame_equal(again.table, result.table)
    other = base.model_copy(update={"training": base.training.model_copy(update={"seed": 5})})
    with pytest.raises(InputError, match="was started with another recipe than this study now derives"):
        study_decoupling(other, root, out, runs=plan(**PLAN), resume=True)


def test_a_killed_study_goes_on_and_a_failure_costs_only_what_needs_it(
    base, make_folder, tmp_path, monkeypatch
):
    runs = plan(("chnet", "fcn32s"), ("chnet",), ("random",), untrained=False)
    root, out, real, failures = make_folder(tmp_path / "data"), tmp_path / "out", decoupling.train, []
    listener = StudyListener(on_failure=lambda run, reason: failures.append((run.name, reason)))

    def killed(recipe, *arguments, **options):
        def stop(row):
            raise Killed

        return real(recipe, *arguments, **options | {"listener": Listener(on_epoch=stop)})

    def broken(recipe, *arguments, **options):
        if options["resume"] or recipe.model.name == "chnet":
            return real(recipe, *arguments, **options)
        raise RuntimeError("CUDA out\n of memory")

    monkeypatch.setattr(decoupling, "train", killed)
    with pytest.raises(Killed):
        study_decoupling(base, root, out, runs=runs, listener=listener)
    assert (out / "runs" / "chnet" / "recipe.yaml").is_file()
    assert not (out / "runs" / "chnet" / "record.json").exists()

    monkeypatch.setattr(decoupling, "train", broken)
    result = study_decoupling(base, root, out, runs=runs, resume=True, listener=listener)
    assert failures == [("chnet+fcn32s.random", "RuntimeError: CUDA out of memory")]
    assert list(result.table["failure"]) == ["", "", "RuntimeError: CUDA out of memory"]
    page = (out / "decoupling.md").read_text()
    assert "- `chnet+fcn32s.random`: RuntimeError: CUDA out of memory" in page

    def hopeless(*_arguments, **_options):
        raise RuntimeError("no disk")

    monkeypatch.setattr(decoupling, "train", hopeless)
    with pytest.raises(InputError, match="No run of the study succeeded; the first failed so: .*no disk"):
        study_decoupling(base, root, tmp_path / "none", runs=runs, listener=listener)
    assert failures[-1] == ("chnet+fcn32s.random", "It needs the run chnet, which failed.")


def test_a_wrong_call_is_refused_before_anything_is_written(base, tmp_path):
    with pytest.raises(InputError, match="The split must be one of train, val, test, got 'all'"):
        study_decoupling(base, tmp_path, tmp_path / "out", runs=plan(**PLAN), split="all")
    with pytest.raises(InputError, match="There is no study to resume in .*out; leave out --resume"):
        study_decoupling(base, tmp_path, tmp_path / "out", runs=plan(**PLAN), resume=True)
    assert not (tmp_path / "out").exists()


def test_a_split_that_nobody_makes_is_refused_before_the_first_training(base, disc_folder, tmp_path):
    (disc_folder / "split.csv").unlink()
    recipe = base.model_copy(update={"data": base.data.model_copy(update={"val_fraction": 0.0})})
    with pytest.raises(InputError, match=r"scores the split 'val', but .* set data.val_fraction above 0"):
        study_decoupling(recipe, disc_folder, tmp_path / "out", runs=plan(**PLAN))
    assert not (tmp_path / "out").exists()
