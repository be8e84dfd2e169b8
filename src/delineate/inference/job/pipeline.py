"""Predict groups of files: reading, the network and writing run side by side, results come out in order.

The network sees the images of a group in batches that depend on nothing but the group. Each writer has a
thread of its own, which gets every image in order; a file is finished when all writers have ended it.
"""

import errno
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delineate.checks import InputError
from delineate.inference.job.options import JobOptions
from delineate.inference.job.reading import EndOfFile, EndOfGroup, Image, Reader, Source
from delineate.inference.job.rows import Rows
from delineate.inference.job.sources import Unit
from delineate.inference.predictor import Predictor
from delineate.inference.results import ImagePrediction
from delineate.inference.writers import WRITERS, Output, Writer
from delineate.inference.writers.base import PictureWriter
from delineate.inference.writers.pictures import write_png

Extra = Callable[[str, np.ndarray, ImagePrediction, Path], None]
MAPS = "maps"
"""Folder of the activation maps."""
BATCH_BYTES = 2**28
"""A batch ends early with so many bytes of images at their own size."""
WAITING_BYTES = 2**29
"""What may wait for the writers at most; one image always may."""

IN_FLIGHT = 2
"""Groups that may wait for the writers; with the current one all that is lost when a job is killed."""


@dataclass(frozen=True)
class Finished:
    """What became of one file."""

    unit: Unit
    images: int
    """Pictures in it."""
    rows: dict[str, str]
    """Table -> its lines."""
    fault: str | None
    """Why it was left out; then there are no rows."""


def predict_groups(
    predictor: Predictor,
    groups: Iterable[list[Unit]],
    out: Path,
    options: JobOptions,
    *,
    scratch: Path,
    extra: Extra | None = None,
) -> Generator[list[Finished], None, None]:
    """Predict groups of files, write their pictures, and tell what became of each, group by group in order.

    Args:
        predictor: a loaded model.
        groups: as `Plan.groups` gives them.
        out: folder of the results.
        options: what to write.
        scratch: folder for copies of files that lie in archives.
        extra: called as (id, image, prediction, out) for each image, in this thread.

    Raises:
        InputError: the results cannot be written, as on a full disk.
    """
    pipeline = _Pipeline(predictor, out, options, extra)
    reader = Reader(predictor, groups, scratch, options.spacing)
    try:
        for event in reader:
            if isinstance(event, EndOfGroup):
                pipeline.end_group(event.sources)
            elif isinstance(event, EndOfFile):
                pipeline.end_file(event.source)
            else:
                try:
                    image = reader.take(event)
                except InputError as error:
                    event.source.fault = event.source.fault or event.source.sentence(error)
                else:
                    if event.source.fault is None:
                        pipeline.add(event.source, image)
            yield from pipeline.finished()
        yield from pipeline.finished(wait=True)
    finally:
        reader.close()
        pipeline.close()


class _Lane(ABC):
    """A thread that takes every image in order."""

    def __init__(self, name: str) -> None:
        self.pool = ThreadPoolExecutor(1, name)
        self._fault: InputError | None = None

    def add(self, output: Output, source: Source) -> "Future[None]":
        return self.pool.submit(self._add, output, source)

    def end(self, source: Source) -> "Future[InputError | None]":
        return self.pool.submit(self._end, source)

    def _add(self, output: Output, source: Source) -> None:
        if self._fault is None:  # the rest of a file that cannot be written is passed over
            try:
                self.write(output, source)
            except (ValueError, TypeError) as error:
                self._fault = _as_fault(error, source)

    def _end(self, source: Source) -> InputError | None:
        fault, self._fault = self._fault, None
        return self.finish(source, fault)

    @abstractmethod
    def write(self, output: Output, source: Source) -> None: ...

    @abstractmethod
    def finish(self, source: Source, fault: InputError | None) -> InputError | None: ...


class _WriterLane(_Lane):
    """Runs a writer; what it wrote of an ended file stays in `ended` until it is taken."""

    def __init__(self, writer: Writer) -> None:
        super().__init__("writer")
        self._writer = writer
        self.ended: dict[int, list[Path]] = {}

    def write(self, output: Output, source: Source) -> None:
        self._writer.add(output)

    def finish(self, source: Source, fault: InputError | None) -> InputError | None:
        if fault is None and source.fault is None:
            try:
                self._writer.end_of_file()
            except (ValueError, TypeError) as error:
                fault = _as_fault(error, source)
        if fault is not None or source.fault is not None:
            self._writer.forget()
        self.ended[id(source)] = self._writer.made.copy()
        self._writer.made.clear()
        return fault


class _RowLane(_Lane):
    """Makes the rows of the tables; those of an ended file stay in `ended` until they are taken."""

    def __init__(self, fresh: Callable[[], Rows]) -> None:
        super().__init__("rows")
        self._fresh, self._rows = fresh, fresh()
        self.ended: dict[int, Rows] = {}

    def write(self, output: Output, source: Source) -> None:
        self._rows.add(output, source.unit.file)

    def finish(self, source: Source, fault: InputError | None) -> InputError | None:
        self.ended[id(source)], self._rows = self._rows, self._fresh()
        return fault


class MapWriter(PictureWriter):
    """`maps/<id>.png`: an activation map over the image.

    Args:
        predictor: explains with its first PyTorch member.
        out: the job's folder.
        method: of `delineate.explain.activation`, or "auto".

    Raises:
        InputError: exported files run the network.
    """

    def __init__(self, predictor: Predictor, out: Path, method: str) -> None:
        super().__init__(out, predictor.info)
        _ = predictor.torch  # says so at once when there is none
        self._predictor = predictor
        self._method: Any = None if method == "auto" else method

    def add(self, output: Output) -> None:
        """Write one map."""
        from delineate.explain.overlay import overlay_map

        activation = self._predictor.explain(
            output.image,
            method=self._method,
            target="mask" if output.prediction.label is None else "label",
            prediction=output.prediction,
        )
        write_png(self.place(MAPS, f"{output.id}.png"), overlay_map(output.image, activation))


class _Pipeline:
    """The part behind the reader."""

    def __init__(self, predictor: Predictor, out: Path, options: JobOptions, extra: Extra | None) -> None:
        self._predictor, self._out, self._options, self._extra = predictor, out, options, extra
        self._identity = predictor.identity
        writers: list[Writer] = [WRITERS[name].make(out, predictor.info) for name in options.formats]
        if options.explain is not None:
            writers.append(MapWriter(predictor, out, options.explain))
        self._rows = _RowLane(
            lambda: Rows(predictor.info, uncertainty=predictor.uncertainty, measure=options.measure)
        )
        self._writers = [_WriterLane(writer) for writer in writers]
        self._lanes: list[_Lane] = [self._rows, *self._writers]
        self._batch: list[tuple[Source, Image | None]] = []  # without an image: the end of the file
        self._batch_images = self._batch_bytes = 0
        self._waiting: deque[tuple[int, list[Future[None]]]] = deque()
        self._waiting_bytes = 0
        self._ends: dict[int, list[Future[InputError | None]]] = {}
        self._groups: deque[list[Source]] = deque()

    def add(self, source: Source, image: Image) -> None:
        self._batch.append((source, image))
        self._batch_images += 1
        self._batch_bytes += image.pixels.nbytes
        if self._batch_images == self._options.batch_size or self._batch_bytes >= BATCH_BYTES:
            self._predict()

    def end_file(self, source: Source) -> None:
        self._batch.append((source, None))

    def end_group(self, sources: list[Source]) -> None:
        self._predict()
        self._groups.append(sources)

    def finished(self, *, wait: bool = False) -> Iterator[list[Finished]]:
        while self._groups:
            ends = [end for source in self._groups[0] for end in self._ends[id(source)]]
            if not wait and len(self._groups) <= IN_FLIGHT and not all(end.done() for end in ends):
                return
            yield [self._finish(source) for source in self._groups.popleft()]

    def close(self) -> None:
        for lane in self._lanes:
            lane.pool.shutdown(cancel_futures=True)

    def _predict(self) -> None:
        batch, self._batch = self._batch, []
        pictures = [image.picture for _, image in batch if image is not None]
        self._batch_images = self._batch_bytes = 0
        predictions = self._predictor.predict(pictures, batch_size=max(len(pictures), 1))
        for source, image in batch:
            if image is None:
                self._ends[id(source)] = [lane.end(source) for lane in self._lanes]
            else:
                self._write(source, image, next(predictions))

    def _write(self, source: Source, image: Image, prediction: ImagePrediction) -> None:
        if self._extra is not None:
            self._extra(image.case.id, image.pixels, prediction, self._out)
        output = Output(
            image.case.id, image.case, image.pixels, prediction, self._predictor.info, self._identity
        )
        arrays = [image.pixels, prediction.mask, prediction.probability]
        if prediction.uncertainty is not None:
            arrays += [prediction.uncertainty.entropy, prediction.uncertainty.variance]
        needed = sum(a.nbytes for a in arrays if a is not None)
        self._waiting.append((needed, [lane.add(output, source) for lane in self._lanes]))
        self._waiting_bytes += needed
        self._settle(WAITING_BYTES)

    def _settle(self, most: int) -> None:
        """Wait until the writers are behind by at most so many bytes."""
        while self._waiting and (
            self._waiting_bytes > most or all(future.done() for future in self._waiting[0][1])
        ):
            needed, futures = self._waiting.popleft()
            for future in futures:
                future.result()  # raises what is nobody's input
            self._waiting_bytes -= needed

    def _finish(self, source: Source) -> Finished:
        self._settle(WAITING_BYTES)
        for end in self._ends.pop(id(source)):
            fault = end.result()
            if fault is not None:
                if _is_ours(fault):
                    raise fault
                source.fault = source.fault or source.sentence(fault)
        rows = self._rows.ended.pop(id(source))
        made = [path for lane in self._writers for path in lane.ended.pop(id(source))]
        source.forget()
        if source.fault is not None:
            for path in made:  # a file is predicted whole or not at all
                path.unlink(missing_ok=True)
            return Finished(source.unit, 0, {}, source.fault)
        return Finished(source.unit, rows.images, rows.text, None)


def _as_fault(error: ValueError | TypeError, source: Source) -> InputError:
    """What a writer or a table cannot hold, such as a probability that is no number, costs one file only."""
    if isinstance(error, InputError):
        return error
    return InputError(f"{source.path} cannot be written as asked ({error}); leave it out or change --format.")


def _is_ours(fault: InputError) -> bool:
    """Whether writing failed for a reason that the next file would meet too, as on a full disk."""
    cause = fault.__cause__
    return isinstance(cause, OSError) and cause.errno != errno.ENAMETOOLONG
