"""What operators see of the API: Prometheus metrics, and a log of one JSON object a line.

Neither ever holds a feature's value or an entity's id: both travel further than the answers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from streamflow import log
from streamflow.api.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from streamflow.api.telemetry.tracing import Trace
    from streamflow.serving.batching import Load

CONTENT_TYPE = CONTENT_TYPE_LATEST

# So often are counts handed on: a scrape is behind the other processes by this much, and requests
# that come at that moment wait for it, the longer the more there is to hand on.
HAND_ON_SECONDS = 1.0

# A pipe that several processes write to takes 4 KiB as one piece.
_LINES_TOGETHER = 12

# A client may invent methods; a metric's labels may not grow with them.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Telemetry:
    """The metrics of one app, in a registry of their own, so that two apps never collide.

    What counts answers belongs to the event loop; what tells of model, data and log, to any thread.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self._trace = trace
        self._metrics = Metrics()
        self.registry = self._metrics.registry
        self._load: Callable[[], Load] | None = None
        self._aged: set[str] = set()
        self._lines: list[str] = []
        self.model_withdrawn()  # what was never set isn't told, with several processes

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
        key_id: int | None = None,
        traceparent: bytes | None = None,
    ) -> None:
        """Count, log and trace one answer; `route` is the template (`/features/{user_id}`)."""
        method = method if method in METHODS else "other"
        version = "" if model_version is None else str(model_version)
        self._metrics.requests.add((route, method, str(status), version))
        self._metrics.request_seconds.observe((route,), seconds)
        if problem is not None:
            self._metrics.problems.add((problem,))
        facts: dict[str, Any] = {
            "request_id": request_id,
            "route": route,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 3),
            "model_version": model_version,
            "problem": problem,
            "key_id": key_id,
        }
        self._write_soon(log.json_line("request", "info", facts))
        if self._trace is not None:
            self._trace(facts, seconds, traceparent)

    def _write_soon(self, line: str) -> None:
        """At the end of the loop's turn, together with the turn's other lines: each write lets
        another thread run first."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write_lines)
        self._lines.append(line)

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        for start in range(0, len(lines), _LINES_TOGETHER):
            log.write_json_lines("".join(lines[start : start + _LINES_TOGETHER]))

    def predicted(self, version: int, scores: Sequence[tuple[int, float]]) -> None:
        """Count labels and probabilities of 1."""
        told = str(version)
        for label, probability in scores:
            self._metrics.predictions.add((told, str(label)))
            self._metrics.probabilities.observe((told,), probability)

    def refused(self, code: str) -> None:
        """Count the problem of a single id in a batch."""
        self._metrics.problems.add((code,))

    def lacked(self, feature_view: str, problem: Literal["unknown", "missing", "stale"]) -> None:
        self._metrics.feature_problems.add((feature_view, problem))

    def took(self, stage: Literal["features", "score"], seconds: float) -> None:
        self._metrics.stage_seconds.observe((stage,), seconds)

    def model_swapped(self, version: int) -> None:
        self._metrics.model_swaps.inc()
        self._metrics.production_version.set(version)

    def model_withdrawn(self) -> None:
        self._metrics.production_version.set(0)

    def data_seen(self, newest: Mapping[str, datetime], now: datetime) -> None:
        """Note each feature view's age at `now`, both in UTC; a view that is gone is dropped."""
        for gone in self._aged - newest.keys():
            self._metrics.data_age_seconds.remove(gone)
        self._aged = set(newest)
        for feature_view, timestamp in newest.items():
            age = (now - timestamp).total_seconds()
            self._metrics.data_age_seconds.labels(feature_view).set(age)

    def log_took(self, seconds: float) -> None:
        self._metrics.stage_seconds.observe_now(("log",), seconds)

    def reached(self, dependency: Literal["registry", "online_store"], there: bool) -> None:
        self._metrics.dependency_up.labels(dependency).set(int(there))

    def logged(self, written: int, dropped: int, waiting: int) -> None:
        """Note rows written and dropped since the last call, and those that wait now."""
        self._metrics.log_written_rows.inc(written)
        self._metrics.log_dropped_rows.inc(dropped)
        self._metrics.log_waiting_rows.set(waiting)

    def follow(self, load: Callable[[], Load]) -> None:
        """Look at `load` whenever all is handed on."""
        self._load = load

    def hand_on(self) -> None:
        """Let Prometheus' library, and with it the other processes, know of all up to here."""
        self._metrics.hand_on()
        if self._load is not None:
            load = self._load()
            self._metrics.questions_under_way.set(load.under_way)
            self._metrics.questions_limit.set(load.limit)
            for state, number in load.connections.items():
                self._metrics.connections.labels(state).set(number)

    async def keep_handing_on(self) -> None:
        while True:
            try:
                self.hand_on()
            except Exception as error:
                log.failure("metrics_failed", error)
            await asyncio.sleep(HAND_ON_SECONDS)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; with several processes, those of all."""
        self.hand_on()
        return self._metrics.exposition()
