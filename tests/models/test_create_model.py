import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from delineate.checks import InputError
from delineate.models import MODELS, create_model, list_models
from delineate.models.baselines.smp import smp_encoder_name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "chnt"}, "Unknown model 'chnt'. Did you mean 'chnet'?"),
        ({"name": "smp:unett"}, "Unknown model 'smp:unett'. Did you mean 'smp:unet'?"),
        (
            {"name": "chnet", "options": {"head_kernal": 3}},
            "Unknown option 'head_kernal' of model 'chnet'. Did you mean 'head_kernel'?",
        ),
        ({"name": "smp:unet", "options": {"x": 3}}, "Unknown option 'x' of model 'smp:unet'. It has none."),
        (
            {"name": "chnet", "options": {"head_kernel": 2}},
            "Option 'head_kernel' of model 'chnet' must be one of 1, 3, got 2.",
        ),
        (
            {"name": "chnet", "options": {"head_kernel": True}},
            "Option 'head_kernel' of model 'chnet' must be one of 1, 3, got True.",
        ),
        (
            {"name": "chnet", "options": {"width": "64"}},
            "Option 'width' of model 'chnet' must be a positive whole number, got '64'.",
        ),
        (
            {"name": "chnet", "options": {"width": 0}},
            "Option 'width' of model 'chnet' must be a positive whole number, got 0.",
        ),
        (
            {"name": "clnet", "options": {"widths": [8, -1]}},
            "Option 'widths' of model 'clnet' must be a list of positive whole numbers, got [8, -1].",
        ),
        (
            {"name": "clnet", "options": {"mask_pretrained": 1}},
            "Option 'mask_pretrained' of model 'clnet' must be true or false or a text, got 1.",
        ),
        (
            {"name": "chnet", "labels": 2},
            "Model 'chnet' has no class branch, so labels must be 0, got 2; "
            "use chnet+hlf, clnet, fcp-net or any smp: model to classify too.",
        ),
        ({"name": "chnet", "classes": 0}, "Model 'chnet' needs at least one mask channel, got classes=0."),
        ({"name": "clnet", "labels": -1}, "Model 'clnet' needs labels of at least 0, got labels=-1."),
        (
            {"name": "smp:unet", "encoder": "resent34"},
            "Unknown encoder 'resent34': neither smp nor timm has it. Did you mean 'resnet34'?",
        ),
        (
            {"name": "chnet", "encoder": "res2net50dd"},
            "Unknown encoder 'res2net50dd': timm has no such network. Did you mean 'res2net50d'?",
        ),
    ],
)
def test_wrong_calls_are_one_sentence(arguments, message):
    with pytest.raises(InputError) as error:
        create_model(**arguments)
    assert str(error.value) == message


def test_table_holds_all_of_smp():
    assert list_models() == list(MODELS)
    assert {name for name in MODELS if name.startswith("smp:")} == {
        f"smp:{name}" for name in smp.MODEL_ARCHITECTURES_MAPPING
    }


def test_smp_output_is_the_librarys_own():
    torch.manual_seed(0)
    ours = create_model("smp:unet", encoder="resnet18", classes=3).eval()
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=3).eval()
    theirs.load_state_dict(ours.network.state_dict())
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(ours(image).mask, theirs(image))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet34", "resnet34"),
        ("timm:resnet34", "tu-resnet34"),
        ("res2net50d", "tu-res2net50d"),
        ("tu-res2net50d", "tu-res2net50d"),
        ("mit_b0", "mit_b0"),
    ],
)
def test_encoder_names(name, expected):
    assert smp_encoder_name(name) == expected


@pytest.mark.parametrize("encoder", ["resnet18", "timm:resnet18"])
def test_smp_encoder_takes_local_weights(encoder, tmp_path):
    weights = timm.create_model("resnet18").state_dict()  # the library's own resnet18 has the same names
    save_file(weights, tmp_path / "w.safetensors")
    model = create_model("smp:unet", encoder=encoder, pretrained=str(tmp_path / "w.safetensors"))
    loaded = model.network.encoder.state_dict()
    for key, value in loaded.items():
        assert torch.equal(value, weights[key.removeprefix("model.")]), key


@pytest.mark.parametrize("encoder", ["resnet34", "timm:resnet34"])
def test_smp_refuses_weights_of_another_network(encoder, tmp_path):
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(
        InputError, match=r"does not fit .*resnet34: it lacks layer1.2.bn1.bias, .* and \d+ more"
    ):
        create_model("smp:unet", encoder=encoder, pretrained=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("encoder", ["resnet18", "timm:resnet18"])
def test_smp_without_a_hub_says_both_ways_out(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match="Cannot download the weights of 'resnet18'.*'pretrained: false' for random"
    ):
        create_model("smp:unet", encoder=encoder, pretrained=True)


def test_encoder_that_the_architecture_cannot_use():
    with pytest.raises(
        InputError, match="smp:dpt cannot be built with encoder 'resnet18' and these options: "
    ):
        create_model("smp:dpt", encoder="resnet18")
