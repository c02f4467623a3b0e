"""What operators see of the API: Prometheus metrics, and a log of one JSON object a line.

Neither ever holds a feature's value or an entity's id: both travel further than the answers do.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic_core import to_json

_streams: list[TextIO] = []
CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a quarter of a millisecond, what one prediction should cost, to what nobody waits for.
LATENCY_BUCKETS = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)

# A client may invent methods; a metric's labels may not grow with them.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Telemetry:
    """The metrics of one app, in a registry of their own, so that two apps never collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "streamflow_requests",
            "Requests answered, by route template.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "streamflow_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._predictions = Counter(
            "streamflow_predictions",
            "Predictions given, by model version and predicted label.",
            ["version", "label"],
            registry=self.registry,
        )
        self._problems = Counter(
            "streamflow_problems",
            "Problem answers, by code.",
            ["code"],
            registry=self.registry,
        )
        self._swaps = Counter(
            "streamflow_model_swaps",
            "Times that another model took over without a restart.",
            registry=self.registry,
        )
        self._version = Gauge(
            "streamflow_production_version",
            "The model version that answers; 0 when there is none.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self._data_age = Gauge(
            "streamflow_data_age_seconds",
            "Age of the newest month in the online store, now.",
            ["feature_view"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self._aged: set[str] = set()

    def request_answered(
        self,
        *,
        request_id: str,
        route: str,
        method: str,
        status: int,
        seconds: float,
        model_version: int | None,
        problem: str | None,
    ) -> None:
        """Count and log one answer; `route` is the template (`/features/{user_id}`)."""
        method = method if method in METHODS else "other"
        # Finding a metric by its labels takes longer than counting; there are few of them.
        kind = route, method, status
        counted = self._counted.get(kind)
        if counted is None:
            counted = self._counted[kind] = (
                self._requests.labels(route, method, str(status)),
                self._seconds.labels(route),
            )
        counted[0].inc()
        counted[1].observe(seconds)
        if problem is not None:
            self._problems.labels(problem).inc()
        log(
            "request",
            request_id=request_id,
            route=route,
            method=method,
            status=status,
            ms=round(seconds * 1000, 3),
            model_version=model_version,
            problem=problem,
        )

    def predicted(self, version: int, label: int, count: int = 1) -> None:
        self._predictions.labels(str(version), str(label)).inc(count)

    def refused(self, code: str, count: int = 1) -> None:
        """Count problems of single ids in a batch."""
        self._problems.labels(code).inc(count)

    def model_swapped(self, version: int) -> None:
        self._swaps.inc()
        self._version.set(version)

    def model_withdrawn(self) -> None:
        self._version.set(0)

    def data_seen(self, newest: Mapping[str, datetime], now: datetime) -> None:
        """Note each feature view's age at `now`, both in UTC; a view that is gone is dropped."""
        for gone in self._aged - newest.keys():
            self._data_age.remove(gone)
        self._aged = set(newest)
        for feature_view, timestamp in newest.items():
            self._data_age.labels(feature_view).set((now - timestamp).total_seconds())

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; with several processes, those of all."""
        # Not by PROMETHEUS_MULTIPROC_DIR, which counted when the library was loaded: Feast sets it
        # at any time.
        if values.ValueClass is values.MutexValue:
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return generate_latest(every)


def log(event: str, *, level: str = "info", **facts: Any) -> None:
    """Write an event with its facts as one JSON line; where to is decided by `log_to`.

    It's ours and not the standard library's, which takes three times as long, on every request.
    """
    if _streams:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": level, "event": event, **facts}
        # One write, so that lines of several threads never mix.
        _streams[0].write(to_json(line, fallback=str).decode() + "\n")
        _streams[0].flush()


def log_failure(event: str, error: BaseException, **facts: Any) -> None:
    """Log an unexpected error by its type and the lines it passed through.

    Its message is left out: drivers put the values of rows into theirs.
    """
    log(event, level="error", error=type(error).__name__, lines=lines_of(error), **facts)


def lines_of(error: BaseException) -> list[str]:
    """Where an error came from, outermost first: `file:line function`."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


def log_to(stream: TextIO = sys.stderr) -> None:
    """Send the API's log to `stream` as JSON lines; calling it again moves it there."""
    _streams[:] = [stream]
