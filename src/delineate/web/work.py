"""From an upload to an answer: decode, queue, predict, measure, encode; each step may be given up."""

import asyncio
import errno
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from fastapi import Request

from delineate.checks import InputError
from delineate.data import nifti
from delineate.data.images import read_case_image
from delineate.inference.predictor import ImagePrediction
from delineate.web.answers import Opened, Options, explain, make_answer, measure_mask
from delineate.web.errors import ClientGone, ServiceError
from delineate.web.hosted import Hosted
from delineate.web.metrics import Metrics
from delineate.web.pixels import png_bytes
from delineate.web.recognise import Recognised, open_upload, room_to_open
from delineate.web.schemas import MeasureAnswer, PredictionAnswer
from delineate.web.segmentations import About, Made, make_segmentation
from delineate.web.settings import Settings
from delineate.web.uploads import Folder, Upload

T = TypeVar("T")


class Budget:
    """Pixels that may be in memory at once; who needs many waits for its turn."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._turn = asyncio.Lock()
        self._given = asyncio.Event()

    async def take(self, pixels: int) -> int:
        """Wait until there is room, first come, first served; returns what to give back."""
        pixels = min(pixels, self._all)
        async with self._turn:
            while self._free < pixels:
                self._given.clear()
                await self._given.wait()
            self._free -= pixels
        return pixels

    def give(self, pixels: int) -> None:
        """Give back what was taken."""
        self._free += pixels
        self._given.set()


class Job:
    """What one image holds: its file and its room; given back when no thread uses them any more."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.held = ExitStack()
        self._threads = threads
        self._futures: list[Future] = []

    async def run(self, work: Callable[[], T]) -> T:
        """Do work in a thread; when the waiting is given up, the thread goes on but nobody listens."""
        future = self._threads.submit(work)
        self._futures.append(future)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Give everything back, now or when the last thread is done."""
        running = [future for future in self._futures if not (future.cancel() or future.done())]
        if not running:
            self.held.close()
            return
        loop = asyncio.get_running_loop()
        left = len(running)

        def finish() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.held.close()

        def done(_future: Future) -> None:
            with suppress(RuntimeError):  # the loop has ended, and the folder goes as a whole
                loop.call_soon_threadsafe(finish)

        for future in running:
            future.add_done_callback(done)


class Service:
    """All that the endpoints share; made and used inside one event loop.

    Args:
        models: at least one.
        settings: the limits.
        metrics: where images are counted.
    """

    def __init__(self, models: list[Hosted], settings: Settings, metrics: Metrics) -> None:
        self.models = models
        self.settings = settings
        self.metrics = metrics
        self.folder = Folder()
        self.threads = ThreadPoolExecutor(settings.decoders, thread_name_prefix="delineate-decode")
        self.budget = Budget(2 * settings.max_pixels)
        self.in_work = 0
        self.warm = False
        self.warm_up_failed = False
        self.keeps_corrections = False

    @property
    def full(self) -> bool:
        """Whether no further image is taken."""
        return self.in_work >= self.settings.queue

    def check_room(self) -> None:
        """Refuse early, before anything is read.

        Raises:
            ServiceError: the queue is full.
        """
        if self.full:
            raise ServiceError(
                503, "queue_full", "The service has as many images as it can hold; try again.", retry_after=1
            )

    async def predict(
        self, upload: Upload, model: Hosted, options: Options, request_id: str
    ) -> PredictionAnswer:
        """Predict one upload.

        Raises:
            ServiceError: the upload is refused, or the queue is full.
        """
        start = time.perf_counter()
        with self.job() as job:
            with model.batcher.expecting() as arrived:
                opened = await self._open(job, upload, model, options)
                queued = model.batcher.submit(opened.picture)
                arrived()
            prediction: ImagePrediction = await asyncio.wrap_future(queued)
            explanation = None
            if options.explain != "none":
                work = partial(explain, model, opened.image, options.explain, prediction)
                explanation = await asyncio.wrap_future(model.batcher.call(work))
            answer = await job.run(
                partial(make_answer, model, opened, prediction, explanation, options, request_id)
            )
        self.metrics.images.labels(model.name).inc()
        return answer.model_copy(update={"milliseconds": round(1000 * (time.perf_counter() - start), 1)})

    async def show(self, upload: Upload, model: Hosted, slice: int | None) -> bytes:
        """Turn one upload into a PNG of what the model would see, at its own size; errors as in `predict`."""
        with self.job() as job:
            opened = await self._open(job, upload, model, Options(slice=slice))
            return await job.run(partial(png_bytes, opened.image))

    async def measure(self, upload: Upload, mask: Upload, model: Hosted, options: Options) -> MeasureAnswer:
        """Measure a mask of one upload, such as a corrected one; errors as in `predict`."""
        _need_classes(model)
        with self.job() as job:
            opened = await self._open(job, upload, model, options)
            return await job.run(partial(measure_mask, model, opened, mask.content))

    async def dicom_seg(
        self, upload: Upload, mask: Upload, model: Hosted, options: Options, about: About
    ) -> Made:
        """Turn a mask of one upload into a DICOM segmentation; errors as in `predict`."""
        _need_classes(model)
        with self.job() as job:
            opened = await self._open(job, upload, model, options)
            return await job.run(partial(make_segmentation, opened, mask.content, model, about))

    @contextmanager
    def job(self) -> Iterator[Job]:
        """Room for one image, while the block runs; faults of the image become answers.

        Raises:
            ServiceError: the queue, the memory or the disk is full, or the image cannot be read.
        """
        self.check_room()
        self.in_work += 1
        self.metrics.in_work.inc()
        job = Job(self.threads)
        try:
            yield job
        except InputError as error:
            raise ServiceError(422, "unreadable_image", self.folder.conceal(str(error))) from error
        except MemoryError as error:
            raise ServiceError(
                503,
                "out_of_memory",
                "There is not enough memory for this image; send a smaller one.",
                retry_after=5,
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ServiceError(
                503, "disk_full", "The service has no room on its disk; try again later.", retry_after=5
            ) from error
        finally:
            job.close()
            self.in_work -= 1
            self.metrics.in_work.dec()

    async def recognise(self, job: Job, content: bytes, slice: int | None) -> Recognised:
        """Put a file where the readers find it and take the room that its pixels need; see `open_upload`."""
        ahead = room_to_open(content, self.settings)
        room = job.held.enter_context(ExitStack())
        if ahead:
            room.callback(self.budget.give, await self.budget.take(ahead))
        folder = self.folder.make()
        job.held.callback(shutil.rmtree, folder, ignore_errors=True)
        found = await job.run(partial(open_upload, content, folder, self.settings, slice))
        job.held.callback(nifti.forget, found.case.image)
        if ahead:  # it needs at most what was taken, so nobody waits for more while holding some
            room.pop_all()
            self.budget.give(ahead - found.room)
            room.callback(self.budget.give, found.room)
        else:
            room.callback(self.budget.give, await self.budget.take(found.room))
        return found

    async def _open(self, job: Job, upload: Upload, model: Hosted, options: Options) -> Opened:
        found = await self.recognise(job, upload.content, options.slice)
        return await job.run(partial(_decode, model, found, options))

    def close(self) -> None:
        """End the threads and remove the folder."""
        for model in self.models:
            model.batcher.close()
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.folder.close()


def _need_classes(model: Hosted) -> None:
    if not model.predictor.info.classes:
        raise ServiceError(422, "no_classes", "This model only classifies, so it has no masks.")


def _decode(model: Hosted, found: Recognised, options: Options) -> Opened:
    case = replace(found.case, spacing=options.spacing or found.case.spacing)
    case = model.predictor.with_window(case)
    picture = model.predictor.open(case)
    image = picture.pixels
    if image.shape[:2] != picture.size and (options.measure or options.explain != "none"):
        image = read_case_image(case)  # a large JPEG was decoded at a reduced scale
    return Opened(case, picture, image, found.slices)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for work, but give it up when the client closes the connection.

    Raises:
        ClientGone: it did.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        watcher.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
