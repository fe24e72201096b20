"""Counters that Prometheus reads, in its text format; https://prometheus.io/docs/instrumenting/exposition_formats."""

import threading
from collections import Counter
from collections.abc import Iterator

from infilling.serving.pool import Pool

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
METHODS = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"}


class Metrics:
    """What has happened since the start. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._request_seconds = 0.0
        self._fills: Counter[tuple[str, str]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._fill_seconds = 0.0

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answered request; `path` is a route's, so that callers cannot make up new ones."""
        with self._lock:
            self._requests[method if method in METHODS else "other", path, status] += 1
            self._request_seconds += seconds

    def count_fill(self, engine: str, outcome: str, seconds: float) -> None:
        """Count a fill that ended as `done`, a problem's code, or `left`."""
        with self._lock:
            self._fills[engine, outcome] += 1
            if outcome == "done":
                self._fill_seconds += seconds
                for bound in BUCKETS:
                    self._buckets[bound] += seconds <= bound

    def render(self, pool: Pool) -> str:
        """The text that `/metrics` answers with."""
        states: Counter[str] = Counter(job.state for job in list(pool.callers.values()))
        with self._lock:
            return "\n".join([*self._render(), *_render_pool(pool, states)]) + "\n"

    def _render(self) -> Iterator[str]:
        yield "# HELP infilling_requests_total Requests answered."
        yield "# TYPE infilling_requests_total counter"
        for (method, path, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",path="{path}",status="{status}"'
            yield f"infilling_requests_total{{{labels}}} {count}"
        yield "# HELP infilling_fills_total Fills by engine and outcome."
        yield "# TYPE infilling_fills_total counter"
        for (engine, outcome), count in sorted(self._fills.items()):
            yield f'infilling_fills_total{{engine="{_escape(engine)}",outcome="{outcome}"}} {count}'
        done = sum(count for (_, outcome), count in self._fills.items() if outcome == "done")
        yield "# HELP infilling_fill_seconds Seconds at work on a fill, without the time in the queue."
        yield "# TYPE infilling_fill_seconds histogram"
        for bound in BUCKETS:
            yield f'infilling_fill_seconds_bucket{{le="{bound:g}"}} {self._buckets[bound]}'
        yield f'infilling_fill_seconds_bucket{{le="+Inf"}} {done}'
        yield f"infilling_fill_seconds_sum {self._fill_seconds:.6f}"
        yield f"infilling_fill_seconds_count {done}"


def _render_pool(pool: Pool, states: Counter[str]) -> Iterator[str]:
    gauges = {
        "jobs": ("Fills that run at the same time.", pool.jobs),
        "jobs_running": ("Fills that run now.", states["running"]),
        "jobs_waiting": ("Fills that wait.", states["waiting"]),
        "uploads": ("Requests whose body is being read.", states["uploading"]),
        "queue_limit": ("Requests that may wait.", pool.queue),
    }
    for name, (text, value) in gauges.items():
        yield f"# HELP infilling_{name} {text}"
        yield f"# TYPE infilling_{name} gauge"
        yield f"infilling_{name} {value}"


def _escape(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
