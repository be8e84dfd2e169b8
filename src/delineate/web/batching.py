"""One worker thread per model that puts images which arrive together into one batch.

The network is run by one thread only; other work on it (activation maps) goes through the same thread. An
image waits for company only while other requests are on their way, and at most for `max_wait`, so a lonely
request is not delayed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from delineate.checks import InputError
from delineate.inference.predictor import ImagePrediction, Picture, Predictor

T = TypeVar("T")


@dataclass
class _Item:
    """Something for the worker: a picture to predict, or any other work on the network."""

    picture: Picture | None
    work: Callable[[], Any] | None
    future: "Future[Any]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Predict pictures in batches, in a thread of its own.

    Args:
        predictor: the model; used by the thread of this object only.
        max_batch: most pictures of a batch.
        max_wait: seconds that a picture waits for others.
        on_batch: called with the size of each batch, from the thread.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        max_batch: int = 8,
        max_wait: float = 0.01,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self.predictor = predictor
        self.max_batch = max_batch
        self.max_wait = max_wait
        self.on_batch = on_batch
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._expected = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="delineate-batcher", daemon=True)
        self._thread.start()

    def submit(self, picture: Picture) -> "Future[ImagePrediction]":
        """Queue a picture; cancel the future to take it out of the queue.

        Raises:
            InputError: the batcher is closed.
        """
        return self._put(_Item(picture, None))

    def call(self, work: Callable[[], T]) -> "Future[T]":
        """Queue any other work on the network; arguments and errors as in `submit`."""
        return self._put(_Item(None, work))

    @contextmanager
    def expecting(self) -> Iterator[Callable[[], None]]:
        """Announce a picture, so that others wait for it; call what this gives when it has been submitted."""
        with self._changed:
            self._expected += 1
        arrived = False

        def arrive() -> None:
            nonlocal arrived
            if not arrived:
                arrived = True
                with self._changed:
                    self._expected -= 1
                    self._changed.notify()

        try:
            yield arrive
        finally:
            arrive()

    def __len__(self) -> int:
        """Number of items in the queue."""
        return len(self._items)

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _put(self, item: _Item) -> "Future[Any]":
        with self._changed:
            if self._closed:
                raise InputError("The service is stopping; try again later.")
            self._items.append(item)
            self._changed.notify()
        return item.future

    def _run(self) -> None:
        while batch := self._next():
            if batch[0].work is not None:
                self._settle(batch[0], batch[0].work)
            else:
                self._predict(batch)

    def _next(self) -> list[_Item]:
        """Wait for the next batch, or for one item of other work; empty when all is done."""
        with self._changed:
            while True:
                self._drop_cancelled()
                if self._items:
                    left = self._items[0].since + self.max_wait - time.monotonic()
                    if left <= 0 or not self._expected or self._closed or self._ready() >= self.max_batch:
                        break
                    self._changed.wait(left)
                elif self._closed:
                    return []
                else:
                    self._changed.wait()
            count = max(1, min(self._ready(), self.max_batch))
            return [self._items.popleft() for _ in range(count)]

    def _ready(self) -> int:
        """Number of pictures in front of the queue, before other work."""
        count = 0
        for item in self._items:
            if item.picture is None:
                break
            count += 1
        return count

    def _drop_cancelled(self) -> None:
        if any(item.future.cancelled() for item in self._items):
            self._items = deque(item for item in self._items if not item.future.cancelled())

    def _predict(self, batch: list[_Item]) -> None:
        batch = [item for item in batch if item.future.set_running_or_notify_cancel()]
        if not batch:
            return
        if self.on_batch is not None:
            self.on_batch(len(batch))
        try:
            results = self._predicted(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for item in batch:  # one picture's fault is not its neighbours'
                try:
                    item.future.set_result(self._predicted([item])[0])
                except Exception as own:
                    item.future.set_exception(own)
            return
        for item, result in zip(batch, results, strict=True):
            item.future.set_result(result)

    def _predicted(self, batch: list[_Item]) -> list[ImagePrediction]:
        pictures = [item.picture for item in batch if item.picture is not None]
        return list(self.predictor.predict(pictures, batch_size=len(pictures)))

    @staticmethod
    def _settle(item: _Item, work: Callable[[], Any]) -> None:
        if not item.future.set_running_or_notify_cancel():
            return
        try:
            item.future.set_result(work())
        except Exception as error:
            item.future.set_exception(error)
