import json
import re

import pytest
import yaml

from delineate.checks import InputError
from delineate.files import write_json
from delineate.models.catalogue import MODELS
from delineate.models.checkpoint import ModelInfo
from delineate.recipe_io import dump_recipe, load_recipe
from delineate.record import EvaluationRecord, RunRecord, describe_environment, write_record
from delineate.study.model_card import write_model_card

WEIGHTS = "ab12" * 16
SUMMARY = {
    "dice": {"mean": 0.81234567, "low": 0.78, "high": 0.843219, "n": 37},
    "hd95": {"mean": 12.3456, "low": None, "high": None, "n": 37},
    "auc": {"mean": 0.9, "low": 0.7, "high": 0.99, "n": 37},
    "empty_references": {"mean": 2.0, "low": None, "high": None, "n": 37},
}


def write_run(folder, *, splits=("test",), overrides=(), weights=WEIGHTS, **changes):
    recipe = load_recipe("clnet.isic2017-melanoma.paper", overrides)
    environment = describe_environment("cpu")
    evaluation = EvaluationRecord(
        finished="2031-05-06T07:08:09+00:00",
        wall_seconds=11.5,
        data_fingerprint="cd34" * 16,
        cases=37,
        weights_sha256=weights,
        environment=environment,
    )
    fields = {
        "recipe": recipe.name,
        "recipe_sha256": recipe.sha256(),
        "data_root": "/somewhere/skin",
        "dataset": "isic2017",
        "protocol": "isic2017.official",
        "data_fingerprint": "ef56" * 16,
        "cases": {"train": 1999, "val": 148, "test": 37},
        "seed": recipe.training.seed,
        "started": "2031-05-05T07:08:09+00:00",
        "finished": "2031-05-06T01:02:03+00:00",
        "wall_seconds": 4321.1,
        "epochs": 61,
        "selected_epoch": 53,
        "resumed": 3,
        "gate": {"error": 0, "warning": 4, "info": 6},
        "gate_overridden": False,
        "environment": environment,
        "evaluations": dict.fromkeys(splits, evaluation),
    }
    folder.mkdir()
    record = RunRecord(**(fields | changes))
    info = ModelInfo(
        model="clnet",
        encoder="resnet50",
        options={},
        classes=("lesion",),
        labels=tuple(recipe.task.labels),
        size=(224, 208),
        normalisation="imagenet",
        threshold=0.37,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256(),
        weights_sha256=WEIGHTS,
        delineate="0",
    )
    write_record(folder / "record.json", record)
    (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    (folder / "model.json").write_text(info.model_dump_json(), encoding="utf-8")
    write_json(folder / "summary.json", dict.fromkeys(splits, SUMMARY))
    return folder


def leaves(content):
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    else:
        yield content


def test_every_number_of_the_card_is_in_the_files_of_the_run(tmp_path):
    run = write_run(tmp_path / "run")
    text = write_model_card(run).read_text(encoding="utf-8")

    files = [json.loads((run / name).read_text()) for name in ("record.json", "model.json", "summary.json")]
    found = list(leaves([*files, yaml.safe_load((run / "recipe.yaml").read_text())]))
    words = " ".join([*(str(one) for one in found if isinstance(one, str)), MODELS["clnet"].paper])
    numbers = [one for one in found if isinstance(one, int | float) and not isinstance(one, bool)]
    known = {format(one, form) for one in numbers for form in (".4g", "g", "")} | {str(n) for n in numbers}
    for sign in text.replace("95 % interval", "").split():
        for token in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", sign):
            assert token in known or token in words, f"{token} in {sign!r} is none of the run's numbers"
    for shown in ("0.8123", "0.78 to 0.8432", "12.35", "1999", "0.37", WEIGHTS, "isic2017.official", "53"):
        assert shown in text


def test_the_check_of_numbers_can_fail(tmp_path):
    """A card that rounds otherwise, or counts by itself, would be found."""
    run = write_run(tmp_path / "run")
    text = write_model_card(run).read_text(encoding="utf-8")
    assert "0.812 " not in text
    assert str(1999 + 148 + 37) not in text


def test_accepted_errors_and_what_follows_are_named(tmp_path):
    run = write_run(
        tmp_path / "run",
        gate={"error": 2, "warning": 0, "info": 0},
        gate_overridden=True,
        gate_accepted=("duplicate-in-two-splits",),
    )
    text = write_model_card(run).read_text(encoding="utf-8")
    assert "**Trained in spite of errors in the data:** duplicate-in-two-splits." in text
    assert "cases of the test split may be known from training" in text


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (("test",), "Never used for training or for selecting the epoch."),
        (("val",), "No test split was scored here"),
        (("val", "test"), "The epoch was selected on these cases"),
        (("elsewhere/all",), "none of its images was trained on"),
    ],
)
def test_each_split_says_what_its_scores_are_worth(tmp_path, splits, said):
    text = write_model_card(write_run(tmp_path / "run", splits=splits)).read_text(encoding="utf-8")
    assert said in text
    foreign = any("/" in split for split in splits)
    assert ("how it does on another one is not measured" in text) != foreign
    if len(splits) > 1:
        assert text.index("Test split") < text.index("Validation split")


def test_limits_follow_from_the_recipe_and_the_weights(tmp_path):
    text = write_model_card(write_run(tmp_path / "a", weights="77" * 32)).read_text(encoding="utf-8")
    assert f"of other weights ({'77' * 32})" in text
    assert "started from random" not in text
    run = write_run(tmp_path / "b", overrides=["model.pretrained=false"])
    assert "trained from random numbers" in write_model_card(run).read_text(encoding="utf-8")


def test_a_run_without_scores_or_with_damaged_ones_is_one_sentence(tmp_path):
    run = write_run(tmp_path / "a", evaluations={})
    with pytest.raises(InputError, match="has no scores; run `delineate evaluate"):
        write_model_card(run)
    run = write_run(tmp_path / "b")
    (run / "summary.json").write_text('{"test": {"dice": 1}}')
    with pytest.raises(InputError, match="damaged; run `delineate evaluate"):
        write_model_card(run)
    (run / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json is missing"):
        write_model_card(run)
    assert not (run / "model_card.md").exists()
