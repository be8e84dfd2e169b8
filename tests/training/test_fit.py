"""Training does what the recipe says."""

import shutil
import signal

import pandas as pd
import pytest
import torch

from delineate.checks import InputError
from delineate.data import read_manifest
from delineate.data.module import CaseDataModule
from delineate.models.checkpoint import build_model, load_model
from delineate.recipe_io import load_recipe, recipe_names
from delineate.record import read_record
from delineate.training.fit import Listener, train
from delineate.training.module import TrainingModule


@pytest.fixture
def go(tmp_path, small_settings, make_folder):
    """Train the small recipe with changes: (record, run folder)."""

    def run(*changes, root=None, name="run", **options):
        data = root or make_folder(tmp_path / f"{name}-data")
        recipe = load_recipe("demo", [*small_settings, *changes])
        return train(recipe, data, tmp_path / name, **options), tmp_path / name

    return run


def test_a_run_has_every_file_and_a_true_record(trained_run, small_recipe):
    run, root = trained_run
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert names == {
        "recipe.yaml",
        "record.json",
        "splits.json",
        "history.csv",
        "model.safetensors",
        "model.json",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
    }
    record = read_record(run / "record.json")
    assert load_recipe(run / "recipe.yaml") == small_recipe
    assert record.recipe_sha256 == small_recipe.sha256()
    assert record.cases == {"train": 10, "val": 3, "test": 3}
    assert record.data_root == str(root)
    assert (record.epochs, record.resumed, record.gate_overridden) == (3, 0, False)
    assert record.environment.packages["torch"] == torch.__version__.partition("+")[0]
    history = pd.read_csv(run / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3]
    assert {"seconds", "rate", "train_loss", "val_loss", "val_dice", "val_auc"} <= set(history)
    best = (history["val_dice"] + history["val_auc"]).idxmax() + 1
    assert record.selected_epoch == best


def test_checkpoints_hold_plain_data_only(trained_run):
    for name in ("last", "best"):
        content = torch.load(trained_run[0] / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert {"state_dict", "optimizer_states", "delineate"} <= set(content)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(go, disc_folder):
    states = [
        load_model(go(f"training.seed={seed}", "training.epochs=1", root=disc_folder, name=name)[1])[
            0
        ].state_dict()
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_early_stopping_and_last_selection(go):
    # A rate of almost nothing changes no score, so the second epoch is not better than the first.
    changes = ["optimiser.rate=1e-12", "training.patience=2", "training.epochs=9", "training.monitor=dice"]
    record, _ = go(*changes)
    assert (record.epochs, record.selected_epoch) == (3, 1)
    record, _ = go(*changes, "training.select=last", name="last")
    assert (record.epochs, record.selected_epoch) == (3, 3)


def test_without_a_validation_split(go, make_folder, tmp_path):
    root = make_folder(tmp_path / "data")
    text = (root / "split.csv").read_text()
    (root / "split.csv").write_text(text.replace(",val", ",train"))
    with pytest.raises(InputError, match="need a validation split, and the data set has none"):
        go("data.val_fraction=0", root=root)
    assert not (tmp_path / "run").exists()
    record, run = go("data.val_fraction=0", "training.select=last", root=root)
    assert record.cases == {"train": 13, "val": 0, "test": 3}
    assert "val_loss" not in pd.read_csv(run / "history.csv")
    record, run = go("data.val_fraction=0.3", root=root, name="carved")
    assert record.cases["val"] in (3, 4)
    assert record.cases["test"] == 3
    assert "training split" in read_manifest(run / "splits.json").protocol


@pytest.mark.parametrize(
    "change",
    [
        "training.sizes=[24, 40]",
        "training.precision=bf16-mixed",
        "training.channels_last=false",
        "data.cache=false",
        "data.workers=1",
        "optimiser.encoder_rate_factor=0.1",
        "training.deterministic=false",
    ],
)
def test_every_option_trains(go, change):
    record, run = go(change, "training.epochs=1")
    assert record.epochs == 1
    assert pd.read_csv(run / "history.csv")["train_loss"].notna().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do it")
def test_half_precision_is_not_replaced_silently(go):
    with pytest.raises(InputError, match="16-mixed needs a GPU; set it to bf16-mixed"):
        go("training.precision=16-mixed")


def test_batches_of_several_sizes(small_settings, make_folder, tmp_path):
    recipe = load_recipe("demo", [*small_settings, "training.sizes=[24, 40]"])
    module = TrainingModule(recipe, build_model(recipe))
    seen = {}
    for index in range(12):
        batch = next(iter(small_loader(recipe, make_folder, tmp_path)))
        resized = module._resize(module._prepare(batch), index)
        seen[index] = resized.image.shape[-1]
        assert resized.image.shape[-2:] == resized.mask.shape[-2:]
        assert set(resized.mask.unique().tolist()) <= {0, 1}
    assert set(seen.values()) == {24, 40}


def small_loader(recipe, make_folder, tmp_path):
    from delineate.data import index

    root = tmp_path / "loader"
    cases = index(root if root.exists() else make_folder(root))
    module = CaseDataModule(
        cases, size=(32, 32), batch_size=4, classes=recipe.task.classes, labels=recipe.task.labels
    )
    return module.loader("val")


def test_missing_references_train_the_other_task(go, make_folder, tmp_path):
    root = make_folder(tmp_path / "data")
    for name in ("case00", "case01", "case02"):
        (root / "masks" / f"{name}.png").unlink()
    lines = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text(
        "\n".join(line for line in lines if not line.startswith("case03")) + "\n"
    )
    record, _ = go("training.epochs=1", root=root)
    assert record.epochs == 1


def test_several_mask_classes(go, make_folder, tmp_path):
    root = make_folder(tmp_path / "data")
    (root / "classes.csv").write_text("value,name\n255,disc\n100,ring\n")
    changes = ["task.classes=[disc, ring]", "loss.mask=[{name: cross_entropy, weight: 1, options: {}}]"]
    _, run = go(*changes, "training.epochs=1", root=root)
    model, info = load_model(run)
    assert info.classes == ("disc", "ring")
    assert model(torch.zeros(1, 3, 32, 32)).mask.shape == (1, 3, 32, 32)


def test_the_gate_stops_and_can_be_overridden(go, make_folder, tmp_path):
    root = make_folder(tmp_path / "data")
    shutil.copy(root / "images" / "case00.png", root / "images" / "case15.png")  # train and test
    with pytest.raises(
        InputError, match=r"The data gate found 2 error\(s\)|The data gate found 1 error\(s\)"
    ):
        go("training.epochs=1", root=root)
    assert not (tmp_path / "run").exists()
    record, _ = go("training.epochs=1", root=root, ignore_gate=True)
    assert record.gate_overridden
    assert record.gate["error"] >= 1


def test_a_job_of_several_tasks_without_a_launcher_is_one_process(go, monkeypatch):
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_NTASKS": "8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_PROCID", "0")
    record, _ = go("training.epochs=1")
    assert " x " not in record.environment.device


def test_ctrl_c_ends_training_as_such_and_it_goes_on(go, disc_folder, tmp_path):
    def on_epoch(row):
        if row["epoch"] > 1:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        go(root=disc_folder, listener=Listener(on_epoch=on_epoch))
    assert signal.getsignal(signal.SIGINT) is before
    record, _ = go(root=disc_folder, resume=True)
    assert (record.epochs, record.resumed) == (3, 1)


def test_validation_in_pieces_is_validation_at_once(small_settings, make_folder, tmp_path):
    recipe = load_recipe("demo", small_settings)
    module = TrainingModule(recipe, build_model(recipe)).eval()
    image = torch.rand(7, 3, 32, 32)
    with torch.no_grad():
        whole, pieces = module.model(image), module._predict(image)  # of 4 and 3
    torch.testing.assert_close(pieces, whole)


def test_listeners_hear_of_gate_groups_and_epochs(go):
    heard = []
    listener = Listener(
        on_gate=lambda report: heard.append(("gate", report.ok)),
        on_groups=lambda groups: heard.append(("groups", [g["name"] for g in groups])),
        on_epoch=lambda row: heard.append(("epoch", row["epoch"])),
    )
    go("training.epochs=2", "optimiser.encoder_rate_factor=0.1", listener=listener)
    assert heard == [("gate", True), ("groups", ["encoder", "rest"]), ("epoch", 1), ("epoch", 2)]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_gives_its_optimiser_groups_that_are_not_empty(name):
    # Losses are checked in test_ablations.py; LossNet would want ImageNet weights here.
    plain = "loss.mask=[{name: bce, weight: 1, options: {}}]"
    recipe = load_recipe(name, ["model.pretrained=false", plain])
    with torch.device("meta"):
        module = TrainingModule(recipe, build_model(recipe))
    assert sum(group["weights"] for group in module.groups) > 1e6
