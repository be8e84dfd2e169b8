"""Several members as one predictor: what they must share, and what becomes of their answers."""

import json
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from delineate.checks import InputError
from delineate.inference import predictor as module
from delineate.inference.backends import TorchBackend
from delineate.inference.predictor import Predictor
from delineate.models.checkpoint import ModelInfo, build_model, save_model


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small_recipe):
    """Three runs that differ in their weights; nobody trained them."""
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        run = tmp_path_factory.mktemp("runs") / f"seed{seed}"
        run.mkdir()
        save_model(run, build_model(small_recipe), small_recipe)
        made.append(run)
    return made


@pytest.fixture(scope="module")
def members(runs):
    """Their networks."""
    return Predictor.load(runs, "cpu").members


def test_loading_several_runs_opens_each(runs, members):
    assert len(members) == 3
    for run, member in zip(runs, members, strict=True):
        assert member.info == ModelInfo.model_validate_json((run / "model.json").read_text())


def test_an_ensemble_averages_probabilities(members, toys):
    images = [toys.picture(40, 48, seed) for seed in range(3)]
    alone = [list(Predictor(member).predict(images)) for member in members]
    together = list(Predictor(members, uncertainty=True).predict(images))
    for i, found in enumerate(together):
        parts = [predictions[i] for predictions in alone]
        np.testing.assert_allclose(found.probability, np.mean([p.probability for p in parts], 0), atol=1e-6)
        np.testing.assert_array_equal(found.mask, found.probability > 0.5)
        for name, value in found.label.items():
            assert value == pytest.approx(np.mean([p.label[name] for p in parts]), abs=1e-6)
        variance = np.var([p.probability for p in parts], 0)
        np.testing.assert_allclose(found.uncertainty.variance, variance, atol=1e-6)
    assert together[0].uncertainty.variance.max() > 0


def test_the_same_member_thrice_is_the_member(members, toys):
    image = toys.picture(40, 48)
    once, thrice = Predictor(members[0])(image), Predictor([members[0]] * 3)(image)
    assert once.probability.tobytes() == thrice.probability.tobytes()
    assert once.label == thrice.label


def test_the_same_input_gives_the_same_bytes(members, toys):
    predictor = Predictor(members, tta="flips", uncertainty=True)
    one, two = (predictor(toys.picture(40, 48)) for _ in range(2))
    assert one.probability.tobytes() == two.probability.tobytes()
    assert one.uncertainty.variance.tobytes() == two.uncertainty.variance.tobytes()
    assert one.uncertainty.look == two.uncertainty.look


def test_each_member_gets_its_own_size(toys):
    small, large = toys.Toy(toys.info(size=(16, 16))), toys.Toy(toys.info(size=(24, 40)))
    found = Predictor([small, large])(toys.picture())
    assert small.sees[0].shape == (1, 16, 16, 3)
    assert large.sees[0].shape == (1, 24, 40, 3)
    assert found.probability.shape == (23, 31)


def test_files_are_decoded_for_the_largest_member(toys, tmp_path):
    from PIL import Image

    Image.fromarray(toys.picture(400, 600)).save(tmp_path / "photo.jpg")
    members = [toys.Toy(toys.info(size=size)) for size in ((16, 40), (32, 16))]
    assert Predictor(members[:1]).open(tmp_path / "photo.jpg").pixels.shape == (100, 150, 3)
    assert Predictor(members).open(tmp_path / "photo.jpg").pixels.shape == (100, 150, 3)
    large = toys.Toy(toys.info(size=(90, 90)))
    assert Predictor([*members, large]).open(tmp_path / "photo.jpg").pixels.shape == (200, 300, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("polyp",)}, "agree on classes, but toy has lesion and other has polyp"),
        ({"labels": ()}, "agree on labels, but toy has good, bad and other has none"),
        ({"threshold": 0.4}, r"agree on threshold, but toy has 0.5 and other has 0.4"),
        ({"window": (0, 80)}, "agree on window, but toy has None and other has 0.0, 80.0"),
    ],
)
def test_members_must_mean_the_same(toys, change, message):
    with pytest.raises(InputError, match=message):
        Predictor([toys.Toy(toys.info()), toys.Toy(toys.info(recipe="other", **change))])


def test_no_member_is_refused():
    with pytest.raises(InputError, match="at least one member"):
        Predictor.load([])


def test_identity_names_weights_backend_and_views(runs, members):
    hashes = [json.loads((run / "model.json").read_text())["weights_sha256"][:12] for run in runs]
    assert Predictor(members[0]).identity == f"demo@{hashes[0]} torch"
    together = Predictor(members[:2], tta="flips")
    assert together.identity == f"demo@{hashes[0]}+demo@{hashes[1]} torch tta=flips"


def test_an_ensemble_has_no_logits(members, toys):
    for predictor in (Predictor(members), Predictor(members[0], tta="mirror")):
        with pytest.raises(InputError, match="no common logits, only probabilities"):
            predictor.forward([toys.picture()])


def test_a_large_batch_is_averaged_in_parts(toys, monkeypatch):
    images = [toys.picture(20 + i, 30, i) for i in range(5)]
    toy = toys.Toy(toys.info())
    whole = list(Predictor([toy, toy]).predict(images))
    assert [len(seen) for seen in toy.sees] == [5, 5]
    toy.sees.clear()
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 1300)
    parts = list(Predictor([toy, toy]).predict(images))
    assert [len(seen) for seen in toy.sees] == [2, 2, 1, 1, 1, 1, 1, 1]
    for one, two in zip(whole, parts, strict=True):
        assert one.probability.tobytes() == two.probability.tobytes()


def test_predictions_come_lazily_and_in_order(toys):
    opened = []

    def images():
        for seed in range(6):
            opened.append(seed)
            yield toys.picture(10 + seed, 9, seed)

    predictions = Predictor([toys.Toy(toys.info())] * 2).predict(images(), batch_size=2)
    assert next(predictions).mask.shape == (10, 9)
    assert opened == [0, 1]
    assert [p.mask.shape[0] for p in predictions] == [11, 12, 13, 14, 15]


def test_several_threads_may_share_a_predictor(members, toys):
    predictor = Predictor(members[:2], uncertainty=True)
    images = [toys.picture(40, 48, seed) for seed in range(4)]
    expected = [predictor(image) for image in images]
    found = {}

    def work(i):
        found[i] = [predictor(images[i]), predictor(images[i]).explain("gradcam")]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, one in enumerate(expected):
        assert found[i][0].probability.tobytes() == one.probability.tobytes()
        np.testing.assert_array_equal(found[i][1], one.explain("gradcam"))


def test_explain_asks_the_first_torch_member(members, toys):
    image = toys.picture(40, 48)
    toy = toys.Toy(members[0].info)
    mixed = Predictor([toy, *members[:2]])
    assert mixed.backend is toy
    assert isinstance(mixed.torch, TorchBackend)
    alone = Predictor(members[0])
    for index in (0, 1):
        expected = alone.explain(image, index=index)
        np.testing.assert_array_equal(mixed(image).explain(index=index), expected)
    found = mixed.info.labels.index(mixed(image).chosen_label)  # by all members together
    np.testing.assert_array_equal(mixed(image).explain(), alone.explain(image, index=found))
    with pytest.raises(InputError, match="but toy runs it; load the run itself"):
        Predictor(toy)(image).explain()


def test_what_cannot_be_loaded(runs, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    (study / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="is a study, not a run; name one run or several of"):
        Predictor.load(study)
    with pytest.raises(
        InputError, match=r"make it with: delineate export \S+ --to openvino --precision int8$"
    ):
        Predictor.load(runs[0], backend="openvino", precision="int8")
    with pytest.raises(
        InputError, match=r"has no onnx-fp32 export; make it with: delineate export \S+ --to onnx$"
    ):
        Predictor.load(runs[0], backend="onnx")
    with pytest.raises(InputError, match="PyTorch predicts in fp32, not bf16"):
        Predictor.load(runs[0], precision="bf16")


def test_exported_folders_are_members(runs, members, toys, tmp_path, monkeypatch):
    from delineate.inference.backends import exported

    toy = toys.Toy(members[0].info)
    toy.name = "onnx-fp32"
    toy.export = SimpleNamespace(name=toy.name)
    opened = []
    monkeypatch.setattr(exported, "open_exported", lambda folder: (opened.append(folder), toy)[1])
    run = tmp_path / "run"
    shutil.copytree(runs[0], run)
    folder = run / "exports" / "onnx-fp32"
    folder.mkdir(parents=True)
    (folder / "export.json").write_text("{}")
    for source, options in ((run, {"backend": "onnx"}), (folder, {}), (folder, {"backend": "onnx"})):
        assert Predictor.load(source, **options).backend is toy
    assert opened == [folder] * 3
    mixed = Predictor.load([run, folder], "cpu")
    assert [member.name for member in mixed.members] == ["torch", "onnx-fp32"]
    assert mixed.identity.endswith(" torch+onnx-fp32")
    with pytest.raises(InputError, match="holds onnx-fp32, not openvino-fp32; leave the backend out"):
        Predictor.load(folder, backend="openvino")
    with pytest.raises(InputError, match="An exported file runs on the CPU, not on 'cuda'"):
        Predictor.load(folder, "cuda")
