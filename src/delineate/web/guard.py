"""What stands before every endpoint: who may ask, how much may be sent, how long it may take.

Browsers are kept from being used against the service. A page of another origin cannot send anything (`Origin`
and `Sec-Fetch-Site`), and a foreign name that was made to point to this machine is not answered (`Host`); an
address in figures cannot be such a name. No other origin is ever allowed to read an answer.
"""

import asyncio
import hmac
import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delineate.web.errors import ServiceError, error_response
from delineate.web.metrics import Metrics
from delineate.web.settings import Settings

log = logging.getLogger("delineate.web")

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_GUARDED = ("/api", "/metrics", "/docs", "/openapi.json")  # what a token is for
_SMALL_BODY = 65536
_OVERHEAD = 65536  # of a multipart form around its file
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware, the outermost one: it also turns whatever goes wrong inside into an answer.

    Args:
        app: what it guards.
        settings: the limits.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self.held_bytes = 0
        names = {"localhost", settings.host, socket.gethostname(), *settings.allowed_hosts}
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        answer = _Answer(send, secrets.token_hex(8))
        scope.setdefault("state", {})["request_id"] = answer.request_id
        self.metrics.in_flight.inc()
        try:
            await self._run(scope, receive, answer)
        finally:
            self.metrics.in_flight.dec()
            endpoint = _endpoint(scope)
            if "error_code" in scope["state"]:
                self.metrics.rejected.labels(scope["state"]["error_code"]).inc()
            self.metrics.requests.labels(endpoint, str(answer.status or 499)).inc()
            self.metrics.seconds.labels(endpoint).observe(time.perf_counter() - start)

    async def _run(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        body = None
        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            async with asyncio.timeout(self.settings.timeout) as limit:
                body = _Body(self, receive, limit, _body_limit(scope, self.settings), headers)
                await self.app(scope, body.receive, answer.send)
        except ServiceError as error:
            await self._refuse(scope, answer, error)
        except TimeoutError:
            whole = body is not None and body.complete
            await self._refuse(scope, answer, self._too_late() if whole else _slow_upload())
        except Exception:
            log.exception("request %s failed", answer.request_id)
            message = f"The service failed on this request; its log says why under {answer.request_id}."
            await self._refuse(scope, answer, ServiceError(500, "internal", message))
        finally:
            if body is not None:
                self.held_bytes -= body.size

    async def _refuse(self, scope: Scope, answer: "_Answer", error: ServiceError) -> None:
        scope["state"]["error_code"] = error.code
        if not answer.status:
            response = error_response(error.status_code, error.code, error.detail, error.headers)
            await response(scope, _nothing, answer.send)

    def _too_late(self) -> ServiceError:
        return ServiceError(
            504,
            "timeout",
            f"The answer took longer than {self.settings.timeout:g} s; try again or send a smaller image.",
            retry_after=5,
        )

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._is_known(host):
            raise ServiceError(
                421,
                "wrong_host",
                "The service is not known by the name in the Host header; name it with --allow-host.",
            )
        if scope["method"] not in _SAFE:
            origin = headers.get("origin")
            own = (f"http://{host}".lower(), f"https://{host}".lower())
            foreign = origin is not None and origin.lower() not in own
            if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise ServiceError(403, "cross_site", "Pages of other origins may not use this service.")
        token = self.settings.token
        if token is not None and scope["path"].startswith(_GUARDED):
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode("latin-1", "replace"), f"Bearer {token}".encode()):
                error = ServiceError(
                    401, "unauthorised", "This service wants a token: Authorization: Bearer TOKEN."
                )
                error.headers = {"WWW-Authenticate": "Bearer"}
                raise error

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def hold(self, count: int) -> None:
        """Count bytes of bodies in memory.

        Raises:
            ServiceError: all requests together hold too many.
        """
        self.held_bytes += count
        if self.held_bytes > 4 * self.settings.max_body_bytes:
            raise ServiceError(
                503, "busy", "Too much is being uploaded at once; try again.", retry_after=2, close=True
            )


class _Body:
    """The body of a request, cut off where it becomes too large or too slow."""

    def __init__(
        self, guard: Guard, receive: Receive, limit: asyncio.Timeout, most: int, headers: Headers
    ) -> None:
        self._guard = guard
        self._receive = receive
        self._limit = limit
        self._most = most
        self.size = 0
        self.complete = False
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated) > most:
            raise self._too_large()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self.complete:
            count = len(message.get("body", b""))
            self.size += count
            self._guard.hold(count)
            if self.size > self._most:
                raise self._too_large()
            if not message.get("more_body", False):
                self.complete = True  # from here on it is the work that takes the time
                self._limit.reschedule(asyncio.get_running_loop().time() + self._guard.settings.timeout)
        return message

    def _too_large(self) -> ServiceError:
        return ServiceError(
            413, "too_large", f"The request is larger than {self._most} bytes; send less at once.", close=True
        )


class _Answer:
    """The answer on its way out, with the headers that every answer has."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers["X-Request-Id"] = self.request_id
        await self._send(message)


def _slow_upload() -> ServiceError:
    return ServiceError(
        408,
        "slow_upload",
        "The request did not arrive in time; send it again, faster or smaller.",
        close=True,
    )


def _body_limit(scope: Scope, settings: Settings) -> int:
    if scope["method"] in _SAFE or not scope["path"].startswith("/api/v1/"):
        return _SMALL_BODY
    if scope["path"] == "/api/v1/predict":
        return settings.max_upload_bytes + _OVERHEAD
    return settings.max_body_bytes + _OVERHEAD


def _endpoint(scope: Scope) -> str:
    """The pattern of the path that answered, so that there are few of them."""
    path: Any = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "other"


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
