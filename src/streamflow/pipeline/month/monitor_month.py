"""A month monitored once for what is known of it and the version that serves."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

from streamflow.errors import UnknownVersion
from streamflow.monitoring import recorded
from streamflow.monitoring.alarm import Alarm
from streamflow.monitoring.recorded import Monitored, NotMonitored
from streamflow.monitoring.retraining import Advice
from streamflow.pipeline.month.monitor import monitor
from streamflow.pipeline.month.month_record import MonthRecord
from streamflow.pipeline.month.step import Step
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.promotion.rival import rival
from streamflow.registry.records import ModelVersion


@dataclass(frozen=True)
class MonitoredMonth:
    """The step, with the alarms that it raised and its advice, now or before."""

    step: Step
    alarms: tuple[Alarm, ...]
    advice: Advice


def monitor_month(
    platform: Platform,
    as_of: date,
    record: MonthRecord,
    now: datetime,
    progress: Progress,
) -> MonitoredMonth | None:
    """Monitor the month by the version that serves, None if none does.

    It is the version that served when the month came: a challenger of this month, which has learned
    from it, doesn't take its place. It is done once for what is known. Raises what `monitor` does.
    """
    known_at = record.known_at
    version = _version(platform, record)
    if version is None:
        return None
    made, changed = _before(platform, version, as_of, known_at), False
    if made is None:
        done = monitor(platform, as_of, now, progress, known_at, version.version)
        made, changed = done.monitored, done.added
    counted = {0: "no alarm", 1: "1 alarm"}.get(len(made.alarms), f"{len(made.alarms)} alarms")
    step = Step(
        "monitor",
        "done",
        f"version {made.version}: {counted}. {made.retraining.sentence}",
        changed,
        {"version": made.version, "alarms": [one.sentence for one in made.alarms]},
    )
    return MonitoredMonth(step, made.alarms, made.retraining)


def _version(platform: Platform, record: MonthRecord) -> ModelVersion | None:
    before = record.before("monitor")
    if before is not None:
        with suppress(UnknownVersion):  # it was pruned
            return platform.registry.version(before.facts["version"])
    return rival(platform)


def _before(
    platform: Platform, version: ModelVersion, as_of: date, known_at: datetime
) -> Monitored | None:
    with suppress(NotMonitored):
        made = recorded.newest(platform.database, version.name, as_of, version.version)
        if (made.model_hash, made.known_at) == (version.model_hash, known_at):
            return made
    return None
