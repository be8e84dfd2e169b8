"""The endpoints below /api/v1 that predict."""

import asyncio
import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from delineate.web.answers import Options
from delineate.web.errors import ServiceError
from delineate.web.hosted import Hosted, choose_model
from delineate.web.recognise import KINDS
from delineate.web.schemas import (
    BatchAnswer,
    BatchEntry,
    ErrorAnswer,
    MeasureAnswer,
    ModelAnswer,
    PredictionAnswer,
)
from delineate.web.uploads import Upload, only_file, read_form
from delineate.web.work import Service, unless_gone

ModelName = Annotated[str | None, Query(max_length=200, description="Name of a model; the first by default.")]
Spacing = Annotated[
    str | None,
    Query(max_length=60, description="Millimetres per pixel, one number or row,column; else the file's own."),
]
Uncertain = Annotated[bool, Query(description="Also answer the uncertainty of each pixel.")]
Explain = Annotated[
    str, Query(max_length=40, description="Activation map: none, auto, or one of the model's `explanations`.")
]
Measure = Annotated[bool, Query(description="Also measure each lesion.")]
CORRECTIONS = "/api/v1/corrections"
MASK = "8-bit grey PNG of the image's size: class indices, 0 background; of one class also 0 and 255."
Slice = Annotated[int | None, Query(ge=0, le=10**6, description="Of a volume or a stack, from 0.")]


def form_of(parts: dict[str, str], *, several: str | None = None) -> dict[str, Any]:
    """OpenAPI's description of a multipart body, which the endpoints read themselves, within limits."""
    properties: dict[str, Any] = {
        name: {"type": "string", "format": "binary", "description": text} for name, text in parts.items()
    }
    if several is not None:
        properties[several] = {"type": "array", "items": properties[several]}
    schema = {"type": "object", "properties": properties, "required": list(parts)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 404, 408, 413, 415, 422, 503, 504)
}


def prediction_router(service: Service) -> APIRouter:
    """Make the endpoints."""
    router = APIRouter(prefix="/api/v1", responses=ERRORS)

    @router.get("/models", summary="What is served")
    async def models() -> list[ModelAnswer]:
        return [_described(model, service.keeps_corrections) for model in service.models]

    @router.post(
        "/predict",
        summary="Predict one image",
        openapi_extra=form_of({"file": f"{KINDS}."}),
    )
    async def predict(
        request: Request,
        model: ModelName = None,
        spacing: Spacing = None,
        uncertainty: Uncertain = False,
        explain: Explain = "none",
        measure: Measure = True,
        slice: Slice = None,
    ) -> PredictionAnswer:
        chosen = choose_model(service.models, model)
        options = Options(parse_spacing(spacing), uncertainty, _explanation(chosen, explain), measure, slice)
        service.check_room()
        upload = only_file(await read_form(request, service.settings, files=2), "file")
        work = service.predict(upload, chosen, options, request.state.request_id)
        return await unless_gone(request, work)

    @router.post(
        "/predict/batch",
        summary="Predict several images",
        openapi_extra=form_of({"file": "An image, again for each."}, several="file"),
    )
    async def predict_batch(
        request: Request,
        model: ModelName = None,
        spacing: Spacing = None,
        uncertainty: Uncertain = False,
        explain: Explain = "none",
        measure: Measure = True,
    ) -> BatchAnswer:
        chosen = choose_model(service.models, model)
        options = Options(parse_spacing(spacing), uncertainty, _explanation(chosen, explain), measure)
        service.check_room()
        form = await read_form(request, service.settings, files=service.settings.max_files)
        files = [file for name, file in form if name in ("file", "files")]
        if not files:
            raise ServiceError(422, "missing_file", "Send each image in a part named file with a file name.")

        async def one(index: int, file: Upload) -> BatchEntry:
            try:
                result = await service.predict(file, chosen, options, f"{request.state.request_id}-{index}")
            except ServiceError as error:
                told = ErrorAnswer(error=error.detail, code=error.code, **error.facts)
                return BatchEntry(index=index, filename=file.filename, result=None, error=told)
            return BatchEntry(index=index, filename=file.filename, result=result, error=None)

        together = asyncio.gather(*(one(index, file) for index, file in enumerate(files)))
        return BatchAnswer(results=await unless_gone(request, together))

    @router.post(
        "/measure",
        summary="Measure a mask, such as a corrected one",
        openapi_extra=form_of({"file": f"The image: {KINDS}.", "mask": MASK}),
    )
    async def measure(
        request: Request, model: ModelName = None, spacing: Spacing = None, slice: Slice = None
    ) -> MeasureAnswer:
        chosen = choose_model(service.models, model)
        options = Options(parse_spacing(spacing), slice=slice)
        service.check_room()
        form = await read_form(request, service.settings, files=3)
        upload, mask = only_file(form, "file"), only_file(form, "mask")
        return await unless_gone(request, service.measure(upload, mask, chosen, options))

    return router


def _described(model: Hosted, keeps_corrections: bool) -> ModelAnswer:
    info = model.predictor.info
    return ModelAnswer(
        name=model.name,
        classes=list(info.classes),
        labels=list(info.labels),
        threshold=info.threshold,
        size=info.size,
        identity=model.identity,
        backend=model.predictor.backend.name,
        explanations=list(model.explanations),
        corrections=keeps_corrections,
        card=model.card,
    )


def _explanation(model: Hosted, name: str) -> str:
    if name in ("none", *model.explanations) or (name == "auto" and model.explanations):
        return name
    known = ", ".join(("none", *model.explanations))
    raise ServiceError(422, "invalid_parameter", f"explain must be one of {known} for this model.")


def parse_spacing(text: str | None) -> tuple[float, float] | None:
    """Read one number, or row,column, as (row, column) in mm.

    Raises:
        ServiceError: it is neither, or not above 0.
    """
    if text is None or not text.strip():
        return None
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or not all(math.isfinite(side) and 0 < side <= 1000 for side in sides):
        raise ServiceError(
            422,
            "invalid_parameter",
            "spacing must be one or two numbers of millimetres, above 0: row,column.",
        )
    return sides[0], sides[-1]
