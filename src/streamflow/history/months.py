"""The months that are in history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from streamflow.errors import AsOfRefused, KnownAtRefused
from streamflow.history.as_of import event_timestamp
from streamflow.history.ingestions import Recorded, recorded_ingestions
from streamflow.history.labels import known_labels
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier
from streamflow.use_case import Table, UseCase


def months(database: Database, use_case: UseCase) -> list[date]:
    """The as_of of every month of which an ingestion wasn't withdrawn, oldest first."""
    return _known_months(recorded_ingestions(database, use_case), FOR_EVER)


def not_withdrawn(recorded: Sequence[Recorded], day: date, moment: datetime) -> date | None:
    """The newest month up to `day` of which, of what was loaded by `moment` (UTC), anything wasn't
    withdrawn by then; `day` itself unless all of it was. None if there is no such month."""
    loaded = [one for one in recorded if one.ingested_at <= moment]
    counted = {one.as_of for one in loaded if one.withdrawn_at is None or one.withdrawn_at > moment}
    if day in {one.as_of for one in loaded} - counted:
        return max((as_of for as_of in counted if as_of < day), default=None)
    return day


def labelled_months(database: Database, use_case: UseCase, known_at: datetime) -> list[date]:
    """The as_of of every month with a label that counts at `known_at` (UTC), and whose labels could
    be known by then; oldest first."""
    label = use_case.label
    there = {"schema": use_case.name, "table": Table.history_of(label.table)}
    if not database.rows("history_columns", **there):
        return []
    names = {
        "label": identifier(label.column),
        "label_history": known_labels(database, use_case, known_at),
    }
    rows = database.rows("labelled_months", names, known_at=known_at)
    found = [row["as_of"] for row in rows]
    return [as_of for as_of in found if event_timestamp(as_of) + label.horizon <= known_at]


def first_known(database: Database, use_case: UseCase) -> dict[date, datetime]:
    """Per month when it was first known (UTC): the recorded_at of its first ingestion that wasn't
    withdrawn; oldest month first."""
    first: dict[date, datetime] = {}
    for one in recorded_ingestions(database, use_case):
        if one.counts_at(FOR_EVER):
            first[one.as_of] = min(first.get(one.as_of, one.recorded_at), one.recorded_at)
    return dict(sorted(first.items()))


def month_labels(database: Database, use_case: UseCase, known_at: datetime) -> dict[date, int]:
    """Per labelled month, how many entities have a label that counts at `known_at` (UTC)."""
    months = labelled_months(database, use_case, known_at)
    if not months:
        return {}
    names = {
        "key": identifier(use_case.join_key),
        "label": identifier(use_case.label.column),
        "label_history": known_labels(database, use_case, known_at),
    }
    rows = database.rows("count_month_labels", names, known_at=known_at)
    return {row["as_of"]: row["labels"] for row in rows if row["as_of"] in months}


def learned_at(database: Database, use_case: UseCase, as_of: date) -> datetime | None:
    """When anything of a month up to `as_of` was recorded or withdrawn last (UTC); None if nothing
    was. What is known of these months hasn't changed since."""
    moments: list[datetime] = []
    for one in recorded_ingestions(database, use_case):
        if min(one.months) <= as_of:
            moments.append(one.recorded_at)
            if one.withdrawn_at is not None:
                moments.append(one.withdrawn_at)
    return max(moments, default=None)


@dataclass(frozen=True)
class AbsentEntities:
    """Of the entities that were ever there: those without a row in `month`, and of these the ones
    that have departed, None if the use case has no rule for it."""

    month: date
    entities: int
    absent: int
    departed: int | None


def absent_entities(database: Database, use_case: UseCase, month: date) -> AbsentEntities:
    """Who is in an older month of the entity table, as it is known now, and not in `month`."""
    history = Table.history_of(use_case.entity_table)
    names = {
        "history": known_rows(database, use_case, history, FOR_EVER),
        "key": identifier(use_case.join_key),
    }
    found = database.row(
        "absent_entities",
        names,
        month=event_timestamp(month),
        departed_after=use_case.departed_after,
    )
    ruled = use_case.departed_after is not None
    departed = found["departed"] if ruled else None
    return AbsentEntities(month, found["entities"], found["absent"], departed)


def record_absent_entities(database: Database, use_case: UseCase, month: date) -> None:
    """Keep how many are absent now, for whoever can't look into history."""
    found = absent_entities(database, use_case, month)
    database.execute("record_absent_entities", use_case=use_case.name, **asdict(found))


def recorded_absent_entities(database: Database, use_case: UseCase) -> AbsentEntities | None:
    """What was kept last; None if nothing was."""
    for row in database.rows("recorded_absent_entities", use_case=use_case.name):
        return AbsentEntities(**row)
    return None


def other_use_cases(database: Database, use_case: UseCase) -> list[str]:
    """The names of the other use cases that have months in the same database."""
    return [row["name"] for row in database.rows("other_use_cases", use_case=use_case.name)]


def months_up_to(
    database: Database,
    use_case: UseCase,
    as_of: date,
    known_at: datetime,
    count: int | None = None,
    since: date | None = None,
) -> list[date]:
    """The as_ofs of the months that are learned from together, ascending, `as_of` the last.

    They are the newest `count` that were recorded by `known_at` (UTC), or all from `since` on;
    `as_of` alone if both are None. Raises AsOfRefused if there aren't so many, or `since` is later.
    """
    require_month(database, use_case, as_of, known_at)
    if since is not None and since > as_of:
        raise AsOfRefused(
            f"--from {since} is after --as-of {as_of}.",
            "Name the oldest month with --from and the newest with --as-of.",
        )
    recorded = recorded_ingestions(database, use_case)
    known = [month for month in _known_months(recorded, known_at) if month <= as_of]
    if count is not None and count > len(known):
        raise AsOfRefused(
            f"{count} months up to AS_OF {as_of} are asked for; {len(known)} were known at "
            f"{known_at.isoformat()}: {', '.join(map(str, known))}.",
            f"Load the others with `streamflow ingest`, or name `--months {len(known)}`.",
        )
    if since is not None:
        return [month for month in known if month >= since]
    return known[-count:] if count is not None else [as_of]


def require_past(known_at: datetime, now: datetime) -> None:
    """Raise KnownAtRefused if `known_at` is after `now`; both in UTC."""
    if known_at > now:
        raise KnownAtRefused(
            f"--known-at {known_at.isoformat()} is in the future; it is {now.isoformat()} now.",
            "Name a time in the past, or leave it out.",
        )


def require_month(database: Database, use_case: UseCase, as_of: date, known_at: datetime) -> None:
    """Raise AsOfRefused unless `as_of` had ended and been recorded by `known_at` (UTC)."""
    if event_timestamp(as_of) > known_at:
        raise AsOfRefused(
            f"AS_OF {as_of} hasn't ended yet at {known_at:%Y-%m-%d %H:%M} UTC.",
            "Name a month that has: `--as-of YYYY-MM-DD`.",
        )
    recorded = recorded_ingestions(database, use_case)
    known = _known_months(recorded, known_at)
    of_month = [one for one in recorded if one.as_of == as_of]
    if of_month and as_of not in known:
        later = [one for one in of_month if one.recorded_at > known_at]
        if not later:
            gone = ", ".join(str(one.ingestion_id) for one in of_month)
            raise AsOfRefused(
                f"AS_OF {as_of} isn't known any more at {known_at.isoformat()}: all that was "
                f"loaded of it was withdrawn (ingestion {gone}).",
                f"Load it with `streamflow ingest DIR --as-of {as_of}`; "
                "or name a --known-at from before.",
            )
        recorded_at = min(one.recorded_at for one in later)
        raise AsOfRefused(
            f"AS_OF {as_of} wasn't known yet at {known_at.isoformat()}: it was recorded at "
            f"{recorded_at.isoformat()}.",
            f"Name a --known-at from then on, or an AS_OF that was known: "
            f"{', '.join(str(month) for month in known) or 'none was'}.",
        )
    if as_of not in known:
        raise AsOfRefused(
            f"There is no data at AS_OF {as_of}; there is at: "
            f"{', '.join(str(month) for month in known) or 'no month yet'}.",
            f"Load it with `streamflow ingest DIR --as-of {as_of}`.",
        )


def _known_months(recorded: Iterable[Recorded], known_at: datetime) -> list[date]:
    return sorted({one.as_of for one in recorded if one.counts_at(known_at)})
