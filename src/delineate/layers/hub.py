"""Weights from the hub: fetched if it answers, else one sentence that says both ways out."""

import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import timm
from huggingface_hub import constants

from delineate.checks import InputError

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds to wait for the hub to accept a connection."""


def download(name: str, build: Callable[[], T]) -> T:
    """Run `build`, which downloads weights of `name`; a failure becomes one sentence with both ways out.

    Without an answer from the hub only the local cache is asked: the hub's own client would retry for half a
    minute per file first.

    Args:
        name: of the network, for the message and, if it is timm's, to see whether it has weights at all.
        build: builds the network and loads its weights through timm or segmentation-models-pytorch.

    Raises:
        InputError: the network has no published weights, or they cannot be fetched.
    """
    local = "give 'pretrained: path/to/file.safetensors' for a local file"
    ways_out = f"{local}, or 'pretrained: false' for random weights"
    configuration = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if timm.is_model(name) and (configuration is None or not configuration.has_weights):
        raise InputError(f"Encoder {name!r} has no published weights; {ways_out}.")
    try:
        with _cache_only_unless_reachable():
            return build()
    except InputError:
        raise
    except Exception as error:  # the hub's client passes on whatever its HTTP library raises
        raise InputError(
            f"Cannot download the weights of {name!r} from {constants.ENDPOINT} ({type(error).__name__}); "
            f"{ways_out}."
        ) from error


@contextmanager
def _cache_only_unless_reachable() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    """Whether the hub, or the proxy that stands before it, accepts a connection."""
    target = urllib.parse.urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
        target = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = target.port or (80 if target.scheme == "http" else 443)
    try:
        socket.create_connection((target.hostname or "", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True
