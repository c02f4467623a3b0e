"""Records what the API does: Prometheus metrics, traces, and a line of JSON per request.

None of them ever holds a feature's value or an entity's id: they travel further than responses do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from streamflow import log
from streamflow.api.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from streamflow.api.request import RequestRecord
    from streamflow.api.telemetry.tracing import Trace
    from streamflow.serving.batching import Load
    from streamflow.serving.challenger.scored_rows import Comparison

CONTENT_TYPE = CONTENT_TYPE_LATEST

# A scrape is behind the other processes by this much. Requests that come during a flush wait for
# it, the longer the more there is to publish.
FLUSH_SECONDS = 1.0

# A pipe that several processes write to takes 4 KiB as one piece.
_LINES_PER_WRITE = 12

# A client may invent methods; a metric's labels may not grow with them.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Recorder:
    """Records for one app.

    `record_request`, `record_predictions`, `record_stage` and the methods that count belong to the
    event loop; the others may be called by any thread.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self._trace = trace
        self._metrics = Metrics()
        self.registry = self._metrics.registry
        self._load: Callable[[], Load] | None = None
        self._feature_views: set[str] = set()
        self._features: set[str] = set()
        self._lines: list[str] = []
        # With several processes a gauge that was never set isn't in the metrics.
        self.model_withdrawn()
        self.record_challenger(0, 0.0)
        # The first rows of a counter that isn't there yet are no increase to Prometheus.
        self.record_shadow_dropped(0)

    def record_request(self, request: RequestRecord, status: int, seconds: float) -> None:
        """Count, log and trace a request that has ended with `status` after `seconds`."""
        method = request.method if request.method in METHODS else "other"
        version = "" if request.model_version is None else str(request.model_version)
        route = str(request.route)
        self._metrics.requests.add((route, method, str(status), version))
        self._metrics.request_seconds.observe((route,), seconds)
        if request.problem is not None:
            self._metrics.problems.add((request.problem,))
        facts: dict[str, object] = {
            "request_id": request.request_id,
            "route": route,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 3),
            "model_version": request.model_version,
            "problem": request.problem,
            "key_id": request.key_id,
        }
        self._write_later(log.json_line("request", "info", facts))
        if self._trace is not None:
            self._trace(facts, seconds, request.traceparent)

    def _write_later(self, line: str) -> None:
        """Write the line at the end of the loop's turn, together with the turn's other lines: each
        write lets another thread run first."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write_lines)
        self._lines.append(line)

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        for start in range(0, len(lines), _LINES_PER_WRITE):
            log.write_json_lines("".join(lines[start : start + _LINES_PER_WRITE]))

    def record_predictions(self, version: int, scores: Sequence[tuple[int, float]]) -> None:
        """Count labels and probabilities of 1."""
        label_version = str(version)
        for label, probability in scores:
            self._metrics.predictions.add((label_version, str(label)))
            self._metrics.probabilities.observe((label_version,), probability)

    def count_problem(self, code: str) -> None:
        """Count the problem of a single id in a batch."""
        self._metrics.problems.add((code,))

    def count_feature_problem(
        self, feature_view: str, problem: Literal["unknown", "missing", "stale"]
    ) -> None:
        """Count a feature view that kept an entity from its prediction."""
        self._metrics.feature_problems.add((feature_view, problem))

    def record_stage(self, stage: Literal["features", "score"], seconds: float) -> None:
        """Record the seconds that ids predicted together spent in a stage."""
        self._metrics.stage_seconds.observe((stage,), seconds)

    def model_swapped(self, version: int) -> None:
        """Record that another version has taken over."""
        self._metrics.model_swaps.inc()
        self._metrics.production_version.set(version)

    def model_withdrawn(self) -> None:
        """Record that no version is served."""
        self._metrics.production_version.set(0)

    def record_challenger(self, version: int, canary_share: float, refused: bool = False) -> None:
        """Record the version in Staging that scores, 0 without one, the percentage that it answers,
        and whether the one in Staging can't be served."""
        self._metrics.challenger_version.set(version)
        self._metrics.challenger_refused.set(int(refused))
        self._metrics.canary_ratio.set(canary_share / 100)

    def record_shadow_scores(self, counts: Comparison) -> None:
        """Record what came of rows that the version in Staging scored beside their answers."""
        rows = self._metrics.shadow_rows
        for outcome, number in (
            ("same label", counts.compared - counts.changed),
            ("other label", counts.changed),
            ("failed", counts.failed),
            ("no answer", counts.rows - counts.compared - counts.failed),
        ):
            if number:
                rows.labels(outcome).inc(number)

    def record_shadow_dropped(self, rows: int) -> None:
        """Record predictions whose shadow scores weren't made or written."""
        self._metrics.shadow_rows.labels("dropped").inc(rows)

    def record_canary_answers(self, challenger: int, production: int) -> None:
        """Record answers to the canary's entities, by whose they were."""
        answers = self._metrics.canary_answers
        answers.labels("challenger").inc(challenger)
        answers.labels("production").inc(production)

    def record_ungated(self, ungated: bool) -> None:
        """Record whether what is in Production isn't served, because no gate has seen it."""
        self._metrics.production_ungated.set(int(ungated))

    def record_events_waiting(self, waiting: int, oldest_seconds: float) -> None:
        """Record how many events wait for their delivery, and for how long the oldest one has."""
        self._metrics.events_waiting.set(waiting)
        self._metrics.events_oldest_seconds.set(oldest_seconds)

    def record_monitoring(
        self, month: datetime, alarms: Mapping[str, int], shifts: Mapping[str, float]
    ) -> None:
        """Record the newest month that was monitored (UTC), its alarms by severity, and how far
        each feature has moved; a feature that is gone is dropped."""
        self._metrics.monitored_month.set(month.timestamp())
        for severity, count in alarms.items():
            self._metrics.monitoring_alarms.labels(severity).set(count)
        for gone in self._features - shifts.keys():
            self._metrics.feature_shift.remove(gone)
        self._features = set(shifts)
        for feature, index in shifts.items():
            self._metrics.feature_shift.labels(feature).set(index)

    def record_absent_entities(self, absent: int, departed: int) -> None:
        """Record how many entities the newest month lacks, and how many of them have departed."""
        self._metrics.absent_entities.set(absent)
        self._metrics.departed_entities.set(departed)

    def record_data_age(self, newest: Mapping[str, datetime], now: datetime) -> None:
        """Record each feature view's age at `now`, both in UTC; a view that is gone is dropped."""
        for gone in self._feature_views - newest.keys():
            self._metrics.data_age_seconds.remove(gone)
        self._feature_views = set(newest)
        for feature_view, timestamp in newest.items():
            age = (now - timestamp).total_seconds()
            self._metrics.data_age_seconds.labels(feature_view).set(age)

    def record_log_seconds(self, seconds: float) -> None:
        """Record the seconds that rows written together took into the prediction log."""
        self._metrics.stage_seconds.publish(("log",), seconds)

    def record_registry_poll(self) -> None:
        """Record that the registry was looked at just now, whether it was reached or not."""
        self._metrics.registry_polled.set_to_current_time()

    def record_dependency(
        self, dependency: Literal["registry", "online_store"], reached: bool
    ) -> None:
        """Record whether the last poll reached the dependency."""
        self._metrics.dependency_up.labels(dependency).set(int(reached))

    def record_log_added(self, rows: int) -> None:
        """Record rows for the prediction log, at once: a killed process publishes nothing more."""
        self._metrics.log_added_rows.inc(rows)

    def record_log_rows(self, written: int, dropped: int, waiting: int) -> None:
        """Record rows written and dropped since the last call, and those that wait now."""
        self._metrics.log_written_rows.inc(written)
        self._metrics.log_dropped_rows.inc(dropped)
        self._metrics.log_waiting_rows.set(waiting)

    def read_load_from(self, load: Callable[[], Load]) -> None:
        """Call `load` at each flush, and publish what it returns."""
        self._load = load

    def flush(self) -> None:
        """Publish what is buffered, to this process's and the other processes' metrics."""
        self._metrics.flush()
        if self._load is not None:
            load = self._load()
            self._metrics.ids_under_way.set(load.under_way)
            self._metrics.ids_limit.set(load.limit)
            for state, number in load.connections.items():
                self._metrics.connections.labels(state).set(number)

    async def flush_periodically(self) -> None:
        """Flush every FLUSH_SECONDS until the task is cancelled."""
        while True:
            try:
                self.flush()
            except Exception as error:
                log.failure("metrics_failed", error)
            await asyncio.sleep(FLUSH_SECONDS)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; with several processes, those of all."""
        self.flush()
        return self._metrics.exposition()
