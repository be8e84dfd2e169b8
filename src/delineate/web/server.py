"""Run the application with uvicorn, on connections that cannot be held open for nothing."""

import asyncio
import json
import logging
import signal
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from delineate.checks import InputError
from delineate.web.settings import Settings


def serve(app: Any, settings: Settings, *, on_start: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; requests in work are finished first, new ones refused.

    Args:
        app: what `create_app` made.
        settings: address and limits.
        on_start: called with the address once it is listened on.

    Raises:
        InputError: the address cannot be listened on.
    """
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every damaged body
    limit_pillow(settings)
    with _listen(settings) as listener:
        if on_start is not None:
            host, port = listener.getsockname()[:2]
            on_start(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")
        # When it has stopped, uvicorn raises the signal again; what is open here shall be closed first.
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            with suppress(KeyboardInterrupt):
                make_server(app, settings).run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)


def limit_pillow(settings: Settings) -> None:
    """Let Pillow refuse more than `max_pixels` in whatever this process decodes, also inside DICOM."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = max(1, settings.max_pixels // 2)  # it refuses twice as many
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # between the half and the whole of it


def make_server(app: Any, settings: Settings) -> uvicorn.Server:
    """The server, not yet running."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_protocol(settings),
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=int(settings.timeout) + 5,
        )
    )


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=128,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"Cannot listen on {settings.host}, port {settings.port} ({reason}); "
            "choose another --port or --host."
        ) from error


def _protocol(settings: Settings) -> type[asyncio.Protocol]:
    """HTTP/1.1 in which the head of a request must arrive in time, and errors are JSON as everywhere."""

    class Protocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            super().connection_made(transport)
            if len(self.connections) > settings.connections:
                self.connections.discard(self)
                transport.write(_raw(503, "Service Unavailable", "busy", "There are too many connections."))
                transport.close()
                return
            self._await_head()

        def data_received(self, data: bytes) -> None:
            if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
                self._await_head()  # the next request of a kept connection has begun
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self.transport.write(_raw(400, "Bad Request", "bad_request", "This is not a valid HTTP request."))
            self.transport.close()

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(settings.header_timeout, self._too_slow)

        def _too_slow(self) -> None:
            self._head_timer = None
            if not self.transport.is_closing():
                message = "The head of the request did not arrive in time."
                self.transport.write(_raw(408, "Request Timeout", "slow_head", message))
                self.transport.close()

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Protocol


def _raw(status: int, phrase: str, code: str, message: str) -> bytes:
    """A whole answer outside the application, before which nothing was sent."""
    body = json.dumps({"error": message, "code": code}).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
