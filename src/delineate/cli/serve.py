"""The command that serves models over HTTP."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError, require
from delineate.cli.common import Device


def serve(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Folders of finished runs, one model each; folders joined by commas: an ensemble."
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="TCP port.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A further name that the service is reached by; may be given again."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with a token that clients must send.")
    ] = None,
    backend: Annotated[str, typer.Option(help="torch, or onnx or openvino after an export.")] = "torch",
    precision: Annotated[str, typer.Option(help="Of the exported file: fp32, bf16, int8.")] = "fp32",
    tta: Annotated[str, typer.Option(help="Views that are averaged: none, flips, d4.")] = "none",
    device: Device = "auto",
    max_upload_mb: Annotated[int, typer.Option(help="Largest file in MiB.")] = 32,
    max_pixels: Annotated[int, typer.Option(help="Largest picture.")] = 50_000_000,
    timeout: Annotated[float, typer.Option(help="Seconds for an upload, and for its answer.")] = 60.0,
    max_batch: Annotated[int, typer.Option(help="Most images that the network sees at once.")] = 8,
    max_wait_ms: Annotated[float, typer.Option(help="How long an image waits for others.")] = 10.0,
    queue: Annotated[int, typer.Option(help="Most images in work; more are told to come back.")] = 64,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where corrections go: an SQLite file, a postgresql:// address, or none; corrections.db in "
            "the folder of the first run by default."
        ),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the web page too.")] = True,
) -> None:
    """Serve models over HTTP, with a web page; for research only.

    Example: delineate serve runs/demo
    Example: delineate serve runs/chnet runs/unet --port 9000 --max-pixels 20000000
    """
    require("fastapi", "web")
    require("uvicorn", "web")
    require("python_multipart", "web")
    from delineate.inference.predictor import Predictor
    from delineate.web.app import create_app
    from delineate.web.server import serve as run_server
    from delineate.web.settings import MEGABYTE, Settings

    settings = Settings(
        host=host,
        port=port,
        allowed_hosts=tuple(allow_host or ()),
        token=_token(token_file),
        max_upload_bytes=max_upload_mb * MEGABYTE,
        max_pixels=max_pixels,
        timeout=timeout,
        max_batch=max_batch,
        max_wait=max_wait_ms / 1000,
        queue=queue,
        store=None if store == "none" else store or str(Path(runs[0].split(",")[0]) / "corrections.db"),
        page=page,
    )
    hosted = []
    for run in runs:
        folders = [Path(folder) for folder in run.split(",")]
        predictor = Predictor.load(
            folders, device, backend=backend, precision=precision, tta=tta, uncertainty=True
        )
        hosted.append((predictor, folders[0]))
        for note in predictor.notes:
            console.say(f"{run}: {note}")
    if settings.is_open and settings.token is None:
        console.say("Whoever reaches this machine can use the service; --token-file asks for a token.")
    with ExitStack() as opened:
        routers = []
        if settings.store is not None:
            from delineate.web.store import CorrectionStore
            from delineate.web.store.router import corrections_router

            corrections = opened.enter_context(CorrectionStore(settings.store))
            routers.append(corrections_router(corrections))
            console.say(f"corrections go to {corrections.shown}")
        app = create_app(hosted, settings, routers=routers)
        run_server(
            app, settings, on_start=lambda address: console.say(f"serving {', '.join(runs)} at {address}")
        )


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a token; write one line of ASCII into it.") from error
    if not token or len(token.split()) != 1:
        raise InputError(f"{path} holds no token; write one word into it, with `openssl rand -hex 32`.")
    return token
