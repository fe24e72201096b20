"""Figures for Prometheus: requests, fills, seconds, the queue."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from infilling.serving.memory import MemoryBudget
from infilling.serving.pool import Pool

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
METHODS = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"}


class Metrics:
    """What has happened since the start, and what is under way."""

    def __init__(self, pool: Pool, memory: MemoryBudget) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "infilling_requests", "Requests answered.", ("method", "path", "status"), registry=self._registry
        )
        self._fills = Counter(
            "infilling_fills", "Fills by engine and outcome.", ("engine", "outcome"), registry=self._registry
        )
        self._seconds = Histogram(
            "infilling_fill_seconds",
            "Seconds at work on a fill, without the time in the queue.",
            buckets=BUCKETS,
            registry=self._registry,
        )
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "jobs": ("Fills that run at the same time.", lambda: pool.jobs),
            "jobs_running": ("Fills that run now.", lambda: pool.count_states()["running"]),
            "jobs_waiting": ("Fills that wait.", lambda: pool.count_states()["waiting"]),
            "uploads": ("Requests whose body is being read.", lambda: pool.count_states()["uploading"]),
            "queue_limit": ("Requests that may wait.", lambda: pool.queue),
            "held_bytes": ("Bytes of bodies and answers that requests hold.", lambda: memory.held),
        }
        for name, (text, read) in gauges.items():
            Gauge(f"infilling_{name}", text, registry=self._registry).set_function(read)

    def count_request(self, method: str, path: str, status: int) -> None:
        """Count an answered request; `path` is a route's, so that callers cannot make up new ones."""
        self._requests.labels(method if method in METHODS else "other", path, str(status)).inc()

    def count_fill(self, engine: str, outcome: str, seconds: float) -> None:
        """Count a fill that ended as `done`, a problem's code, or `left`."""
        self._fills.labels(engine, outcome).inc()
        if outcome == "done":
            self._seconds.observe(seconds)

    def render(self) -> bytes:
        """Return the text that `/metrics` answers with."""
        return generate_latest(self._registry)
