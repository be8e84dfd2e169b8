"""Every error is JSON: one sentence for people and one code for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from delineate.checks import InputError

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
_SENTENCES = {
    400: "The request is not what its headers say; send it as the description in /docs says.",
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take this method; /docs lists what it takes.",
}


class ServiceError(HTTPException):
    """Something that ends a request with a sentence.

    Args:
        status: HTTP status.
        code: short name for programs; docs/reference/service.md lists them.
        message: one sentence.
        retry_after: seconds after which trying again makes sense.
        close: whether to close the connection, because the rest of the request is not read.
        facts: what a program needs to do better, beside the sentence.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: int | None = None,
        close: bool = False,
        facts: Mapping[str, int] | None = None,
    ) -> None:
        headers = {}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        if close:
            headers["Connection"] = "close"
        super().__init__(status, message, headers)
        self.code = code
        self.facts = dict(facts or {})


class ClientGone(Exception):  # noqa: N818 - not an error of anybody's
    """The client closed the connection before its answer was ready."""


def error_response(
    status: int, code: str, message: str, headers: Any = None, facts: Mapping[str, int] | None = None
) -> JSONResponse:
    """Make the JSON answer of an error."""
    return JSONResponse({"error": message, "code": code, **(facts or {})}, status, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Make `app` answer every error in this form."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(InputError, _input)
    app.add_exception_handler(ClientGone, _gone)
    app.add_exception_handler(ClientDisconnect, _gone)  # in the middle of an upload


async def _http(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ServiceError):
        return _noted(request, error)
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = status if status in _CODES else 400
    headers = error.headers if isinstance(error, HTTPException) else None
    return _noted(request, ServiceError(status, _CODES[known], _SENTENCES[known]), headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    errors: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    where = [str(part) for part in errors[0]["loc"]] if errors else ["request"]
    place = ".".join(where[1:]) or where[0]
    rule = str(errors[0]["msg"]) if errors else "is not valid"
    place = "".join(c for c in place if c.isprintable())[:60]
    rule = rule[:1].lower() + rule[1:].rstrip(".")
    message = f"{place}: {rule}; correct the request."
    return _noted(request, ServiceError(422, "invalid_parameter", message))


async def _input(request: Request, error: Exception) -> JSONResponse:
    return _noted(request, ServiceError(422, "invalid_input", str(error)))


async def _gone(request: Request, _error: Exception) -> JSONResponse:
    return _noted(request, ServiceError(499, "client_gone", "The client closed the connection."))


def _noted(request: Request, error: ServiceError, headers: Any = None) -> JSONResponse:
    """The answer of an error, which the guard counts by its code."""
    request.state.error_code = error.code
    return error_response(error.status_code, error.code, error.detail, headers or error.headers, error.facts)
