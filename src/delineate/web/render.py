"""Endpoints that turn an upload into another file: a picture to show, a DICOM segmentation."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from delineate.web.answers import Options
from delineate.web.api import ERRORS, MASK, ModelName, Slice, Spacing, form_of, parse_spacing
from delineate.web.hosted import choose_model
from delineate.web.recognise import KINDS
from delineate.web.segmentations import About
from delineate.web.uploads import only_file, read_form
from delineate.web.work import Service, unless_gone

Corrected = Annotated[
    bool, Query(description="Whether a person may have changed the mask; the file then says semi-automatic.")
]
Author = Annotated[
    str | None,
    Query(max_length=200, description="Who corrected the mask; DICOM holds the first 62 characters."),
]


def render_router(service: Service) -> APIRouter:
    """Make the endpoints."""
    router = APIRouter(prefix="/api/v1/render", responses=ERRORS)

    @router.post(
        "/png",
        summary="The image as a model sees it, as PNG at its own size",
        response_class=Response,
        openapi_extra=form_of({"file": f"{KINDS}."}),
    )
    async def png(request: Request, model: ModelName = None, slice: Slice = None) -> Response:
        chosen = choose_model(service.models, model)
        service.check_room()
        upload = only_file(await read_form(request, service.settings, files=2), "file")
        content = await unless_gone(request, service.show(upload, chosen, slice))
        return Response(content, media_type="image/png")

    @router.post(
        "/dicom-seg",
        summary="A mask as DICOM segmentation; of a picture, a zip of it as DICOM image and the segmentation",
        response_class=Response,
        openapi_extra=form_of({"file": f"The image: {KINDS}.", "mask": MASK}),
    )
    async def dicom_seg(
        request: Request,
        model: ModelName = None,
        spacing: Spacing = None,
        slice: Slice = None,
        corrected: Corrected = True,
        author: Author = None,
    ) -> Response:
        chosen = choose_model(service.models, model)
        sides = parse_spacing(spacing)
        service.check_room()
        form = await read_form(request, service.settings, files=3)
        upload, mask = only_file(form, "file"), only_file(form, "mask")
        about = About(corrected, author)
        made = await unless_gone(
            request, service.dicom_seg(upload, mask, chosen, Options(sides, slice=slice), about)
        )
        headers = {"Content-Disposition": f'attachment; filename="{made.name}"'}
        return Response(made.content, media_type=made.media_type, headers=headers)

    return router
