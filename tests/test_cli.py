"""The command line as a user meets it: output, exit codes, one-sentence errors."""

import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from delineate import console
from delineate.cli import main


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process: (exit code, output, messages)."""
    monkeypatch.setattr(console, "quieten_libraries", lambda: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["delineate", *map(str, arguments)])
        # Consoles keep the stream they were made with; the test's streams are new ones.
        monkeypatch.setattr(console.out, "_file", sys.stdout)
        monkeypatch.setattr(console.err, "_file", sys.stderr)
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return stopped.value.code or 0, captured.out, captured.err

    return run


def test_help_names_every_command_with_an_example(call):
    code, output, _ = call("--help")
    assert code == 0
    for command in ("models", "recipes", "datasets", "data", "train", "evaluate", "predict", "profile"):
        assert command in output
    for command in (
        ["data", "phantom"],
        ["data", "check"],
        ["data", "fetch"],
        ["data", "split"],
        ["data", "convert"],
        ["datasets"],
        ["models"],
        ["recipes"],
        ["train"],
        ["evaluate"],
        ["predict"],
        ["explain"],
        ["export"],
        ["serve"],
        ["corrections", "list"],
        ["corrections", "export"],
        ["profile"],
    ):
        code, output, _ = call(*command, "--help")
        assert code == 0
        assert "Example: delineate " + " ".join(command) in output


def test_models_and_recipes(call):
    code, output, _ = call("models", "--json")
    assert code == 0
    assert {"chnet", "clnet", "smp:unet", "smp:deeplabv3plus"} <= set(json.loads(output))
    code, output, _ = call("recipes", "--json")
    assert code == 0
    assert "chnet.polyp.paper" in json.loads(output)
    code, output, _ = call("recipes", "demo")
    assert code == 0
    assert output.startswith("# ")
    assert "name: demo" in output


def test_profile_gives_the_promised_keys(call):
    code, output, _ = call("profile", "smp:unet", "--encoder", "resnet10t", "--size", "64", "--json")
    assert code == 0
    cost = json.loads(output)
    assert {"params", "macs", "latency_ms", "peak_memory_mb"} <= set(cost)
    assert cost["latency_ms"] > 0
    assert cost["peak_memory_mb"] > cost["params"] * 4 / 2**20


def test_the_main_job(call, trained_run, tmp_path):
    trained, root = trained_run
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    code, output, messages = call("evaluate", run, "--split", "test")
    assert code == 0, messages
    assert "dice" in output
    assert f"Report: {run / 'report.html'}" in output
    assert "<html" in (run / "report.html").read_text()
    summary = json.loads((run / "summary.json").read_text())["test"]
    table = pd.read_csv(run / "scores.csv")
    assert len(table) == 3
    assert summary["dice"]["mean"] == pytest.approx(table["dice"].mean())
    assert set(json.loads((run / "record.json").read_text())["evaluations"]) == {"test"}

    code, output, _ = call("evaluate", run, "--split", "val", "--json")
    assert code == 0
    assert set(json.loads(output)) == {"val"}
    assert set(json.loads((run / "summary.json").read_text())) == {"test", "val"}
    assert sorted(pd.read_csv(run / "scores.csv")["split"].unique()) == ["test", "val"]

    out = tmp_path / "found"
    code, _, messages = call(
        "predict",
        run,
        root / "images" / "case00.png",
        root / "images" / "case01.png",
        "--out",
        out,
        "--explain",
    )
    assert code == 0, messages
    rows = pd.read_csv(out / "predictions.csv")
    assert list(rows["image_id"]) == ["case00", "case01"]
    for kind in ("masks", "overlays", "maps"):
        with Image.open(out / kind / "case00.png") as picture:
            assert picture.size == (48, 40)
    assert set(np.unique(np.array(Image.open(out / "masks" / "case00.png")))) <= {0, 255}
    code, _, messages = call("predict", run, root / "images", "--out", out)
    assert (code, "already holds predictions" in messages) == (2, True)


def test_predict_reports_a_bad_file_and_goes_on(call, trained_run, tmp_path):
    run, root = trained_run
    folder = tmp_path / "new"
    folder.mkdir()
    shutil.copy(root / "images" / "case00.png", folder / "good.png")
    (folder / "broken.png").write_bytes((root / "images" / "case01.png").read_bytes()[:200])
    code, _, messages = call("predict", run, folder, "--out", tmp_path / "out")
    assert code == 1
    assert "left out: " in messages
    assert "broken.png" in messages
    assert (tmp_path / "out" / "masks" / "good.png").exists()
    assert not (tmp_path / "out" / "masks" / "broken.png").exists()


def test_check_has_exit_code_1_for_faulty_data(call, disc_folder):
    assert call("data", "check", disc_folder)[0] == 0
    Image.new("L", (10, 10)).save(disc_folder / "masks" / "case03.png")
    code, output, _ = call("data", "check", disc_folder, "--json")
    assert code == 1
    assert json.loads(output)["ok"] is False


def test_check_draws_compares_and_groups(call, disc_folder, tmp_path, make_folder):
    other = make_folder(tmp_path / "other", seed=1)
    twin = disc_folder / "images" / "case00.png"
    (other / "images" / "case01.png").write_bytes(twin.read_bytes())
    sheet, groups = tmp_path / "sheet.png", tmp_path / "groups.csv"
    options = ("--against", other, "--picture", sheet, "--write-groups", groups, "--details")
    _, output, _ = call("data", "check", disc_folder, *options)
    assert "case00" in output
    assert "case01" in output
    assert Image.open(sheet).width > 100
    assert groups.read_text().startswith("image_id,group\n")
    code, _, error = call("data", "check", disc_folder, "--picture", sheet)
    assert code == 2
    assert "exists already and is not overwritten" in error


def test_split_train_and_convert(call, disc_folder, tmp_path, small_settings):
    (disc_folder / "split.csv").unlink()
    code, _, error = call(
        "data", "split", disc_folder, "--protocol", "k-fold", "--folds", 4, "--out", tmp_path / "splits"
    )
    assert code == 0, error
    manifests = sorted(path.name for path in (tmp_path / "splits").iterdir())
    assert manifests == ["fold0.json", "fold1.json", "fold2.json", "fold3.json"]
    settings = [part for change in [*small_settings, "training.epochs=1"] for part in ("--set", change)]
    runs = []
    for name, chosen in (
        ("manifest", ("--split", tmp_path / "splits" / "fold2.json")),
        ("protocol", ("--protocol", "k-fold", "--folds", 4, "--fold", 2)),
    ):
        code, _, error = call(
            "train", "demo", "--data", disc_folder, "--run", tmp_path / name, *settings, *chosen
        )
        assert code == 0, error
        content = json.loads((tmp_path / name / "splits.json").read_text())
        runs.append({case["id"]: case["split"] for case in content["cases"]})
    assert runs[0] == runs[1]
    code, _, error = call("train", "demo", "--data", disc_folder, "--run", tmp_path / "x", "--fold", 1)
    assert (code, "name it with --protocol" in error) == (2, True)
    code, _, error = call("data", "convert", disc_folder, tmp_path / "small", "--size", 24)
    assert code == 0, error
    assert call("data", "check", tmp_path / "small")[0] == 0
    assert Image.open(tmp_path / "small" / "images" / "case00.png").size == (24, 20)


def test_data_sets_are_listed_and_told_about(call):
    code, output, _ = call("datasets", "--json")
    assert code == 0
    assert {"busi", "busi:first", "isic2017", "pranet", "folder"} <= set(json.loads(output))
    code, output, _ = call("datasets", "busi")
    assert code == 0
    for words in ("Dataset_BUSI_with_GT/", "busi.4-fold", "Licence", "benign (433)"):
        assert words in output
    code, _, error = call("datasets", "bussi")
    assert (code, "Did you mean 'busi'?" in error) == (2, True)


def damage_missing_mask_table(root):
    (root / "labels.csv").write_text("image_id,label\nnobody,good\n")


def damage_sizes(root):
    Image.new("L", (10, 10)).save(root / "masks" / "case03.png")


def damage_truncated(root):
    path = root / "images" / "case02.png"
    path.write_bytes(path.read_bytes()[:300])


def damage_colours(root):
    Image.new("CMYK", (48, 40), (9, 9, 9, 100)).save(root / "images" / "case02.jpg")
    (root / "images" / "case02.png").unlink()


def damage_values(root):
    Image.fromarray(np.full((40, 48), 37, np.uint8)).save(root / "masks" / "case03.png")


def damage_unknown_mask(root):
    shutil.copy(root / "masks" / "case03.png", root / "masks" / "stranger.png")


def damage_label_name(root):
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text.replace("case03,bad", "case03,ugly"))


def damage_empty(root):
    shutil.rmtree(root / "images")
    (root / "images").mkdir()


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (damage_missing_mask_table, ["labels.csv", "nobody"]),
        (damage_sizes, ["case03.png", "10"]),
        (damage_truncated, ["case02.png"]),
        (damage_colours, ["case02.jpg", "CMYK"]),
        (damage_values, ["case03.png", "37", "classes.csv"]),
        (damage_unknown_mask, ["stranger"]),
        (damage_label_name, ["case03", "ugly", "ignore_labels"]),
        (damage_empty, ["images"]),
    ],
)
def test_bad_data_is_one_sentence_and_nothing_is_trained(
    call, disc_folder, tmp_path, small_settings, damage, names
):
    damage(disc_folder)
    settings = [part for setting in small_settings for part in ("--set", setting)]
    code, _, messages = call("train", "demo", "--data", disc_folder, "--run", tmp_path / "run", *settings)
    assert code == 2
    error = messages[messages.index("Error:") :]
    for name in names:
        assert name in error
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dmeo", "--data", "x"], "Unknown recipe 'dmeo'. Did you mean 'demo'?"),
        (["train", "demo", "--data", "nowhere", "--run", "RUN"], "nowhere"),
        (["profile", "chnett"], "Unknown model 'chnett'. Did you mean 'chnet'?"),
        (["evaluate", "nowhere"], "is not a finished run"),
        (["predict", "nowhere", "x.png", "--out", "out"], "is not a finished run"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "phantom", "out", "--count", "0"], "count"),
    ],
)
def test_wrong_calls_have_exit_code_2_and_one_sentence(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, messages = call(*arguments)
    assert code == 2
    assert message in messages
    assert len(messages[messages.index("Error:") :].strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_folder_without_permission(call, disc_folder, tmp_path, small_settings):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    settings = [part for setting in small_settings for part in ("--set", setting)]
    code, _, messages = call("train", "demo", "--data", disc_folder, "--run", locked / "run", *settings)
    assert code == 2
    assert "Cannot write" in messages
    assert "Permission denied" in messages
