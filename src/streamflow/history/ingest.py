"""A month folder into history: all tables or none, each checked, and only rows that are new.

A row is added if its content differs from what was last known of the entity at the as_of. No row is
ever changed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import AsOfRefused, RecordedAtRefused
from streamflow.hashes import Sha256, sha256_of
from streamflow.history.as_of import event_timestamp
from streamflow.history.files.month_file import as_in_file
from streamflow.history.files.month_folder import find_files
from streamflow.history.history_changes import follow_contract
from streamflow.history.history_table import content_columns, history_table
from streamflow.history.recorded_columns import RecordedColumns, recorded_columns
from streamflow.history.staging import stage, staging_table
from streamflow.history.violations import Violations
from streamflow.postgres.database import Database
from streamflow.postgres.migrations import migrate
from streamflow.postgres.queries import columns, identifier
from streamflow.progress import Progress, silent
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class IngestedTable:
    """The file of a table, and how many of its rows were added.

    `only_in_history` counts entities that history has at this as_of and the file hasn't; they stay.
    `null_labels` counts the rows of the label's table whose label is null, which means not known.
    `without_row` counts the entities of the as_of of which history has no row in this table at it.
    `columns` are those of the file that the contract has; `changes` say in words what is another
    than in the ingestion before.
    """

    file: str
    sha256: Sha256
    rows: int
    added: int
    unchanged: int
    only_in_history: int
    null_labels: int = 0
    without_row: int = 0
    columns: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class IngestedMonth:
    """The tables of one ingestion by name; `recorded_at` is in UTC."""

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
    progress: Progress = silent,
) -> IngestedMonth:
    """Add the month in `folder` to history in one transaction; times are in UTC.

    Raises MissingFiles, AsOfRefused (the day hasn't ended), RecordedAtRefused, ContractViolation
    (a file below `reports` lists all violations), DatabaseUnavailable; nothing is changed then.
    """
    _require_past(as_of, recorded_at, now)
    # The entity table first: the keys of the others must be in it.
    tables = tuple(sorted(use_case.tables(), key=lambda table: table.name != use_case.entity_table))
    files = find_files(folder, tables)
    migrate(database)
    report_file = reports / f"violations-{as_of}-{now:%Y%m%dT%H%M%S%f}.csv"
    with database.transaction(), Violations(report_file) as violations:
        database.execute("lock_ingestion", use_case=use_case.name)
        database.execute("enlarge_memory")
        # A table that arrives later is created too, so that it can be queried from now on.
        changed = {table.name: follow_contract(database, use_case, table) for table in tables}
        recorded = recorded_columns(database, use_case)
        arrived = [as_in_file(one, files[one.name]) for one in tables if one.name in files]
        hashes = {}
        for table in arrived:
            progress(table.name)
            hashes[table.name] = sha256_of(files[table.name])
            stage(database, use_case, table, files[table.name], violations.add)
        violations.raise_if_any(folder)
        ingestion = _Ingestion(
            database.row("next_ingestion_id")["ingestion_id"], use_case, as_of, recorded_at
        )
        ingested = {}
        for table in arrived:
            progress(table.name)
            file = files[table.name]
            appended = _append(database, ingestion, table, file, hashes[table.name], recorded)
            changes = [*map(str, changed[table.name]), *_other_columns(table, recorded)]
            ingested[table.name] = replace(appended, changes=list(dict.fromkeys(changes)))
        ingested = _with_rows_counted(ingested, use_case.entity_table)
        _record(database, ingestion, ingested, now, who)
    return IngestedMonth(as_of, recorded_at, ingested)


@dataclass(frozen=True)
class _Ingestion:
    ingestion_id: int
    use_case: UseCase
    as_of: date
    recorded_at: datetime


def _require_past(as_of: date, recorded_at: datetime, now: datetime) -> None:
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


def _append(
    database: Database,
    ingestion: _Ingestion,
    table: Table,
    file: Path,
    sha256: Sha256,
    recorded: RecordedColumns,
) -> IngestedTable:
    """Append the staged rows that are new to the table's history, and count them.

    Raises RecordedAtRefused if a changed row was recorded at the ingestion's time or later.
    """
    as_of, recorded_at = ingestion.as_of, ingestion.recorded_at
    key = ingestion.use_case.join_key
    # With the key, so that a table may have no other column.
    stored = [key, *content_columns(ingestion.use_case, table)]
    names = {
        "history": history_table(ingestion.use_case, table),
        "staging": staging_table(table.name),
        "latest": identifier(f"latest_{table.name}"),
        "key": identifier(key),
        "columns": columns(stored),
        "staging_columns": columns(stored, "staging"),
        "latest_columns": columns(stored, "latest"),
    }
    values = {
        "as_of": as_of,
        "recorded_at": recorded_at,
        "ingestion_id": ingestion.ingestion_id,
    }
    narrower = recorded.not_recorded(table.history, stored)
    rows, only_in_history = database.row("count_staging", names)["rows"], 0
    if not database.row("month_exists", names, as_of=as_of)["exists"]:
        added = database.execute("add_all", names, **values).rowcount
    else:
        database.execute("create_latest", names, as_of=as_of)
        before = database.row("recorded_before", names, recorded_at=recorded_at, narrower=narrower)
        if before["conflicts"]:
            raise RecordedAtRefused(
                f"{before['conflicts']} changed row(s) of {table.name!r} at AS_OF {as_of} are "
                f"already recorded, the newest at {before['recorded_at'].isoformat()}; "
                f"{recorded_at.isoformat()} isn't after that.",
                "Leave --recorded-at out, or name the later time at which the correction arrived.",
            )
        added = database.execute("add_changed", names, **values, narrower=narrower).rowcount
        only_in_history = database.row("count_only_in_history", names)["entities"]
    database.execute("analyze_history", use_case=ingestion.use_case.name, history=table.history)
    return IngestedTable(
        file.name,
        sha256,
        rows,
        added,
        unchanged=rows - added,
        only_in_history=only_in_history,
        null_labels=_null_labels(database, ingestion.use_case, table),
        columns=list(table.contract.columns),
    )


def _other_columns(table: Table, recorded: RecordedColumns) -> Iterator[str]:
    """In words, the columns that the newest file hadn't, and those that this one hasn't."""
    before = recorded.newest(table.history)
    if before is None:
        return
    for name in table.contract.columns:
        if name not in before:
            yield f"column {name!r} is new: rows of before haven't recorded it"
    for name in before:
        if name not in table.contract.columns:
            yield f"column {name!r} is gone: new rows don't record it, history keeps it"


def _null_labels(database: Database, use_case: UseCase, table: Table) -> int:
    label = use_case.label
    if table.name != label.table:
        return 0
    names = {"staging": staging_table(table.name), "column": identifier(label.column)}
    nulls: int = database.row("count_nulls", names)["nulls"]
    return nulls


def _with_rows_counted(
    ingested: Mapping[str, IngestedTable], entity_table: str
) -> dict[str, IngestedTable]:
    """With `without_row`. A table holds keys of the entity table alone, each once a month."""
    entities = _entities(ingested[entity_table])
    return {
        name: replace(one, without_row=entities - _entities(one)) for name, one in ingested.items()
    }


def _entities(one: IngestedTable) -> int:
    return one.rows + one.only_in_history


def _record(
    database: Database,
    ingestion: _Ingestion,
    ingested: Mapping[str, IngestedTable],
    now: datetime,
    who: str,
) -> None:
    database.execute(
        "record_ingestion",
        ingestion_id=ingestion.ingestion_id,
        use_case=ingestion.use_case.name,
        as_of=ingestion.as_of,
        recorded_at=ingestion.recorded_at,
        ingested_at=now,
        ingested_by=who,
        tables=json.dumps({name: asdict(table) for name, table in ingested.items()}),
    )
