"""The real server on the loopback: what only shows on a connection."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request

import pytest
from typer.testing import CliRunner
from web_service import Bright, disc, encoded, listening

from delineate.checks import InputError
from delineate.inference.predictor import Predictor
from delineate.web.server import serve
from delineate.web.settings import Settings

BOUNDARY = b"frontier"


def form(content):
    head = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    return b"--" + BOUNDARY + b"\r\n" + head + content + b"\r\n--" + BOUNDARY + b"--\r\n"


def head(length=None, path="/api/v1/predict", more=""):
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{size}\r\n{more}"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    ).encode()


def chunk(content):
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def ask(port, *parts, pause=0.0, timeout=5.0):
    """Send raw bytes, then read until the server closes the connection or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        return read(connection)


def read(connection):
    """(status, JSON) of the next answer."""
    found = b""
    while b"\r\n\r\n" not in found and (more := connection.recv(65536)):
        found += more
    start, _, body = found.partition(b"\r\n\r\n")
    lines = start.decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return int(lines[0].split()[1]), json.loads(body)


def test_bodies_of_unknown_length():
    body = form(encoded(disc()))
    with listening(max_upload_bytes=100_000) as (port, service):
        status, answer = ask(
            port, head(), *(chunk(body[i : i + 50]) for i in range(0, len(body), 50)), b"0\r\n\r\n"
        )
        assert (status, answer["label"]["good"] > 0.5) == (200, True)
        status, answer = ask(port, head(), *[chunk(bytes(60_000))] * 3)
        assert (status, answer["code"]) == (400, "bad_multipart")
        start = form(b"")[:80]
        status, answer = ask(port, head(), chunk(start), *[chunk(bytes(60_000))] * 3)
        assert (status, answer["code"]) == (413, "too_large")
        assert service.in_work == 0


def test_slow_heads_and_slow_bodies_are_given_up():
    with listening(header_timeout=0.2, timeout=0.3) as (port, _):
        assert ask(port, b"GET /health HT") == (
            408,
            {"error": "The head of the request did not arrive in time.", "code": "slow_head"},
        )
        assert ask(port)[1]["code"] == "slow_head"
        status, answer = ask(port, head(5000), b"--")
        assert (status, answer["code"]) == (408, "slow_upload")
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            for _ in range(2):  # a kept connection gets the time for its head anew
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read(connection)[0] == 200
                time.sleep(0.12)
            connection.sendall(b"GET /hea")
            assert read(connection)[1]["code"] == "slow_head"


def test_what_is_no_http_is_told_so_in_json():
    with listening() as (port, _):
        for junk in (
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ):
            status, answer = ask(port, junk)
            assert (status, answer["code"]) == (400, "bad_request")
        status, answer = ask(port, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
        assert (status, answer["code"]) == (400, "bad_request")
        assert ask(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200


def test_connections_are_counted():
    with listening(connections=2) as (port, _):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        time.sleep(0.05)
        assert ask(port) == (503, {"error": "There are too many connections.", "code": "busy"})
        for connection in held:
            connection.close()
        time.sleep(0.05)
        assert ask(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200


def test_images_of_clients_that_went_away_are_dropped():
    backend = Bright(seconds=0.2)
    body = form(encoded(disc()))
    with listening(Predictor(backend, uncertainty=True), max_batch=1) as (port, service):
        passes = len(backend.sizes)
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        for connection in connections:
            connection.sendall(head(len(body)) + body)
            time.sleep(0.02)
        for connection in connections[1:]:
            connection.close()
        assert read(connections[0])[0] == 200
        connections[0].close()
        deadline = time.monotonic() + 5
        while service.in_work and time.monotonic() < deadline:
            time.sleep(0.01)
        assert service.in_work == 0
        assert len(backend.sizes) - passes <= 2  # one answered, at most one that was already running
        assert [p.name for p in service.folder.path.iterdir()] == [".claimed"]


def test_requests_that_come_together_share_a_batch():
    backend = Bright(seconds=0.05)
    body = form(encoded(disc()))
    with listening(Predictor(backend, uncertainty=True), max_wait=0.2) as (port, _):
        threads = [
            threading.Thread(target=ask, args=(port, head(len(body), more="Connection: close\r\n") + body))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(backend.sizes) == 9  # with the one that warmed it up
    assert max(backend.sizes) >= 3


SCRIPT = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from web_service import Bright
    from delineate.inference.predictor import Predictor
    from delineate.web.app import create_app
    from delineate.web.server import serve
    from delineate.web.settings import Settings
    settings = Settings(port=0)
    app = create_app([(Predictor(Bright(seconds=0.8)), Path("bright"))], settings)
    serve(app, settings, on_start=lambda address: print(address, flush=True))
"""


def test_sigterm_finishes_what_is_in_work(tmp_path):
    script = textwrap.dedent(SCRIPT).format(tests=os.path.dirname(__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        address = process.stdout.readline().strip()
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}ready", timeout=5)
                break
            except OSError:
                time.sleep(0.05)
        body = form(encoded(disc()))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head(len(body)) + body)
            time.sleep(0.3)
            assert any(tmp_path.glob("delineate-serve-*/*/upload.png"))
            process.send_signal(signal.SIGTERM)
            status, answer = read(connection)
        assert (status, answer["model"]) == (200, "bright")
        assert process.wait(60) == 0
        assert not any(tmp_path.iterdir())
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    finally:
        process.kill()
        process.wait()


def test_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"Cannot listen on 127\.0\.0\.1, port {port} \(Address already in use"
        ):
            serve(None, Settings(port=port))


@pytest.fixture
def command(monkeypatch):
    """Run the command without starting a server; gives the result and what would have been served."""
    import typer

    from delineate.cli.serve import serve as serve_command

    served = []
    monkeypatch.setattr(
        "delineate.web.server.serve", lambda app, settings, **_: served.append((app, settings))
    )
    app = typer.Typer()
    app.command()(serve_command)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments]), served

    return run


def test_the_command_passes_everything_on(command, tmp_path, network):
    run = tmp_path / "mine"
    write_run(run, network)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    result, served = command(
        run, f"{run},{run}", "--port", 9, "--token-file", token, "--max-upload-mb", 2, "--max-wait-ms", 5,
        "--allow-host", "skin.example", "--no-page", "--queue", 3, "--host", "0.0.0.0", "--tta", "flips",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    ((app, settings),) = served
    first, second = app.state.service.models
    assert [first.name, second.name] == ["mine", "mine-2"]
    assert (len(first.predictor.members), len(second.predictor.members)) == (1, 2)
    assert second.identity.endswith(" torch tta=flips")
    assert first.predictor.uncertainty
    assert settings == Settings(
        host="0.0.0.0", port=9, token="0123456789abcdef", max_upload_bytes=2**21, max_wait=0.005,
        allowed_hosts=("skin.example",), page=False, queue=3, store=str(run / "corrections.db"),
    )  # fmt: skip
    assert "/api/v1/corrections" in app.openapi()["paths"]
    assert (run / "corrections.db").is_file()
    for model in app.state.service.models:
        model.batcher.close()
    result, served = command(run, "--store", "none")
    assert served[-1][1].store is None
    assert "/api/v1/corrections" not in served[-1][0].openapi()["paths"]
    served[-1][0].state.service.models[0].batcher.close()


def test_the_command_refuses_wrong_calls(command, tmp_path):
    result, _ = command(tmp_path / "nothing")
    assert "is missing" in str(result.exception)
    assert isinstance(result.exception, InputError)
    result, _ = command(tmp_path, "--token-file", tmp_path / "none")
    assert "none cannot be read as a token" in str(result.exception)
    (tmp_path / "two").write_text("a b")
    result, served = command(tmp_path, "--token-file", tmp_path / "two")
    assert "two holds no token; write one word into it" in str(result.exception)
    assert not served


def write_run(folder, predictor):
    from safetensors.torch import save_file

    from delineate.files import sha256_of

    folder.mkdir()
    state = {name: value.contiguous() for name, value in predictor.model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    info = predictor.info.model_copy(update={"weights_sha256": sha256_of(folder / "model.safetensors")})
    (folder / "model.json").write_text(info.model_dump_json())


def test_a_client_that_leaves_in_the_middle_of_an_upload_is_no_fault(caplog):
    with listening() as (port, service):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(head(100_000) + form(encoded(disc()))[:200])
            time.sleep(0.1)
        gone = service.metrics.rejected.labels("client_gone")
        deadline = time.monotonic() + 5
        while not gone._value.get() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone._value.get() == 1
        assert service.metrics.rejected.labels("internal")._value.get() == 0
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
