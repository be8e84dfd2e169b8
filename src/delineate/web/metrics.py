"""Figures for Prometheus, in a registry of each application's own."""

from collections.abc import Callable

from delineate.checks import require

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What happens in the service, counted."""

    def __init__(self) -> None:
        client = require("prometheus_client", "web")
        self._client = client
        self.registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self.registry)  # process_resident_memory_bytes and others
        self.requests = client.Counter(
            "delineate_requests", "Answers given", ("endpoint", "status"), registry=self.registry
        )
        self.seconds = client.Histogram(
            "delineate_request_seconds",
            "Time from the head of a request to the end of its answer",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = client.Histogram(
            "delineate_batch_images",
            "Images that the network saw at once",
            ("model",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.images = client.Counter(
            "delineate_images", "Images predicted", ("model",), registry=self.registry
        )
        self.rejected = client.Counter(
            "delineate_rejected", "Requests refused or failed", ("reason",), registry=self.registry
        )
        self.in_flight = client.Gauge(
            "delineate_requests_in_flight", "Requests being answered", registry=self.registry
        )
        self.in_work = client.Gauge(
            "delineate_images_in_work", "Images between upload and answer", registry=self.registry
        )
        self._queue = client.Gauge(
            "delineate_queue_images", "Images waiting for the network", ("model",), registry=self.registry
        )

    def watch_queue(self, model: str, length: Callable[[], int]) -> None:
        """Report the length of a model's queue whenever somebody asks."""
        self._queue.labels(model).set_function(length)

    def text(self) -> tuple[bytes, str]:
        """The figures and their content type."""
        return self._client.generate_latest(self.registry), self._client.CONTENT_TYPE_LATEST
