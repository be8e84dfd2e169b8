"""`delineate export` as a user meets it."""

import importlib
import json
import shutil
import sys

import onnx
import pytest

from delineate import console
from delineate.checks import InputError
from delineate.cli import main
from delineate.data.case import Case
from delineate.inference.export import make
from delineate.inference.export.score_change import LIMITS

command = importlib.import_module("delineate.cli.export")


@pytest.fixture
def call(monkeypatch, capsys, runs, exported):
    """Run the command line: its output. Networks are not traced again but read from the first export."""
    ready = runs.one / "exports" / "onnx-fp32" / "model.onnx"
    monkeypatch.setattr(make.onnx_format, "onnx_model", lambda *_: onnx.load(ready))
    monkeypatch.setattr(console, "quieten_libraries", lambda: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["delineate", "export", *map(str, arguments)])
        monkeypatch.setattr(console.out, "_file", sys.stdout)
        monkeypatch.setattr(console.err, "_file", sys.stderr)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_json_is_the_record(call, runs, tmp_path):
    found = json.loads(call(runs.one, "--to", "onnx", "--out", tmp_path / "x", "--json"))
    assert found.pop("out") == str(tmp_path / "x")
    assert found == json.loads((tmp_path / "x" / "export.json").read_text())


def test_the_table_says_how_close_it_is(call, runs, tmp_path):
    output = call(runs.one, "--to", "onnx", "--out", tmp_path / "x")
    assert "onnx-fp32 beside PyTorch" in output
    assert "mask pixels that differ" in output
    assert "0 of 10059" in output
    assert f"Written: {tmp_path / 'x'}" in output


def test_int8_with_a_folder_and_a_data_set(call, runs, make_folder, tmp_path):
    data = make_folder(tmp_path / "data")
    arguments = (
        "--to",
        "onnx",
        "--precision",
        "int8",
        "--calibrate",
        data / "images",
        "--out",
        tmp_path / "x",
    )
    found = json.loads(call(runs.one, *arguments, "--data", data, "--max-loss", 1, "--json"))
    assert found["calibration"]["pictures"] == 13  # of 16; three of them are measured
    assert len(found["calibration"]["sha256"]) == 64
    assert found["parity"]["tolerance"] is None
    assert found["parity"]["pictures"] == "built-in and given"
    assert [40, 48] in [case[1:] for case in found["parity"]["cases"]]
    change = found["score_change"]
    assert (change["dataset"], change["split"], change["cases"]) == ("folder: data", "test", 3)
    assert change["mean_change"] == pytest.approx(change["dice_after"] - change["dice_before"])


def test_a_loss_beyond_the_limit_leaves_nothing_behind(runs, exported, make_folder, monkeypatch, tmp_path):
    cases = command._cases(runs.one, make_folder(tmp_path / "data"), "folder", "test")
    ready = runs.one / "exports" / "onnx-fp32" / "model.onnx"
    monkeypatch.setattr(make.onnx_format, "onnx_model", lambda *_: onnx.load(ready))
    monkeypatch.setitem(LIMITS, "fp32", -1.0)  # no file can gain that much
    with pytest.raises(InputError, match="The onnx-fp32 export loses -?0.0000 of the mean Dice on 3 cases"):
        make.export_model(runs.one, "onnx", data=cases, out=tmp_path / "x")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["data"]


def test_calibration_leaves_out_what_is_measured(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(700)]
    data = make.ScoreData([Case(id="3", image=tmp_path / "." / "3.png")], "folder", "test")
    left = make._unmeasured(files, data)
    assert len(left) == make.CALIBRATED
    assert files[3] not in left
    assert (left[0], left[-1]) == (files[0], files[-1])  # spread over all
    with pytest.raises(InputError, match="also those that the score is measured on"):
        make._unmeasured(files[3:4], data)


@pytest.mark.parametrize(("value", "message"), [(2.0, "from 0 to 1; this is 2"), (0.1, "give --data")])
def test_a_largest_loss_is_a_difference_and_needs_data(runs, value, message):
    with pytest.raises(InputError, match=message):
        make.export_model(runs.one, "onnx", max_loss=value)


def test_folders_without_pictures_or_cases_are_named(runs, make_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no image"):
        command._images([tmp_path / "empty"])
    data = make_folder(tmp_path / "data")
    shutil.rmtree(data / "masks")
    with pytest.raises(
        InputError, match="has no case with a mask in the split 'test'; choose another --split"
    ):
        command._cases(runs.one, data, "folder", "test")
