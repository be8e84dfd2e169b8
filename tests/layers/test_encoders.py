import http.server
import threading
import time

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder, timm_name

WAYS_OUT = (
    r"give 'pretrained: path/to/file.safetensors' for a local file, or 'pretrained: false' for random weights"
)


@pytest.fixture(scope="module")
def full_weights():
    torch.manual_seed(3)
    return timm.create_model("resnet18").state_dict()


def saved(weights, path):
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("name", ["resnet10t", "timm:resnet10t"])
def test_levels_channels_and_strides(name):
    encoder = create_encoder(name, levels=(0, 1, 3))
    assert (encoder.channels, encoder.strides, encoder.minimum_size) == ((64, 64, 256), (2, 4, 16), 32)
    shapes = [tuple(m.shape) for m in encoder(torch.rand(1, 3, 64, 96))]
    assert shapes == [(1, 64, 32, 48), (1, 64, 16, 24), (1, 256, 4, 6)]
    assert not any("layer4" in key for key in encoder.state_dict())  # the unused last stage is left out


def test_channels_last_networks_give_channels_first():
    encoder = create_encoder("swin_s3_tiny_224", levels=(0, 1)).eval()
    maps = encoder(torch.rand(1, 3, 224, 224))
    assert [m.shape[1] for m in maps] == list(encoder.channels)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt50", "Unknown encoder 'resnt50': timm has no such network. Did you mean 'resnet50'?"),
        ("resnet50d.a1_in1", "Unknown weights 'a1_in1' of encoder 'resnet50d'. Did you mean 'a1_in1k'?"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(InputError) as error:
        create_encoder(name, levels=(0,))
    assert str(error.value) == message


def test_missing_levels():
    with pytest.raises(
        InputError, match="Encoder 'resnet18' has 5 feature levels, but levels .0, 9. were asked"
    ):
        create_encoder("resnet18", levels=(0, 9))
    assert timm_name("timm:resnet50.a1_in1k") == "resnet50.a1_in1k"


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("classifier", [True, False])
def test_local_weights_fill_the_encoder(full_weights, tmp_path, ending, classifier):
    weights = {k: v for k, v in full_weights.items() if classifier or not k.startswith("fc.")}
    path = saved(weights, tmp_path / f"weights{ending}")
    encoder = create_encoder("resnet18", levels=(0, 1, 2, 3), pretrained=str(path))
    for key, value in encoder.network.state_dict().items():
        assert torch.equal(value, full_weights[key]), key


def test_another_number_of_classes_is_no_obstacle(tmp_path):
    weights = timm.create_model("resnet10t", num_classes=7).state_dict()
    path = saved(weights, tmp_path / "w.safetensors")
    encoder = create_encoder("resnet10t", levels=(0,), pretrained=str(path))
    assert torch.equal(encoder.network.state_dict()["conv1.0.weight"], weights["conv1.0.weight"])


def test_flattened_stages_are_filled_too(tmp_path):
    weights = timm.create_model("efficientnet_lite0").state_dict()
    path = saved(weights, tmp_path / "w.safetensors")
    encoder = create_encoder("efficientnet_lite0", levels=(0, 1), pretrained=str(path))
    assert torch.equal(encoder.network.conv_stem.weight, weights["conv_stem.weight"])


def test_weights_of_another_network(full_weights, tmp_path):
    path = saved(full_weights, tmp_path / "resnet18.safetensors")
    with pytest.raises(InputError) as error:
        create_encoder("resnet50", levels=(0,), pretrained=str(path))
    assert str(error.value).startswith(f"Weights file {path} does not fit resnet50: it lacks layer1.0.bn3.")
    assert "more; give weights of resnet50." in str(error.value)


def test_extra_names_and_other_shapes_are_refused(full_weights, tmp_path):
    path = saved({**full_weights, "surprise": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="does not fit resnet18: it holds the unknown surprise"):
        create_encoder("resnet18", levels=(0,), pretrained=str(path))
    path = saved({**full_weights, "conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match=r"conv1.weight has shape \[64, 1, 7, 7\], not \[64, 3, 7, 7\]"):
        create_encoder("resnet18", levels=(0,), pretrained=str(path))


class Payload:
    def __reduce__(self):
        return print, ("a weights file ran code",)


def test_nothing_is_unpickled_and_broken_files_are_named(tmp_path, capsys):
    torch.save({"weight": Payload()}, tmp_path / "evil.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "weights.h5").write_bytes(b"")
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    expected = {
        "evil.pth": "it is damaged or holds more than plain tensors",
        "broken.safetensors": "it is damaged or holds more than plain tensors",
        "weights.h5": "must end in .safetensors, .pth, .pt or .bin, not '.h5'",
        "missing.pth": "There is no weights file",
        "list.pt": "must hold a state dict",
    }
    for name, message in expected.items():
        with pytest.raises(InputError) as error:
            create_encoder("resnet18", levels=(0,), pretrained=str(tmp_path / name))
        assert message in str(error.value)
        assert str(tmp_path / name) in str(error.value)
    assert capsys.readouterr().out == ""


def test_network_without_published_weights():
    with pytest.raises(InputError, match=f"Encoder 'regnety_040_sgn' has no published weights; {WAYS_OUT}."):
        create_encoder("regnety_040_sgn", levels=(0,), pretrained=True)


@pytest.mark.parametrize("offline", [True, False])
def test_unreachable_hub_fails_fast_with_both_ways_out(offline, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port refuses
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    start = time.monotonic()
    with pytest.raises(InputError, match=rf"Cannot download the weights of 'resnet10t'.*; {WAYS_OUT}\.$"):
        create_encoder("resnet10t", levels=(0,), pretrained=True)
    assert time.monotonic() - start < 10
    assert offline == constants.HF_HUB_OFFLINE


def test_weights_come_from_the_hub(monkeypatch, tmp_path):
    weights = timm.create_model("resnet10t").state_dict()
    body = saved(weights, tmp_path / "model.safetensors").read_bytes()

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            wanted = self.path.endswith("/resolve/main/model.safetensors")
            self.send_response(200 if wanted else 404)
            self.send_header("Content-Length", str(len(body) if wanted else 0))
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            return wanted

        def do_GET(self):
            if self.do_HEAD():
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("timm.models._hub.hf_hub_download", _into(tmp_path / "cache"))
        encoder = create_encoder("resnet10t", levels=(0, 1), pretrained=True)
        server.shutdown()
    assert torch.equal(encoder.network.state_dict()["conv1.0.weight"], weights["conv1.0.weight"])


def _into(cache):
    from huggingface_hub import hf_hub_download

    return lambda *args, **kwargs: hf_hub_download(*args, **{**kwargs, "cache_dir": cache})
