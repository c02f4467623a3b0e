"""Monitorings in their tables, and the events of their alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from streamflow.api.telemetry.background import MonitoringFollower
from streamflow.monitoring import recorded
from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.recorded import Monitored, NotMonitored
from streamflow.monitoring.retraining import Advice
from streamflow.platform import Platform
from streamflow.promotion.events.delivery import backlog, deliver_next
from streamflow.promotion.events.webhook import Attempt

NOW = datetime(2024, 4, 1, 8, tzinfo=UTC)
ALARM = Alarm("unit", "hours", "critical", 0.1, 0.02, "training", "hours: 60 times larger.")
MARCH = Monitored(
    model="streamflow_churn",
    version=1,
    run_id="a run",
    model_hash="a hash",
    as_of=date(2024, 3, 31),
    known_at=NOW,
    made_at=NOW,
    training_months=(date(2024, 1, 31),),
    month_before=date(2024, 2, 29),
    entities=100,
    tests=20,
    retraining=Advice("proposed", "unit", "Training again is proposed."),
    alarms=(ALARM, replace(ALARM, rule="shift")),
    figures=(Figure("feature", "hours", "training", {"psi": 0.5, "shares": [0.5, 0.5]}),),
)


def test_a_monitoring_is_read_as_it_was_recorded_and_the_same_again_adds_nothing(
    ready: Platform,
) -> None:
    database = ready.database
    with pytest.raises(NotMonitored, match="streamflow monitor --as-of 2024-03-31"):
        recorded.newest(database, MARCH.model, MARCH.as_of)
    first = recorded.record(database, MARCH)
    assert recorded.newest(database, MARCH.model) == first
    assert replace(first, monitoring_id=None) == MARCH
    later = replace(MARCH, made_at=datetime(2024, 5, 1, tzinfo=UTC))
    assert recorded.record(database, later) == first
    changed = recorded.record(database, replace(later, alarms=()))
    assert recorded.newest(database, MARCH.model, version=1) == changed != first
    assert recorded.months_monitored(database, MARCH.model) == [MARCH.as_of]


class Webhook:
    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []

    def send(self, event_id: str, payload: dict[str, object], now: datetime) -> Attempt:
        self.sent.append(payload)
        return Attempt(True)


def test_each_alarm_is_an_event_that_is_delivered_once(ready: Platform) -> None:
    recorded.record(ready.database, MARCH)
    assert backlog(ready.database, MARCH.model).waiting == 2
    webhook = Webhook()
    while deliver_next(ready.database, MARCH.model, webhook, lambda: NOW):  # type: ignore[arg-type]
        pass
    assert [one["type"] for one in webhook.sent] == ["model.alarm_raised"] * 2
    (first, second) = (one["data"] for one in webhook.sent)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["reason"] == ALARM.sentence
    assert (first["rule"], second["rule"]) == ("unit", "shift")
    assert backlog(ready.database, MARCH.model).waiting == 0


class Published:
    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def record_monitoring(self, *said: object) -> None:
        self.said.append(said)

    def record_events_waiting(self, waiting: int, oldest_seconds: float) -> None:
        raise AssertionError


def test_the_api_publishes_the_newest_monitoring_once(ready: Platform) -> None:
    metrics = Published()
    follower = MonitoringFollower(ready.database, MARCH.model, metrics)
    follower.poll()
    assert metrics.said == []
    recorded.record(ready.database, MARCH)
    follower.poll()
    follower.poll()
    end = datetime(2024, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert metrics.said == [(end, {"critical": 2, "warning": 0}, {"hours": 0.5})]
    recorded.record(ready.database, replace(MARCH, alarms=()))
    follower.poll()
    assert metrics.said[1:] == [(end, {"critical": 0, "warning": 0}, {"hours": 0.5})]
