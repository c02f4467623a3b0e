"""What the API does beside its requests: deliver events, publish the newest monitoring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Protocol

from streamflow.history import months
from streamflow.monitoring import recorded
from streamflow.monitoring.alarm import TRAINING
from streamflow.monitoring.recorded import Monitored
from streamflow.platform import Platform
from streamflow.polling import PollingThread
from streamflow.postgres.database import Database
from streamflow.promotion.events.delivery import Metrics as EventMetrics
from streamflow.promotion.events.delivery import event_delivery
from streamflow.use_case import UseCase

# A month is monitored once, or a few times.
POLL_SECONDS = 30.0


class Metrics(EventMetrics, Protocol):
    """What is published."""

    def record_monitoring(
        self, month: datetime, alarms: dict[str, int], shifts: dict[str, float]
    ) -> None:
        """The month that was monitored last (UTC), its alarms by severity, and each feature's
        population stability index."""

    def record_absent_entities(self, absent: int, departed: int) -> None:
        """How many entities the newest month lacks, and how many of them have departed."""


class Background(Protocol):
    """Something that runs from the start of the API to its end."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it."""


class MonitoringFollower:
    """A thread that publishes the newest monitoring of a use case's model, and how many entities
    are absent. A look at the same monitoring again reads a row."""

    def __init__(
        self,
        database: Database,
        use_case: UseCase,
        metrics: Metrics,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._use_case = use_case
        self._metrics = metrics
        self._published: int | None = None
        self._thread = PollingThread("monitoring", self.poll, poll_seconds, database.close)

    def start(self) -> None:
        """Start following."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._thread.stop()

    def poll(self) -> None:
        """Publish how many entities are absent, and the newest monitoring, unless it was."""
        if absent := months.recorded_absent_entities(self._database, self._use_case):
            self._metrics.record_absent_entities(absent.absent, absent.departed or 0)
        found = recorded.newest_month(self._database, self._use_case)
        if found is None or found[1] == self._published:
            return
        made = recorded.newest(self._database, self._use_case.registered_model, found[0])
        month = datetime.combine(made.as_of, time.max, tzinfo=UTC)
        self._metrics.record_monitoring(month, _alarms(made), _shifts(made))
        self._published = found[1]


def _alarms(made: Monitored) -> dict[str, int]:
    return {
        severity: sum(one.severity == severity for one in made.alarms)
        for severity in ("critical", "warning")
    }


def _shifts(made: Monitored) -> dict[str, float]:
    return {
        one.what: one.figures["psi"]
        for one in made.of("feature")
        if one.compared_with == TRAINING and "psi" in one.figures
    }


def background(
    platform: Platform, metrics: Metrics, now: Callable[[], datetime]
) -> list[Background]:
    """What runs beside the requests; the delivery of events only with a webhook.

    It closes the platform's database at its end. Raises InvalidSettings.
    """
    delivery = event_delivery(platform, metrics, now)
    follower = MonitoringFollower(platform.database, platform.use_case, metrics)
    return [follower] if delivery is None else [delivery, follower]
