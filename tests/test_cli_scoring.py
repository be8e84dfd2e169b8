"""The commands that score files and repeat tables, as a user meets them."""

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from delineate import console
from delineate.checks import InputError
from delineate.cli import scoring
from delineate.cli.reproduce import reproduce
from delineate.cli.scoring import evaluate


@pytest.fixture
def call(monkeypatch):
    app = typer.Typer()
    app.command()(evaluate)
    app.command()(reproduce)

    def run(*arguments):
        import sys

        runner = CliRunner()
        with monkeypatch.context() as patch:
            # Consoles keep the stream they were made with; print_json writes to the runner's own.
            patch.setattr(type(console.out), "file", property(lambda _: sys.stdout))
            result = runner.invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


@pytest.fixture
def folders(tmp_path):
    for name in ("pred", "ref"):
        (tmp_path / name).mkdir()
        for i in range(3):
            mask = np.zeros((16, 16), dtype=np.uint8)
            mask[2:10, 2 + i * (name == "pred") : 10] = 255
            Image.fromarray(mask).save(tmp_path / name / f"case{i}.png")
    return tmp_path


def test_files_are_scored_with_the_groups_that_were_asked_for(call, folders):
    out = folders / "out"
    code, output = call(
        "evaluate", "--predictions", folders / "pred", "--references", folders / "ref", "--out", out,
        "--metrics", "msnet, hd95,nsd@2", "--json",
    )  # fmt: skip
    assert code == 0
    summary = json.loads((out / "summary.json").read_text())["files"]
    assert {"dice", "msnet_mdice", "hd95", "nsd@2"} <= summary.keys()
    assert "mae" not in summary
    dice = np.mean([1, 2 * 56 / (64 + 56), 2 * 48 / (64 + 48)])
    assert summary["dice"]["mean"] == pytest.approx(dice)
    assert f'"mean": {summary["dice"]["mean"]}' in output
    assert (out / "report.html").is_file()


def test_missing_predictions_and_policies_reach_the_user(call, folders):
    (folders / "pred" / "case1.png").unlink()
    arguments = ["evaluate", "--predictions", folders / "pred", "--references", folders / "ref",
                 "--out", folders / "out"]  # fmt: skip
    with pytest.raises(InputError, match=r"1 of 3 references have no prediction, for example 'case1'"):
        call(*arguments)
    assert call(*arguments, "--missing", "worst")[0] == 0
    assert json.loads((folders / "out" / "record.json").read_text())["missing"] == ["case1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give the folder of a run, or --predictions, --references and --out; --predictions is missing"),
        (["--predictions", "x", "--out", "y"], "--references is missing"),
        (["run", "--predictions", "x"], "--predictions is for files, and run is a run"),
        (["run", "--reference-suffix", "_gt"], "--reference-suffix is for files"),
        (["run", "--threshold", "0.3"], "--threshold is for files"),
    ],
)
def test_a_run_and_files_are_not_mixed(call, arguments, message):
    with pytest.raises(InputError, match=message):
        call("evaluate", *arguments)


def test_a_run_is_scored_and_gets_its_card(call, monkeypatch):
    seen = []
    monkeypatch.setattr(scoring.runs, "evaluate", lambda run, **options: seen.append((run, options)))
    monkeypatch.setattr(scoring, "_write_card", lambda run: seen.append(run))
    assert call("evaluate", "runs/demo", "--split", "val")[0] == 0
    (run, options), card = seen
    assert (str(run), options["split"]) == ("runs/demo", "val")
    assert card == run


def test_a_plan_says_what_can_be_run(call, tmp_path):
    code, output = call("reproduce", "m2snet", "8", "--data", tmp_path, "--dry-run", "--json")
    assert code == 0
    plan = json.loads(output)
    states = {(row["method"], row["dataset"]): row["state"] for row in plan["rows"]}
    assert states["MSNet", ""] == "cost"
    assert states["MSNet", "busi"] == "data"
    assert plan["runs"] == 0
    assert plan["data"]["busi"]["reason"].startswith(f"The data is missing at {tmp_path / 'busi'}.")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_costs_is_printed_beside_the_paper(call, tmp_path):
    code, output = call(
        "reproduce", "chnet", "5", "--data", tmp_path, "--row", "CHNet", "--out", tmp_path / "o"
    )
    assert code == 0
    assert "8.8000" in output
    assert "8.82" in output
    assert (tmp_path / "o" / "report.html").is_file()


def test_wrong_seeds_and_no_folder_are_one_sentence(call, tmp_path):
    with pytest.raises(InputError, match="Name the folder for the runs with --out"):
        call("reproduce", "chnet", "5", "--data", tmp_path)
    with pytest.raises(InputError, match="--seeds takes whole numbers with commas"):
        call("reproduce", "chnet", "5", "--data", tmp_path, "--dry-run", "--seeds", "1,1")
