"""Histories of a small use case, written without the checks of an ingestion, and sessions of DuckDB
over their copies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from psycopg import sql
from tests.changing_case import ITEMS, KEY, use_case

from streamflow.columnar.session import Session
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_table import create_history_table
from streamflow.history.parquet.history_files import history_files
from streamflow.postgres.database import Database
from streamflow.use_case import Table, UseCase

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
TABLES = use_case(ITEMS).tables()
_numbers = count()


def new_case(what: str, horizon: int = 0) -> UseCase:
    """The use case under a name of its own, so that it has a history of its own."""
    made = use_case(ITEMS)
    label = replace(made.label, horizon=timedelta(days=horizon))
    return replace(made, name=f"{what}_{next(_numbers)}", label=label)


@dataclass
class Ingestion:
    """Rows of some tables, by entity; who was absent from them; when it was withdrawn."""

    as_of: date
    recorded_at: datetime
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)
    withdrawn_at: datetime | None = None


def write(database: Database, case: UseCase, ingestions: list[Ingestion]) -> None:
    """Append these as ingest, withdraw and complete files do, without their checks."""
    for table in TABLES:
        create_history_table(database, case, table)
    for one in ingestions:
        append(database, case, one)


def append(database: Database, case: UseCase, one: Ingestion) -> int:
    with database.connection() as connection, connection.transaction():
        execute = connection.execute
        execute("SET LOCAL TimeZone = 'UTC'")
        execute("SET LOCAL streamflow.ingesting = 'on'")
        row = execute(
            "INSERT INTO streamflow.ingestions "
            "(use_case, as_of, recorded_at, ingested_at, ingested_by, tables) "
            "VALUES (%s, %s, %s, %s, 'test', %s) RETURNING ingestion_id",
            (
                *(case.name, one.as_of, one.recorded_at, one.recorded_at),
                json.dumps({name: {} for name in one.rows}),
            ),
        ).fetchone()
        assert row is not None
        number: int = row["ingestion_id"]
        for table, rows in one.rows.items():
            history = Table.history_of(table)
            execute(
                "SELECT streamflow.create_month(%s, %s, %s, %s)",
                (case.name, history, one.as_of, KEY),
            )
            for entity, values in rows.items():
                columns = [KEY, "as_of", "recorded_at", "ingestion_id", *values]
                execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(case.name, history),
                        sql.SQL(", ").join(map(sql.Identifier, columns)),
                        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
                    ),
                    (entity, one.as_of, one.recorded_at, number, *values.values()),
                )
            for entity in one.absent.get(table, ()):
                execute(
                    "INSERT INTO streamflow.absences VALUES (%s, %s, %s, %s, %s, %s)",
                    (
                        *(case.name, history, entity),
                        *(event_timestamp(one.as_of), one.recorded_at, number),
                    ),
                )
        if one.withdrawn_at is not None:
            execute(
                "INSERT INTO streamflow.withdrawals "
                "(ingestion_id, recorded_at, withdrawn_by, why, tables) "
                "VALUES (%s, %s, 'test', 'wrong', '{}')",
                (number, one.withdrawn_at),
            )
    return number


@contextmanager
def opened(database: Database, case: UseCase, home: Path) -> Iterator[Session]:
    """A session over a copy of the case's history, up to date."""
    session = Session(
        database, lambda of, name: history_files(of, name, home).tables, "1GB", home / "spill"
    )
    try:
        session.execute("wait_for_ingestion", use_case=case.name)
        yield session
    finally:
        session.close()


def stored(database: Database, case: UseCase, table: Table) -> list[str]:
    text = f'SELECT * FROM "{case.name}"."{table.history}"'
    if isinstance(database, Session):
        return sorted(plain(row) for batch in database.batches(text) for row in batch.to_pylist())
    with database.connection() as connection:
        return sorted(map(plain, connection.execute(text).fetchall()))  # type: ignore[call-overload]


def plain(row: Mapping[str, Any]) -> str:
    """The row as a text that tells -0.0 from 0.0 and NaN from null; times are in UTC."""
    return repr(
        {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
            for name, value in sorted(row.items())
        }
    )
