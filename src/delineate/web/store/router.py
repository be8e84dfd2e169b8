"""Endpoints of the store. There is none that changes or deletes: a better correction is a further one."""

import asyncio
import base64
import binascii
from functools import partial
from typing import Annotated, Any, overload

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from delineate.checks import InputError
from delineate.web.api import CORRECTIONS, ERRORS
from delineate.web.errors import ServiceError
from delineate.web.hosted import Hosted, choose_model
from delineate.web.recognise import Recognised
from delineate.web.store.correction import LONGEST_COMMENT, LONGEST_NAME, Correction, Stored
from delineate.web.store.database import CorrectionStore, StoreError
from delineate.web.uploads import harmless_name
from delineate.web.work import Service

_BASE64 = "base64 without a prefix"


class NewCorrection(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(max_length=1000, description="Name of the image; a path is cut off.")
    image: str = Field(description=f"The image file, {_BASE64}.")
    model: str = Field(max_length=LONGEST_NAME, description="Name of the model that predicted.")
    identity: str = Field(max_length=2000, description="As the prediction said.")
    mask_png: str | None = Field(None, description=f"Corrected mask, 8-bit grey PNG, {_BASE64}.")
    predicted_mask_png: str | None = Field(None, description=f"What the model had drawn, {_BASE64}.")
    label: str | None = Field(None, max_length=LONGEST_NAME)
    author: str = Field(max_length=LONGEST_NAME)
    comment: str | None = Field(None, max_length=LONGEST_COMMENT)
    seconds: float | None = Field(None, ge=0, lt=1e7, allow_inf_nan=False)
    key: str | None = Field(
        None, min_length=1, max_length=100,
        description="Of this act of saving, at random: sent again with it, it is stored once.",
    )  # fmt: skip


class StoredAnswer(BaseModel):
    """A correction is safe."""

    id: int
    stored_at: str = Field(description="UTC, ISO 8601.")


def corrections_router(store: CorrectionStore) -> APIRouter:
    """Make the endpoints, for `create_app(routers=...)`; the store is closed by its owner."""
    router = APIRouter(prefix=CORRECTIONS, responses=ERRORS)

    @router.post("", summary="Store a correction", status_code=201, openapi_extra=_json_body())
    async def add(request: Request) -> StoredAnswer:
        service: Service = request.app.state.service
        service.check_room()
        body = await _body(request)
        hosted = choose_model(service.models, body.model)
        with service.job() as job:
            most = service.settings.max_upload_bytes
            image = await job.run(partial(_decoded, body.image, "image", most))
            found = await service.recognise(job, image, None)
            try:
                correction = await job.run(partial(_correction, body, image, found, hosted, most))
                # The job and its room are held meanwhile, because the store looks at the masks once more.
                key, moment = await asyncio.to_thread(store.add, correction, key=body.key)
            except StoreError as error:
                raise ServiceError(503, "store_unavailable", str(error), retry_after=5) from error
            except InputError as error:
                raise ServiceError(422, "invalid_input", str(error)) from error
        return StoredAnswer(id=key, stored_at=moment.isoformat(timespec="milliseconds"))

    @router.get("", summary="List corrections, newest first")
    async def listing(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=0, le=2**31, description="Only ids below it.")] = None,
    ) -> list[dict[str, Any]]:
        return await _reading(store.list, limit=limit, before=before)

    @router.get("/{key}", summary="One correction with its masks")
    async def one(key: Annotated[int, Path(ge=0, le=2**31)]) -> dict[str, Any]:
        found: Stored | None = await _reading(store.get, key)
        if found is None:
            raise ServiceError(404, "unknown_correction", f"There is no correction {key}.")
        kept = found.correction
        return {
            "id": found.id,
            "stored_at": found.stored_at.isoformat(timespec="milliseconds"),
            "filename": kept.filename,
            "image_sha256": found.image_sha256,
            "model": kept.model,
            "identity": kept.identity,
            "classes": kept.classes,
            "labels": kept.labels,
            "label": kept.label,
            "author": kept.author,
            "comment": kept.comment,
            "seconds": kept.seconds,
            "window": kept.window,
            "mask_png": _encoded(kept.mask),
            "predicted_mask_png": _encoded(kept.predicted_mask),
        }

    return router


async def _reading(work: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return await asyncio.to_thread(work, *arguments, **options)
    except StoreError as error:
        raise ServiceError(503, "store_unavailable", str(error), retry_after=5) from error


async def _body(request: Request) -> NewCorrection:
    raw = await request.body()  # the guard bounds it
    try:
        return NewCorrection.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise ServiceError(
            422, "invalid_correction", f"{place[:60]}: {first['msg']}; correct the request."
        ) from error


def _correction(
    body: NewCorrection, image: bytes, found: Recognised, hosted: Hosted, most: int
) -> Correction:
    """What the body says, checked; with the window through which the model saw the image."""
    info = hosted.predictor.info
    correction = Correction(
        filename=harmless_name(body.filename),
        image=image,
        model=hosted.name,
        identity=body.identity,
        classes=info.classes,
        labels=info.labels,
        mask=_decoded(body.mask_png, "mask_png", most),
        predicted_mask=_decoded(body.predicted_mask_png, "predicted_mask_png", most),
        label=body.label,
        author=" ".join(body.author.split()),
        comment=(body.comment or "").strip(),
        seconds=body.seconds,
        window=hosted.predictor.with_window(found.case).window,
    )
    correction.check(found.size)
    return correction


@overload
def _decoded(text: str, name: str, most: int) -> bytes: ...
@overload
def _decoded(text: None, name: str, most: int) -> None: ...
@overload
def _decoded(text: str | None, name: str, most: int) -> bytes | None: ...
def _decoded(text: str | None, name: str, most: int) -> bytes | None:
    if text is None:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"{name} is no base64; send the file's bytes in base64."
        raise ServiceError(422, "invalid_input", message) from error
    if len(raw) > most:
        raise ServiceError(
            413,
            "too_large",
            f"{name} has {len(raw)} bytes, but at most {most} are taken; send a smaller one.",
        )
    return raw


def _encoded(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode("ascii")


def _json_body() -> dict[str, Any]:
    schema = NewCorrection.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
