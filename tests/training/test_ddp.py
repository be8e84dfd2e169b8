"""Several processes train and score as one does; test_processes.py has what needs no second process."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from delineate.inference.evaluate import evaluate
from delineate.models.checkpoint import load_model
from delineate.recipe_io import load_recipe
from delineate.record import read_record
from delineate.training.fit import train

HELPER = Path(__file__).with_name("two_processes.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
EXACT = [  # nothing random, so that only rounding may differ
    "augmentation={horizontal_flip: 0, vertical_flip: 0, rotation: 0, crop: 0, scale: [1, 1], brightness: 0, "
    "contrast: 0, saturation: 0, hue: 0, blur: 0}",
    "loss.mask=[{name: structure, weight: 1, options: {}}, {name: dice, weight: 1, options: {over: batch}}]",
    "optimiser.name=sgd",
    "optimiser.rate=0.05",
    "training.sizes=[24, 32]",
]


def run(*command):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def run_in_two(*command):
    return run(*TORCHRUN, *command)


@pytest.fixture(scope="module")
def helper():
    spec = importlib.util.spec_from_file_location("two_processes", HELPER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_data(root, make_folder):
    """17 training, 9 validation and 4 test cases; some training and validation cases lack a reference."""
    make_folder(root, 30)
    parts = "".join(f"case{i:02d},{'train' if i < 17 else 'val' if i < 26 else 'test'}\n" for i in range(30))
    (root / "split.csv").write_text(f"image_id,split\n{parts}")
    for i in (2, 3, 20):
        (root / "masks" / f"case{i:02d}.png").unlink()
    without = ("case03", "case05", "case06", "case24")
    lines = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join(x for x in lines if not x.startswith(without)) + "\n")
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small_settings, make_folder, helper, trained_run):
    """Runs of one recipe: `one` in this process, the others with two; `scored` as two processes score it."""
    work = tmp_path_factory.mktemp("ddp")
    settings = [*small_settings, *EXACT]
    (work / "settings.json").write_text(json.dumps(settings))
    recipe, data = load_recipe("demo", settings), write_data(work / "data", make_folder)
    shutil.copytree(trained_run[0], work / "scored")
    with helper.use_plain_model():
        train(recipe, data, work / "one")
        with pytest.raises(helper.StopError):
            train(recipe, data, work / "begun", listener=helper.stop_after_the_first_epoch())
        code, output = run_in_two(HELPER, work)
        assert code == 0, output
        train(recipe, data, work / "broken", resume=True)
    return work


def history(run):
    return pd.read_csv(run / "history.csv").drop(columns="seconds")


def weights(run):
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("two", id="two processes"),
        pytest.param("broken", id="begun by two, resumed by one"),
        pytest.param("begun", id="begun by one, resumed by two"),
    ],
)
def test_training_equals_that_of_one_process(runs, name):
    pd.testing.assert_frame_equal(history(runs / name), history(runs / "one"), rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(weights(runs / name), weights(runs / "one"), rtol=1e-5, atol=1e-6)
    records = [read_record(runs / run / "record.json") for run in (name, "one")]
    assert records[0].selected_epoch == records[1].selected_epoch
    assert records[0].cases == {"train": 17, "val": 9, "test": 4}
    assert records[0].data_fingerprint == records[1].data_fingerprint


def test_the_weights_moved_and_the_figures_are_there(runs):
    """So that the comparison above is one of something."""
    table = history(runs / "one")
    assert list(table["epoch"]) == [1, 2, 3]
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0] - 0.01
    assert table[["val_loss", "val_mask_loss", "val_label_loss", "val_dice", "val_auc"]].notna().all().all()
    assert read_record(runs / "begun" / "record.json").resumed == 1
    assert read_record(runs / "two" / "record.json").resumed == 0


def test_only_one_process_writes_and_nothing_is_left_over(runs):
    files = {str(p.relative_to(runs / "two")) for p in (runs / "two").rglob("*") if p.is_file()}
    assert files == {str(p.relative_to(runs / "one")) for p in (runs / "one").rglob("*") if p.is_file()}


def test_scores_are_those_of_one_process(runs, trained_run, tmp_path):
    shutil.copytree(trained_run[0], tmp_path / "run")
    alone = evaluate(tmp_path / "run", split="train", workers=0)
    for name in ("scores.csv",):
        pd.testing.assert_frame_equal(
            pd.read_csv(runs / "scored" / name), pd.read_csv(tmp_path / "run" / name), rtol=1e-6
        )
    shared = json.loads((runs / "scored" / "summary.json").read_text())
    assert shared["train"]["dice"] == pytest.approx(alone.summary["dice"], rel=1e-6)
    record = read_record(runs / "scored" / "record.json").evaluations["train"]
    assert (record.cases, record.environment.device) == (10, "2 x cpu")


@pytest.mark.slow
def test_the_command_line_trains_a_model_with_batch_normalisation(tmp_path, small_settings, make_folder):
    """CLNet with batch normalisation and augmentation; one epoch, as rounding grows fast at this size."""
    root = write_data(tmp_path / "data", make_folder)
    settings = [*small_settings, "optimiser.name=sgd", "data.workers=1", "training.epochs=1"]
    arguments = ["train", "demo", "--data", root, "--run", tmp_path / "two"]
    for setting in settings:
        arguments += ["--set", setting]
    code, output = run_in_two("-m", "--", "delineate", *arguments)
    assert code == 0, output
    train(load_recipe("demo", settings), root, tmp_path / "one")
    pd.testing.assert_frame_equal(history(tmp_path / "two"), history(tmp_path / "one"), rtol=1e-4)
    states = [load_model(tmp_path / name)[0].state_dict() for name in ("two", "one")]
    torch.testing.assert_close(*states, rtol=1e-3, atol=1e-4)

    # Once more, as --devices starts it: what is wrong in the first process ends both, in one sentence.
    launcher = "import sys; from delineate.training.launch import launch; sys.exit(launch(2, sys.argv[1:]))"
    code, output = run(sys.executable, "-c", launcher, *arguments)
    assert code == 2
    assert "already holds a run; continue it with --resume" in output
    assert "Traceback" not in output
