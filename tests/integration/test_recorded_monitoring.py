"""Monitorings in their tables, and the events of their alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from tests.statements import execute

from streamflow.api.telemetry.background import MonitoringFollower
from streamflow.monitoring import recorded
from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.recorded import Monitored, NotMonitored
from streamflow.monitoring.retraining import Advice
from streamflow.pipeline.withdraw import withdraw
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
    assert recorded.newest(database, MARCH.model, MARCH.as_of) == first
    assert replace(first, monitoring_id=None) == MARCH
    later = replace(MARCH, made_at=datetime(2024, 5, 1, tzinfo=UTC))
    assert recorded.record(database, later) == first
    changed = recorded.record(database, replace(later, alarms=()))
    assert recorded.newest(database, MARCH.model, MARCH.as_of, version=1) == changed != first
    assert recorded.months_monitored(database, MARCH.model) == [MARCH.as_of]


def test_the_newest_month_is_one_that_was_not_withdrawn(ready: Platform) -> None:
    database, use_case = ready.database, ready.use_case
    assert recorded.newest_month(database, use_case) is None
    february = recorded.record(database, replace(MARCH, as_of=date(2024, 2, 29)))
    march = recorded.record(database, MARCH)
    assert recorded.newest_month(database, use_case) == (MARCH.as_of, march.monitoring_id)
    execute(
        database,
        "INSERT INTO streamflow.ingestions "
        "(use_case, as_of, recorded_at, ingested_at, ingested_by, tables) "
        "VALUES (%s, %s, %s, %s, 'test', '{}')",
        [use_case.name, MARCH.as_of, NOW, NOW],
    )
    assert recorded.newest_month(database, use_case) == (MARCH.as_of, march.monitoring_id)
    withdraw(ready, 1, "another year's", NOW, "test")
    assert recorded.newest_month(database, use_case) == (february.as_of, february.monitoring_id)


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
        self.absent: tuple[int, int] | None = None

    def record_monitoring(self, *said: object) -> None:
        self.said.append(said)

    def record_absent_entities(self, absent: int, departed: int) -> None:
        self.absent = absent, departed

    def record_events_waiting(self, waiting: int, oldest_seconds: float) -> None:
        raise AssertionError


def test_the_api_publishes_the_newest_monitoring_once(ready: Platform) -> None:
    metrics = Published()
    follower = MonitoringFollower(ready.database, ready.use_case, metrics)
    follower.poll()
    assert (metrics.said, metrics.absent) == ([], None)
    execute(
        ready.database,
        "INSERT INTO streamflow.absent_entities (use_case, month, entities, absent, departed) "
        "VALUES (%s, '2024-03-31', 100, 7, 2)",
        [ready.use_case.name],
    )
    recorded.record(ready.database, MARCH)
    follower.poll()
    follower.poll()
    end = datetime(2024, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert metrics.said == [(end, {"critical": 2, "warning": 0}, {"hours": 0.5})]
    assert metrics.absent == (7, 2)
    recorded.record(ready.database, replace(MARCH, alarms=()))
    follower.poll()
    assert metrics.said[1:] == [(end, {"critical": 0, "warning": 0}, {"hours": 0.5})]
