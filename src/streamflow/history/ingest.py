"""A month folder into history: checked, all tables or none, and only what is new.

History has one row per (entity, as_of, recorded_at). A row is added when its content isn't what was
last known of that entity at that as_of; nothing is ever changed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import (
    AsOfRefused,
    InvalidSettings,
    MissingFiles,
    RecordedAtRefused,
)
from streamflow.hashes import sha256_of
from streamflow.history.as_of import event_timestamp
from streamflow.history.validation import POSTGRES_TYPES, column_types, read_checked
from streamflow.history.violations import Violation, Violations
from streamflow.postgres.database import Database
from streamflow.postgres.migrations import migrate
from streamflow.postgres.queries import Composable, columns, definitions, identifier
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class IngestedTable:
    """`absent` entities are known at this as_of from before and not in the file; they stay."""

    file: str
    sha256: str
    rows: int
    added: int
    unchanged: int
    absent: int


@dataclass(frozen=True)
class IngestedMonth:
    as_of: date
    recorded_at: datetime
    tables: dict[str, IngestedTable]


def ingest(
    database: Database,
    use_case: UseCase,
    folder: Path,
    as_of: date,
    recorded_at: datetime,
    now: datetime,
    who: str,
    reports: Path,
    progress: Callable[[str], None] = lambda table: None,
) -> IngestedMonth:
    """Add the month in `folder` to history in one transaction; times are UTC.

    Raises MissingFiles, AsOfRefused (the day hasn't ended), RecordedAtRefused, ContractViolation
    (the whole list is in a file below `reports`), DatabaseUnavailable; nothing is changed then.
    """
    if event_timestamp(as_of) > now:
        raise AsOfRefused(
            f"AS_OF {as_of} hasn't ended yet (it is {now:%Y-%m-%d %H:%M} UTC).",
            "Name the last day that the month speaks of: `--as-of YYYY-MM-DD`.",
        )
    if recorded_at > now:
        raise RecordedAtRefused(
            f"--recorded-at {recorded_at.isoformat()} is in the future.",
            "Name the time at which the files arrived, or leave it out.",
        )
    tables = use_case.tables()
    files = _files(folder, tables)
    migrate(database)
    report_file = reports / f"violations-{as_of}-{now:%Y%m%dT%H%M%S%f}.csv"
    with database.transaction(), Violations(report_file) as violations:
        database.execute("lock_ingestion", use_case=use_case.name)
        database.execute("enlarge_memory")
        for table in tables:  # a table that arrives later can be asked for already
            _create_history(database, use_case, table)
        staged = [table for table in tables if table.name in files]
        digests = {}
        for table in staged:
            progress(table.name)
            digests[table.name] = sha256_of(files[table.name])
            _stage(database, use_case, table, files[table.name], violations.add)
        violations.refuse_if_any(folder)
        ingestion_id = database.row("next_ingestion_id")["ingestion_id"]
        ingested = {}
        for table in staged:
            progress(table.name)
            rows, added, absent = _add(database, use_case, table, as_of, recorded_at, ingestion_id)
            ingested[table.name] = IngestedTable(
                file=files[table.name].name,
                sha256=digests[table.name],
                rows=rows,
                added=added,
                unchanged=rows - added,
                absent=absent,
            )
        database.execute(
            "record_ingestion",
            ingestion_id=ingestion_id,
            use_case=use_case.name,
            as_of=as_of,
            recorded_at=recorded_at,
            ingested_at=now,
            ingested_by=who,
            tables=json.dumps({name: asdict(counts) for name, counts in ingested.items()}),
        )
    return IngestedMonth(as_of, recorded_at, ingested)


def history(use_case: UseCase, table: str) -> Composable:
    """The qualified name of a table's history."""
    return identifier(use_case.name, f"{table}_history")


def _files(folder: Path, tables: tuple[Table, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    missing: list[str] = []
    for table in tables:
        candidates = [folder / f"{table.name}.csv", folder / f"{table.name}.parquet"]
        there = [path for path in candidates if path.is_file()]
        if len(there) > 1:
            raise MissingFiles(
                f"Table {table.name!r} has two files in {folder}: "
                f"{there[0].name} and {there[1].name}.",
                "Remove the one that isn't meant.",
            )
        if there:
            found[table.name] = there[0]
        elif not table.arrives_later:
            missing.append(candidates[0].name)
    if missing:
        raise MissingFiles(
            f"{folder} lacks {', '.join(missing)}."
            if folder.is_dir()
            else f"There is no folder {folder}.",
            "Name a folder with one CSV or Parquet file per table: `streamflow ingest DIR`.",
        )
    return found


def _create_history(database: Database, use_case: UseCase, table: Table) -> None:
    types = column_types(table)
    # IF NOT EXISTS would need the right to create schemas even if it exists.
    if not database.row("schema_exists", schema=use_case.name)["exists"]:
        database.execute("create_history_schema", {"schema": identifier(use_case.name)})
    database.execute(
        "create_history",
        {
            "history": history(use_case, table.name),
            "key": identifier(use_case.join_key),
            "definitions": definitions(_content_types(types, use_case.join_key)),
        },
    )
    there = {
        row["column_name"]: row["data_type"]
        for row in database.rows("history_columns", schema=use_case.name, table=table.history)
    }
    for name, kind in types.items():
        if there.get(name) != POSTGRES_TYPES[kind]:
            raise InvalidSettings(
                f"The contract has {table.name}.{name} as {POSTGRES_TYPES[kind]}, history has "
                f"{there.get(name, 'no such column')}.",
                "History is never rewritten: give the changed table a new name in the use case.",
            )


def _content_types(types: dict[str, str], key: str) -> dict[str, str]:
    """The PostgreSQL types of all columns but the key."""
    return {name: POSTGRES_TYPES[kind] for name, kind in types.items() if name != key}


def _staging(table: str) -> Composable:
    return identifier(f"staging_{table}")


def _stage(
    database: Database,
    use_case: UseCase,
    table: Table,
    file: Path,
    report: Callable[[Violation], None],
) -> None:
    """Copy the file into a temporary table and hold the set against its rules."""
    import pyarrow as pa
    import pyarrow.csv

    types = column_types(table)
    key = use_case.join_key
    order = ["line", key, *(name for name in types if name != key)]
    names = {"staging": _staging(table.name), "key": identifier(key)}
    database.execute(
        "create_staging", {**names, "definitions": definitions(_content_types(types, key))}
    )
    with (
        database.connection() as connection,
        connection.cursor() as cursor,
        cursor.copy(database.render("copy_staging", names)) as copy,
    ):
        for batch in read_checked(table, file, report):
            buffer = pa.BufferOutputStream()
            options = pa.csv.WriteOptions(include_header=False)
            pa.csv.write_csv(batch.select(order), buffer, options)
            copy.write(buffer.getvalue())
    database.execute("analyze_staging", names)
    for row in database.rows("duplicate_keys", names):
        report(Violation(file.name, row["line"], key, row["value"], "a key is there once"))
    if table.name != use_case.entity_table:
        entities = {"entities": _staging(use_case.entity_table)}
        for row in database.rows("unknown_keys", {**names, **entities}):
            rule = f"a key is in {use_case.entity_table}"
            report(Violation(file.name, row["line"], key, row["value"], rule))


def _add(
    database: Database,
    use_case: UseCase,
    table: Table,
    as_of: date,
    recorded_at: datetime,
    ingestion_id: int,
) -> tuple[int, int, int]:
    """Rows in the file, rows added to history, entities that were known and are absent."""
    content = [name for name in column_types(table) if name != use_case.join_key]
    names = {
        "history": history(use_case, table.name),
        "staging": _staging(table.name),
        "latest": identifier(f"latest_{table.name}"),
        "key": identifier(use_case.join_key),
        "columns": columns(content),
        "staging_columns": columns(content, "staging"),
        "latest_columns": columns(content, "latest"),
    }
    stamps = {"as_of": as_of, "recorded_at": recorded_at, "ingestion_id": ingestion_id}
    rows = database.row("count_staging", names)["rows"]
    if not database.row("month_exists", names, as_of=as_of)["exists"]:
        added = database.execute("add_all", names, **stamps).rowcount
        database.execute("analyze_history", names)
        return rows, added, 0
    database.execute("create_latest", names, as_of=as_of)
    before = database.row("recorded_before", names, recorded_at=recorded_at)
    if before["conflicts"]:
        raise RecordedAtRefused(
            f"{before['conflicts']} changed row(s) of {table.name!r} at AS_OF {as_of} are already "
            f"recorded, the newest at {before['recorded_at'].isoformat()}; "
            f"{recorded_at.isoformat()} isn't after that.",
            "Leave --recorded-at out, or name the later time at which the correction arrived.",
        )
    added = database.execute("add_changed", names, **stamps).rowcount
    database.execute("analyze_history", names)
    return rows, added, database.row("count_absent", names)["absent"]
