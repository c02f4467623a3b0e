"""A whole ingestion is taken back: from now on it doesn't count, and what was known stays known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from streamflow.errors import DataRefused
from streamflow.history.ingestions import Recorded, recorded_ingestions
from streamflow.postgres.database import Database
from streamflow.postgres.migrations import migrate
from streamflow.postgres.queries import identifier
from streamflow.use_case import Table, UseCase


class UnknownIngestion(DataRefused):
    """The use case has no ingestion with this number."""


@dataclass(frozen=True)
class WithdrawnTable:
    """How many entities an ingestion had added rows of to a table, and how many it had said to be
    absent: they are back."""

    entities: int
    absent: int


@dataclass(frozen=True)
class Withdrawn:
    """An ingestion that doesn't count from `recorded_at` (UTC) on.

    `already` says that it was so before, by whom and why. `confirming` are later ingestions of the
    same as_of whose files had rows that this one had added, which history so has no more.
    """

    ingestion_id: int
    as_of: date
    recorded_at: datetime
    withdrawn_by: str
    why: str
    already: bool
    tables: dict[str, WithdrawnTable]
    confirming: list[int]


def withdraw(
    database: Database, use_case: UseCase, ingestion_id: int, why: str, now: datetime, who: str
) -> Withdrawn:
    """Record that the ingestion doesn't count from `now` (UTC) on; nothing if it was said before.

    What earlier ingestions had said counts again. Raises UnknownIngestion.
    """
    migrate(database)
    with database.transaction():
        database.execute("lock_ingestion", use_case=use_case.name)
        all_of_them = recorded_ingestions(database, use_case)
        found = [one for one in all_of_them if one.ingestion_id == ingestion_id]
        if not found:
            raise _unknown(use_case, ingestion_id, all_of_them)
        (ingestion,) = found
        already = ingestion.withdrawn_at is not None
        tables = {
            name: _counted(database, use_case, name, ingestion_id) for name in ingestion.tables
        }
        if not already:
            database.execute(
                "record_withdrawal",
                ingestion_id=ingestion_id,
                recorded_at=now,
                withdrawn_by=who,
                why=why,
                tables=json.dumps({name: asdict(table) for name, table in tables.items()}),
            )
    return Withdrawn(
        ingestion_id,
        ingestion.as_of,
        ingestion.withdrawn_at or now,
        ingestion.withdrawn_by or who,
        ingestion.why or why,
        already=already,
        tables=tables,
        confirming=_confirming(ingestion, all_of_them),
    )


def _counted(
    database: Database, use_case: UseCase, table: str, ingestion_id: int
) -> WithdrawnTable:
    history = Table.history_of(table)
    names = {
        "history": identifier(use_case.name, history),
        "key": identifier(use_case.join_key),
    }
    added = database.row("count_added", names, ingestion_id=ingestion_id)
    absent = database.row(
        "count_absences", use_case=use_case.name, history=history, ingestion_id=ingestion_id
    )
    return WithdrawnTable(added["entities"], absent["entities"])


def _confirming(ingestion: Recorded, all_of_them: Sequence[Recorded]) -> list[int]:
    return [
        one.ingestion_id
        for one in all_of_them
        if one.as_of == ingestion.as_of
        and one.ingestion_id > ingestion.ingestion_id
        and one.withdrawn_at is None
        and any(table["unchanged"] for table in one.tables.values())
    ]


def _unknown(
    use_case: UseCase, ingestion_id: int, all_of_them: Sequence[Recorded]
) -> UnknownIngestion:
    known = ", ".join(f"{one.ingestion_id} ({one.as_of})" for one in all_of_them[-10:])
    return UnknownIngestion(
        f"{use_case.name!r} has no ingestion {ingestion_id}; the newest are: {known or 'none'}.",
        "`streamflow status` lists them, and `streamflow ingest` tells its own.",
    )
