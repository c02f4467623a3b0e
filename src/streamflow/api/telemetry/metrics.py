"""Every metric of the API, named by Prometheus' conventions.

Private parts of prometheus-client that are used here: `values.ValueClass` and `MutexValue` say
whether the library was loaded for one process or for several; `MmapedDict` is a process's file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, values
from prometheus_client.exposition import generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from streamflow.api.telemetry.buffered_metrics import BufferedCounter, BufferedHistogram

# Close together around the median and the 99th percentile, in seconds.
LATENCY_BUCKETS = (
    *(0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
STAGE_BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
# How the values of several processes become one.
_Mode = Literal["livesum", "livemin", "livemax", "mostrecent"]
PROBABILITY_BUCKETS = tuple(step / 20 for step in range(1, 21))


def forget_dead_processes() -> int:
    """Remove what processes that were killed had under way from the metrics of all processes.

    Returns how many rows of the prediction log were lost with them; these are counted as dropped.
    """
    lost = 0
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
        process = file.stem.rpartition("_")[2]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            # Of several new processes, the one that removes the file counts.
            with suppress(FileNotFoundError):
                file.unlink()
                if file.stem == f"gauge_livesum_{process}":
                    lost += _count_lost_rows(file.with_name(f"counter_{process}.db"))
    return lost


def _count_lost_rows(file: Path) -> int:
    """Count as dropped the rows that the process of these counters had added and not written."""
    if not file.exists():
        return 0
    counters = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    try:
        found: dict[str, tuple[str, float]] = {}
        for key, value, _ in counters.read_all_values():  # type: ignore[no-untyped-call]
            found[json.loads(key)[1]] = key, value
        added, written, dropped = (
            found.get(f"streamflow_prediction_log_{what}_rows_total", ("", 0.0))
            for what in ("added", "written", "dropped")
        )
        lost = added[1] - written[1] - dropped[1]
        if lost > 0 and dropped[0]:
            counters.write_value(dropped[0], dropped[1] + lost, 0.0)  # type: ignore[no-untyped-call]
        return max(0, int(lost))
    finally:
        counters.close()  # type: ignore[no-untyped-call]


class Metrics:
    """Every metric, in a registry of its own, so that the metrics of two apps never collide."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, documentation: str, *labels: str) -> BufferedCounter:
            return BufferedCounter(f"streamflow_{name}", documentation, labels, registry)

        def histogram(
            name: str, documentation: str, label: str, buckets: Sequence[float]
        ) -> BufferedHistogram:
            return BufferedHistogram(
                f"streamflow_{name}", documentation, [label], buckets, registry
            )

        def gauge(mode: _Mode, name: str, documentation: str, *labels: str) -> Gauge:
            name = f"streamflow_{name}"
            return Gauge(name, documentation, labels, registry=registry, multiprocess_mode=mode)

        self.requests = counter(
            "requests",
            "Requests answered, by route template and the model version that answered.",
            *("route", "method", "status", "version"),
        )
        self.request_seconds = histogram(
            "request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            "route",
            LATENCY_BUCKETS,
        )
        self.stage_seconds = histogram(
            "stage_duration_seconds",
            "Time that questions answered together wait for their features and their score, and "
            "that rows written together take into the prediction log.",
            "stage",
            STAGE_BUCKETS,
        )
        self.predictions = counter(
            "predictions",
            "Predictions given, by model version and predicted label.",
            *("version", "label"),
        )
        self.probabilities = histogram(
            "prediction_probability",
            "Probabilities given, by model version.",
            "version",
            PROBABILITY_BUCKETS,
        )
        self.problems = counter("problems", "Problem answers, by code.", "code")
        self.feature_problems = counter(
            "feature_problems",
            "Answers that lacked something of a feature view: the entity (unknown), a needed value "
            "(missing), or one new enough (stale).",
            *("feature_view", "problem"),
        )
        self.ids_under_way = gauge("livesum", "questions_under_way", "Ids that are being answered.")
        self.ids_limit = gauge(
            "livesum",
            "questions_limit",
            "Ids under way beyond which more are refused, as it stands now.",
        )
        self.connections = gauge(
            "livesum",
            "online_store_connections",
            "Connections to the online store: idle, busy or away.",
            "state",
        )
        self.dependency_up = gauge(
            "livemin",
            "dependency_up",
            "Whether the last look reached it: 1, else 0.",
            "dependency",
        )
        self.registry_polled = gauge(
            "livemin",
            "registry_last_poll_timestamp_seconds",
            "When the registry was last looked at, since 1970; of several processes, the oldest.",
        )
        self.model_swaps = Counter(
            "streamflow_model_swaps",
            "Times that another model took over without a restart.",
            registry=registry,
        )
        self.production_version = gauge(
            "mostrecent",
            "production_version",
            "The model version that answers; 0 when there is none.",
        )
        self.challenger_version = gauge(
            "mostrecent",
            "challenger_version",
            "The model version in Staging that scores beside the one that answers; 0 without one.",
        )
        self.challenger_refused = gauge(
            "livemax",
            "challenger_refused",
            "Whether there is a version in Staging that can't be served: 1, else 0.",
        )
        self.canary_ratio = gauge(
            "mostrecent",
            "canary_ratio",
            "Share of the entities, from 0 to 1, that the version in Staging answers.",
        )
        self.shadow_rows = Counter(
            "streamflow_shadow_rows",
            "Predictions that the version in Staging scored too: same label, other label, failed "
            "(it has none where the answer has one), no answer (there was nothing to compare), or "
            "dropped (too many waited, or the scores couldn't be written).",
            ["outcome"],
            registry=registry,
        )
        self.canary_answers = Counter(
            "streamflow_canary_answers",
            "Answers to the canary's entities, by whose answer it was: challenger, or production "
            "in its place.",
            ["answered_by"],
            registry=registry,
        )
        self.production_ungated = gauge(
            "livemax",
            "production_ungated",
            "Whether what is in Production isn't served, because no promotion brought it there: 1, "
            "else 0.",
        )
        self.events_waiting = gauge(
            "livemax", "events_waiting", "Events that are still to be delivered to the webhook."
        )
        self.events_oldest_seconds = gauge(
            "livemax",
            "events_oldest_seconds",
            "For how long the oldest event that waits has waited; 0 when none does.",
        )
        self.monitored_month = gauge(
            "livemax",
            "monitored_month_timestamp_seconds",
            "The end of the newest month that was monitored, in seconds since 1970; 0 without one.",
        )
        self.monitoring_alarms = gauge(
            "mostrecent",
            "monitoring_alarms",
            "Alarms of the newest monitoring, by severity.",
            "severity",
        )
        self.feature_shift = gauge(
            "mostrecent",
            "feature_shift",
            "Population stability index of each feature against training (newest monitoring).",
            "feature",
        )
        self.absent_entities = gauge(
            "mostrecent",
            "absent_entities",
            "Entities in history that the newest month in the online store lacks.",
        )
        self.departed_entities = gauge(
            "mostrecent",
            "departed_entities",
            "Absent entities that are answered `departed` by the use case's rule; 0 without one.",
        )
        self.data_age_seconds = gauge(
            "mostrecent",
            "data_age_seconds",
            "Age of the newest month in the online store, now: since its event time.",
            "feature_view",
        )
        self.log_added_rows = Counter(
            "streamflow_prediction_log_added_rows",
            "Rows for the prediction log; those that are neither written nor dropped wait.",
            registry=registry,
        )
        self.log_written_rows = Counter(
            "streamflow_prediction_log_written_rows",
            "Rows written to the prediction log.",
            registry=registry,
        )
        self.log_dropped_rows = Counter(
            "streamflow_prediction_log_dropped_rows",
            "Rows that the prediction log lost: more waited than it holds, they were refused, or "
            "their process was killed.",
            registry=registry,
        )
        self.log_waiting_rows = gauge(
            "livesum",
            "prediction_log_waiting_rows",
            "Rows that wait to be written to the prediction log.",
        )

    def flush(self) -> None:
        """Publish what is buffered, to this process's and the other processes' metrics."""
        for counter in (self.requests, self.predictions, self.problems, self.feature_problems):
            counter.flush()
        for histogram in (self.request_seconds, self.stage_seconds, self.probabilities):
            histogram.flush()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; with several processes, those of all."""
        # The library reads PROMETHEUS_MULTIPROC_DIR when it is loaded. Feast may set it later.
        if values.ValueClass is values.MutexValue:
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return generate_latest(every)
