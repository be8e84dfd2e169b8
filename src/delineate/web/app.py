"""The application: endpoints, page, limits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from delineate.inference.predictor import Picture, Predictor
from delineate.version import __version__
from delineate.web.api import CORRECTIONS, prediction_router
from delineate.web.batching import Batcher
from delineate.web.description import description_router
from delineate.web.errors import add_handlers
from delineate.web.guard import Guard
from delineate.web.hosted import Hosted, model_card, model_names
from delineate.web.metrics import Metrics
from delineate.web.render import render_router
from delineate.web.settings import RESEARCH_ONLY, Settings
from delineate.web.work import Service

log = logging.getLogger("delineate.web")

PAGE = Path(__file__).parent / "page"


def create_app(
    runs: Sequence[tuple[Predictor, Path]],
    settings: Settings | None = None,
    *,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Make the ASGI application of a service.

    Args:
        runs: each model with the folder of its run, whose name becomes the model's. Load them with
            `uncertainty=True`, or answers have no `look`.
        settings: limits; the defaults without.
        routers: further endpoints below /api/v1, such as those of the corrections store; the guard holds for
            them too. What they keep open is closed by a lifespan of theirs.

    Raises:
        InputError: no model is given.
    """
    settings = settings or Settings()
    metrics = Metrics()
    models = [
        _host(name, predictor, run, settings, metrics)
        for name, (predictor, run) in zip(model_names([run for _, run in runs]), runs, strict=True)
    ]
    service = Service(models, settings, metrics)
    service.keeps_corrections = any(router.prefix == CORRECTIONS for router in routers)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.folder.sweep)
        warming = asyncio.create_task(_warm_up(service))
        yield
        warming.cancel()
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="delineate",
        summary="Masks, labels and explanations of 2-D medical images.",
        description=RESEARCH_ONLY,
        version=__version__,
        docs_url=None,  # FastAPI's own pages load scripts from other servers
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    add_handlers(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    own = (prediction_router(service), render_router(service), description_router(app))
    for router in (*own, *routers):
        app.include_router(router)
    _add_watching(app, service)
    if settings.page and PAGE.is_dir():
        app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return app


def _host(name: str, predictor: Predictor, run: Path, settings: Settings, metrics: Metrics) -> Hosted:
    batcher = Batcher(
        predictor,
        max_batch=settings.max_batch,
        max_wait=settings.max_wait,
        on_batch=metrics.batches.labels(name).observe,
    )
    metrics.watch_queue(name, lambda: len(batcher))
    return Hosted(name, predictor, batcher, model_card(predictor, run))


async def _warm_up(service: Service) -> None:
    """Predict a grey picture with each model: the first pass allocates and tunes, and is slow."""
    for model in service.models:
        height, width = model.predictor.info.size
        picture = Picture(np.full((height, width, 3), 128, np.uint8), (height, width))
        try:
            await asyncio.wrap_future(model.batcher.submit(picture))
        except Exception:  # nobody waits for this task, so nobody else would tell
            log.exception("the model %s failed on its first picture", model.name)
            service.warm_up_failed = True
            return
    service.warm = True


def _add_watching(app: FastAPI, service: Service) -> None:
    @app.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "alive", "version": __version__}

    @app.get("/ready", summary="Whether requests are taken")
    async def ready() -> JSONResponse:
        if service.warm_up_failed:
            reason = "the warm-up failed, and the log says why"
        else:
            reason = "warming up" if not service.warm else "queue full" if service.full else ""
        if not reason:
            return JSONResponse({"status": "ready"})
        return JSONResponse(
            {"error": f"Not ready: {reason}.", "code": "not_ready"}, 503, {"Retry-After": "1"}
        )

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def figures() -> Response:
        text, kind = service.metrics.text()
        return Response(text, media_type=kind)
