"""Evaluation: native size, missing references, other data, and data that was trained on."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from delineate.checks import InputError
from delineate.data import read_mask
from delineate.data.case import MaskEncoding
from delineate.inference.evaluate import evaluate
from delineate.inference.predictor import Predictor
from delineate.metrics import score_image


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy that may be written to."""
    shutil.copytree(trained_run[0], tmp_path / "run")
    return tmp_path / "run"


def test_scores_are_those_of_the_predictor_at_native_size(run, trained_run):
    result = evaluate(run, split="test")
    predictor = Predictor.load(run)
    assert list(result.table["image_id"]) == [case.id for case in result.cases]
    for case, row in zip(result.cases, result.table.to_dict("records"), strict=True):
        found = predictor(case.image)
        reference = read_mask(case.mask, MaskEncoding())
        assert reference.shape == (40, 48)  # the network sees 32 x 32
        expected = score_image(reference, found.probability, classes=("lesion",))
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, abs=1e-4), name
        assert row["label_probability[bad]"] == pytest.approx(found.label["bad"], abs=1e-5)
        assert row["label"] == int(case.id[-2:]) % 2


def test_processes_give_the_same_scores(run):
    alone = evaluate(run, split="train", workers=0).table
    together = evaluate(run, split="train", workers=2).table
    pd.testing.assert_frame_equal(alone, together, rtol=1e-5)


def test_other_data_may_lack_masks_and_labels(run, make_folder, tmp_path):
    root = make_folder(tmp_path / "clinic", count=8, seed=5)
    (root / "masks" / "case00.png").unlink()
    text = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join(line for line in text if not line.startswith("case01")) + "\n")
    (root / "split.csv").unlink()
    with pytest.raises(InputError, match="no case in the split 'test'; it has: none, use all"):
        evaluate(run, root=root, split="test")
    result = evaluate(run, root=root, split="all")
    assert result.split == "clinic/all"
    assert np.isnan(result.table.set_index("image_id").loc["case00", "dice"])
    assert result.table.set_index("image_id").loc["case01", "label"] == -1
    assert result.summary["dice"]["n"] == 7
    assert result.summary["auc"]["n"] == 7
    assert result.summary["missing_labels"]["mean"] == 1
    summary = json.loads((run / "summary.json").read_text())
    assert "NaN" not in (run / "summary.json").read_text()
    assert set(summary) == {"clinic/all"}


def test_images_that_were_trained_on_are_refused(run, trained_run, make_folder, tmp_path):
    root = make_folder(tmp_path / "clinic", count=8, seed=5)
    shutil.copy(trained_run[1] / "images" / "case02.png", root / "images" / "case99.png")
    with pytest.raises(
        InputError, match=r"1 image\(s\) of .*clinic were used to train this run, for example 'case99'"
    ):
        evaluate(run, root=root, split="all")


def test_changed_data_is_refused(run, trained_run, tmp_path):
    root = tmp_path / "moved"
    shutil.copytree(trained_run[1], root)
    assert evaluate(run, root=root, split="val").split == "val"
    Image.new("L", (48, 40)).save(root / "masks" / "case15.png")
    with pytest.raises(
        InputError, match="case15.png is not the file that the split manifest was written for"
    ):
        evaluate(run, root=root, split="test")


def test_wrong_calls(run, trained_run, tmp_path):
    with pytest.raises(InputError, match="must be train, val, test or all, got 'tset'"):
        evaluate(run, split="tset")
    with pytest.raises(InputError, match="is missing; give its present place with --data"):
        evaluate(run, root=tmp_path / "nowhere")
