"""A month folder into history: all tables or none, each checked, and only rows that are new.

A row is added if its content differs from what is known of the entity at the as_of. No row is ever
changed, and none removed but those of an entity that is forgotten (`operations/forgetting`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import AsOfRefused, RecordedAtRefused
from streamflow.hashes import Sha256, sha256_of
from streamflow.history.append import IngestedTable, Ingestion, append
from streamflow.history.as_of import event_timestamp
from streamflow.history.events.aggregate import append_aggregated
from streamflow.history.events.events_table import create_events_table
from streamflow.history.events.stage_events import add_events, stage_events
from streamflow.history.files.month_file import as_in_file
from streamflow.history.files.month_folder import find_files
from streamflow.history.files.month_rows import MonthRows
from streamflow.history.history_changes import follow_contract
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.labels import require_matured, with_label_rule
from streamflow.history.recorded_columns import RecordedColumns, recorded_columns
from streamflow.history.staged.another_month import (
    another_month,
    later_dates,
    same_file,
    same_rows,
    what_to_type,
)
from streamflow.history.staging import Staged, stage
from streamflow.history.violations import Violations
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.migrations import migrate
from streamflow.postgres.queries import Composable, identifier
from streamflow.progress import Progress, silent
from streamflow.use_case import Table, UseCase

# An earlier as_of is a slip of the pen. Libraries can't compute with times before 1678 either.
EARLIEST = date(1900, 1, 1)


@dataclass(frozen=True)
class IngestedMonth:
    """The tables of one ingestion by name; `recorded_at` is in UTC."""

    ingestion_id: int
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
    complete: bool = False,
    really: bool = False,
    month: MonthRows | None = None,
) -> IngestedMonth:
    """Add the month in `folder` to history in one transaction; times are in UTC.

    With `month`, the files have several, and those of its rows are added.

    With `complete`, entities of this as_of that the files lack don't count from `recorded_at` on.
    With `really`, files that look like another month's are taken, and what spoke against it is
    recorded. Rows of entities that were forgotten are left out and counted.

    Raises MissingFiles, AsOfRefused (the day hasn't ended, or is before 1900), RecordedAtRefused,
    ContractViolation (a file below `reports` lists all violations), AnotherMonth, LabelsNotMatured,
    DatabaseUnavailable; nothing is changed then.
    """
    _require_past(as_of, recorded_at, now)
    # The entity table first: the keys of the others must be in it.
    tables = tuple(sorted(use_case.tables(), key=lambda table: table.name != use_case.entity_table))
    files = _of_month(find_files(folder, tables), tables, month)
    migrate(database)
    report_file = reports / f"violations-{as_of}-{now:%Y%m%dT%H%M%S%f}.csv"
    with database.transaction(), Violations(report_file) as violations:
        database.execute("lock_ingestion", use_case=use_case.name)
        database.execute("enlarge_memory")
        # A table that arrives later is created too, so that it can be queried from now on.
        changed = {table.name: follow_contract(database, use_case, table) for table in tables}
        for table in tables:
            if table.events is not None:
                create_events_table(database, use_case, table)
        recorded = recorded_columns(database, use_case)
        arrived = [
            with_label_rule(use_case, as_in_file(one, files[one.name]))
            for one in tables
            if one.name in files
        ]
        hashes, later = {}, []
        staged: dict[str, Staged] = {}
        for table in arrived:
            progress(table.name)
            hashes[table.name] = _hash(files[table.name], table.name, month)
            if table.events is not None:
                dropped = stage_events(
                    database,
                    use_case,
                    table,
                    files[table.name],
                    event_timestamp(as_of),
                    violations.add,
                    month,
                )
                staged[table.name] = Staged(dropped)
                continue
            staged[table.name] = stage(
                database,
                use_case,
                table,
                files[table.name],
                as_of,
                recorded_at,
                violations.add,
                month,
            )
            report = None if really else violations.add
            later += later_dates(database, table, files[table.name].name, as_of, report)
        violations.raise_if_any(folder, what_to_type(later, folder, as_of, now))
        same = same_rows(database, use_case, [one for one in arrived if one.events is None], as_of)
        if same is not None and not really:
            raise another_month(same, folder, as_of)
        if use_case.label.table in files:
            require_matured(database, use_case, as_of, recorded_at)
        ingestion = Ingestion(
            database.row("next_ingestion_id")["ingestion_id"],
            use_case,
            as_of,
            recorded_at,
            complete,
        )
        ingested = {}
        before = recorded_ingestions(database, use_case)
        for table in arrived:
            progress(table.name)
            file, sha256 = files[table.name], hashes[table.name]
            if table.events is None:
                new = staged[table.name].month
                appended = append(database, ingestion, table, file, sha256, recorded, new)
            else:
                appended = append_aggregated(
                    database,
                    ingestion,
                    table,
                    file,
                    sha256,
                    recorded,
                    add_events(database, ingestion, table),
                )
            changes = [
                *appended.changes,
                *map(str, changed[table.name]),
                *_other_columns(table, recorded),
            ]
            ingested[table.name] = replace(
                appended,
                changes=list(dict.fromkeys(changes)),
                same_file=same_file(before, table.name, appended.sha256, as_of),
                overridden=[
                    *(str(one) for one in later if one.table == table.name),
                    *([str(same)] if same and table.name == use_case.entity_table else []),
                ],
                forgotten=staged[table.name].forgotten,
            )
        ingested = _with_rows_counted(ingested, use_case.entity_table)
        if any(one.withdrawn_at is not None for one in before):
            ingested = _with_known_rows_counted(database, ingestion, ingested)
        _record(database, ingestion, ingested, now, who)
    return IngestedMonth(ingestion.ingestion_id, as_of, recorded_at, ingested)


def _of_month(
    files: dict[str, Path], tables: Sequence[Table], month: MonthRows | None
) -> dict[str, Path]:
    """The files, without those of tables that may arrive later and have no row of the month."""
    if month is None:
        return files
    empty = {name for name, texts in month.texts.items() if not texts}
    later = {table.name for table in tables if table.arrives_later}
    return {name: file for name, file in files.items() if name not in empty & later}


def _hash(file: Path, table: str, month: MonthRows | None) -> Sha256:
    """Of the file; of one month's rows in a file of several, a hash of their own."""
    if month is None or table not in month.texts:
        return sha256_of(file)
    text = f"{month.files[table].sha256} {month.column} {month.as_of}"
    return hashlib.sha256(text.encode()).hexdigest()


def _require_past(as_of: date, recorded_at: datetime, now: datetime) -> None:
    if as_of < EARLIEST:
        raise AsOfRefused(
            f"AS_OF {as_of} is before {EARLIEST}, of which nobody has such data.",
            "Name the last day that the month speaks of: `--as-of YYYY-MM-DD`.",
        )
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


def _with_rows_counted(
    ingested: Mapping[str, IngestedTable], entity_table: str
) -> dict[str, IngestedTable]:
    """With `without_row`. A table holds keys of the entity table alone, each once a month."""
    entities = _entities(ingested[entity_table])
    return {
        name: replace(one, without_row=entities - _entities(one)) for name, one in ingested.items()
    }


def _with_known_rows_counted(
    database: Database, ingestion: Ingestion, ingested: Mapping[str, IngestedTable]
) -> dict[str, IngestedTable]:
    """With `without_row`, where a withdrawal may have left rows of entities that are gone."""
    use_case = ingestion.use_case

    def rows(table: str) -> Composable:
        return known_rows(database, use_case, Table.history_of(table), FOR_EVER)

    names = {"key": identifier(use_case.join_key), "entities": rows(use_case.entity_table)}
    return {
        name: replace(
            one,
            without_row=database.row(
                "count_without_row", {**names, "history": rows(name)}, as_of=ingestion.as_of
            )["entities"],
        )
        for name, one in ingested.items()
    }


def _entities(one: IngestedTable) -> int:
    return one.rows + one.only_in_history


def _record(
    database: Database,
    ingestion: Ingestion,
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
