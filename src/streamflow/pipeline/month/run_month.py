"""A month from its files to its report: each step skips what is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from streamflow.history.months import learned_at, months
from streamflow.monitoring.alarm import Alarm
from streamflow.pipeline.month import load_month
from streamflow.pipeline.month.challenger import train_challenger
from streamflow.pipeline.month.monitor_month import monitor_month
from streamflow.pipeline.month.month_lock import one_month
from streamflow.pipeline.month.month_record import MonthRecord
from streamflow.pipeline.month.promote_challenger import check_gates, promote_challenger
from streamflow.pipeline.month.report import report
from streamflow.pipeline.month.rules.promotion_policy import Policy
from streamflow.pipeline.month.score_month import explain_month, score_month
from streamflow.pipeline.month.step import Step
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.promotion.promoter import promoter
from streamflow.promotion.rival import rival

# Called with each step as it ends.
Ended = Callable[[Step], None]


@dataclass(frozen=True)
class Month:
    """A month that is done.

    `known_at` (UTC) is when the newest data of this month or one before was recorded. `version`
    serves now, None if none does; `challenger` was trained in this month, if one was. `report` is
    the file of the report.
    """

    model: str
    as_of: date
    known_at: datetime
    version: int | None
    challenger: int | None
    steps: tuple[Step, ...]
    alarms: tuple[Alarm, ...] = ()
    report: Path | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was done that hadn't been done before."""
        return any(one.changed for one in self.steps)

    @property
    def refused(self) -> bool:
        """Whether the gates kept the challenger from Production."""
        return any(one.outcome == "refused" for one in self.steps)


def _score(
    platform: Platform,
    as_of: date,
    record: MonthRecord,
    who: str,
    now: datetime,
    progress: Progress,
) -> Step | None:
    """Score everyone by the version that serves, None if none does."""
    if rival(platform) is None:
        return None
    return score_month(platform, as_of, record, who, now, progress)


def run_month(
    platform: Platform,
    folder: Path,
    as_of: date,
    policy: Policy,
    user: str,
    now: datetime,
    progress: Progress = silent,
    ended: Ended = lambda step: None,
) -> Month:
    """Do what is left to do of the month whose files are in `folder`, and say what was done.

    `user` does it; promotions are in the name of the key in the settings, if there is one. `ended`
    is called with each step. After an error or a kill, the same call goes on from there.
    Raises MonthUnderWay, NotArrived if the files may still come, AccessRefused, and what the steps
    do.
    """
    database, model = platform.database, platform.registry.model
    with one_month(database, model):
        who = promoter(platform, "run-month", user, now)
        ingested = load_month.ingest_month(platform, folder, as_of, now, user, progress)
        known_at = min(learned_at(database, platform.use_case, as_of) or now, now)
        is_past = as_of < months(database, platform.use_case)[-1]
        record = MonthRecord(database, model, as_of, known_at, now, user, is_past)
        steps: list[Step] = []

        def end(step: Step) -> Step:
            record.add(step)
            steps.append(step)
            ended(step)
            return step

        end(ingested)
        end(load_month.materialize_month(platform, as_of, known_at, now, progress))
        # By the version that serves: what it says, and what comes of it, is monitored.
        scored = _score(platform, as_of, record, user, now, progress)
        monitored = monitor_month(platform, as_of, record, now, progress)
        if monitored is not None:
            end(monitored.step)
        advice = monitored.advice if monitored is not None else None
        trained = end(train_challenger(platform, as_of, record, now, user, progress, advice))
        gates = end(check_gates(platform, as_of, record, who, now, progress))
        end(promote_challenger(platform, as_of, gates, policy, who, now, progress))
        serves, file = rival(platform), None
        if serves is not None:
            again = score_month(platform, as_of, record, user, now, progress)
            was_changed = again.changed or (scored is not None and scored.changed)
            end(replace(again, changed=was_changed))
            if monitored is None and (
                monitored := monitor_month(platform, as_of, record, now, progress)
            ):
                end(monitored.step)
            end(explain_month(platform, as_of, user, now, progress))
            reported = report(platform, as_of, None, progress)
            file = reported.file
            end(Step("report", "done", f"reports/{file.name}", reported.changed))
    return Month(
        model,
        as_of,
        known_at,
        serves.version if serves is not None else None,
        trained.facts.get("version"),
        tuple(steps),
        monitored.alarms if monitored is not None else (),
        file,
    )
