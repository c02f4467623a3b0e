"""Monitorings as they are kept: figures, alarms and advice, in append-only tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime

from streamflow.errors import StreamFlowError
from streamflow.hashes import Sha256
from streamflow.history.withdrawals.known_rows import month_stands
from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.retraining import Advice
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase


class NotMonitored(StreamFlowError):
    """A month of which there is no monitoring."""


@dataclass(frozen=True)
class Monitored:
    """A version's monitoring of the month `as_of`, as known at `known_at`. Times are in UTC.

    It is compared with the months that the version learned from and with the month before, None if
    there is none. `alarms` are in the order in which they are told. `tests` is how many tests
    share the rate of false alarms.
    """

    model: str
    version: int
    run_id: str
    model_hash: str
    as_of: date
    known_at: datetime
    made_at: datetime
    training_months: tuple[date, ...]
    month_before: date | None
    entities: int
    tests: int
    retraining: Advice
    alarms: tuple[Alarm, ...]
    figures: tuple[Figure, ...]
    monitoring_id: int | None = None

    @property
    def content_hash(self) -> Sha256:
        """Of what it says, whenever it was made."""
        said = [
            [asdict(one) for one in self.figures],
            [asdict(one) for one in self.alarms],
            asdict(self.retraining),
            self.entities,
            [str(month) for month in self.training_months],
            str(self.month_before),
        ]
        return hashlib.sha256(_json(said).encode()).hexdigest()

    def of(self, subject: str) -> list[Figure]:
        """The figures of the subject, in their order."""
        return [one for one in self.figures if one.subject == subject]


def newest(database: Database, model: str, as_of: date, version: int | None = None) -> Monitored:
    """The newest monitoring of the registered model's month; of that version, if given.

    Raises NotMonitored.
    """
    found = database.rows("newest_monitoring", model=model, as_of=as_of, version=version)
    if not found:
        by_version = "" if version is None else f" by version {version}"
        raise NotMonitored(
            f"There is no monitoring of AS_OF {as_of} of {model!r}{by_version}.",
            f"Make one: `streamflow monitor --as-of {as_of}`.",
        )
    (row,) = found
    number = row.pop("monitoring_id")
    del row["content_hash"]
    return Monitored(
        **{
            **row,
            "training_months": tuple(row["training_months"]),
            "retraining": Advice(**row["retraining"]),
        },
        monitoring_id=number,
        alarms=tuple(Alarm(**one) for one in database.rows("alarms", monitoring_id=number)),
        figures=tuple(
            Figure(**one) for one in database.rows("monitored_figures", monitoring_id=number)
        ),
    )


def newest_month(database: Database, use_case: UseCase) -> tuple[date, int] | None:
    """The newest month of the use case that was monitored and not withdrawn since, and the number
    of its newest monitoring; None without one."""
    names = {"month_stands": month_stands(use_case.name, "monitorings")}
    for row in database.rows("newest_monitored_month", names, model=use_case.registered_model):
        return row["as_of"], row["monitoring_id"]
    return None


def record(database: Database, made: Monitored) -> Monitored:
    """Append the monitoring with an event per alarm, unless the newest one of its month and version
    says the same; returns the one that is there."""
    with database.transaction():
        database.execute("lock_monitoring", model=made.model)
        before = database.rows(
            "newest_monitoring", model=made.model, as_of=made.as_of, version=made.version
        )
        if before and (before[0]["content_hash"], before[0]["model_hash"]) == (
            made.content_hash,
            made.model_hash,
        ):
            return newest(database, made.model, made.as_of, made.version)
        number = database.row(
            "record_monitoring",
            model=made.model,
            version=made.version,
            run_id=made.run_id,
            model_hash=made.model_hash,
            as_of=made.as_of,
            known_at=made.known_at,
            made_at=made.made_at,
            training_months=list(made.training_months),
            month_before=made.month_before,
            entities=made.entities,
            tests=made.tests,
            retraining=_json(asdict(made.retraining)),
            content_hash=made.content_hash,
        )["monitoring_id"]
        database.execute(
            "record_figures",
            monitoring_id=number,
            rows=_json([asdict(one) for one in made.figures]),
        )
        database.execute(
            "record_alarms",
            monitoring_id=number,
            rows=_json([asdict(one) for one in made.alarms]),
        )
        database.execute("record_alarm_events", monitoring_id=number)
    return replace(made, monitoring_id=number)


def months_monitored(database: Database, model: str) -> Sequence[date]:
    """The months of the registered model that were monitored, ascending."""
    return [row["as_of"] for row in database.rows("monitored_months", model=model)]


def known_before(database: Database, model: str, as_of: date) -> datetime | None:
    """Up to when (UTC) the newest monitoring of an earlier month knew; None without one."""
    row = database.row("monitored_before", model=model, as_of=as_of)
    known_at: datetime | None = row["known_at"]
    return known_at


def months_judged(database: Database, model: str, as_of: date) -> set[date]:
    """The months whose labels were judged in monitorings of months before `as_of`."""
    rows = database.rows("months_judged", model=model, as_of=as_of)
    return {date.fromisoformat(row["month"]) for row in rows}


def _json(document: object) -> str:
    return json.dumps(document, sort_keys=True, allow_nan=False)
