"""A run that was killed ends with the same weights as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from delineate.checks import InputError
from delineate.files import sha256_of
from delineate.record import read_record
from delineate.training.checkpoints import AtomicCheckpointIO
from delineate.training.fit import train

EPOCHS = "training.epochs=5"


def start(settings, root, run, *more):
    command = [
        sys.executable,
        "-m",
        "delineate",
        "train",
        "demo",
        "--data",
        str(root),
        "--run",
        str(run),
        *more,
    ]
    for setting in [*settings, EPOCHS]:
        command += ["--set", setting]
    return subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )


def test_killed_and_resumed_equals_uninterrupted(tmp_path, small_settings, make_folder):
    root = make_folder(tmp_path / "data")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    first = start(small_settings, root, whole)

    killed = start(small_settings, root, broken)
    deadline = time.monotonic() + 120
    while len(list(broken.glob("history.csv"))) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (broken / "record.json").exists(), "the run was over before it could be killed"
    assert (broken / "checkpoints" / "last.ckpt").exists()

    resumed = start(small_settings, root, broken, "--resume")
    for process in (first, resumed):
        _, messages = process.communicate(timeout=120)
        assert process.returncode == 0, messages

    assert sha256_of(whole / "model.safetensors") == sha256_of(broken / "model.safetensors")
    figures = [pd.read_csv(run / "history.csv").drop(columns="seconds") for run in (whole, broken)]
    pd.testing.assert_frame_equal(*figures)
    assert read_record(whole / "record.json").resumed == 0
    assert read_record(broken / "record.json").resumed == 1


def test_nothing_is_overwritten(trained_run, small_recipe, tmp_path):
    run, root = trained_run
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        train(small_recipe, root, run)
    with pytest.raises(InputError, match="is finished; evaluate it"):
        train(small_recipe, root, run, resume=True)
    with pytest.raises(InputError, match="There is no run to resume"):
        train(small_recipe, root, tmp_path / "new", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a run"):
        train(small_recipe, root, tmp_path / "mine")


def test_another_recipe_cannot_resume(trained_run, small_recipe):
    run, root = trained_run
    other = small_recipe.model_copy(update={"training": small_recipe.training.model_copy(update={"seed": 7})})
    with pytest.raises(InputError, match=r"another recipe \(training.seed is 0, not 7\)"):
        train(other, root, run, resume=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r": opened(Path("/dev/full") if mode == "wb" else self, mode)
    )
    with pytest.raises(InputError, match=r"Cannot write .*last\.ckpt: No space left on device"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    monkeypatch.undo()
    assert os.listdir(path.parent) == ["last.ckpt"]
    assert AtomicCheckpointIO().load_checkpoint(path, weights_only=True) == {"epoch": 1}
