"""The rows of a staged file that are new to history; the entities that a complete file lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import RecordedAtRefused
from streamflow.hashes import Sha256
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_table import content_columns, history_table
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.labels import labels_as_recorded
from streamflow.history.recorded_columns import RecordedColumns
from streamflow.history.staged.new_month import NewMonth, finish_month
from streamflow.history.staging import staging_table
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, columns, identifier
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class IngestedTable:
    """The file of a table, and how many of its rows were added.

    `only_in_history` counts entities that history has at this as_of and the file hasn't; they stay.
    `absent` counts those that don't count any more, because the file was said to be complete.
    `null_labels` counts the rows of the label's table whose label is null, which means not known.
    `without_row` counts the entities of the as_of of which history has no row in this table at it.
    `columns` are those of the file that the contract has; `changes` say in words what is another
    than in the ingestion before. `same_file` tells of another as_of that had the same file, byte
    for byte; `overridden` tells what spoke against this as_of and was overridden. `new_entities`
    counts, in the entity table, those that an as_of which was loaded before hadn't. `forgotten`
    counts rows of the file that were left out, because their entity was forgotten. Of a table of
    events, `corrected` counts by other as_of the rows that were added there, and `aggregations`
    has by feature how it is made.
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
    absent: int = 0
    same_file: list[str] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)
    new_entities: int = 0
    forgotten: int = 0
    corrected: dict[str, int] = field(default_factory=dict)
    aggregations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ingestion:
    """What an ingestion is by itself; with `complete`, its files have all entities of the as_of."""

    ingestion_id: int
    use_case: UseCase
    as_of: date
    recorded_at: datetime
    complete: bool


def append(
    database: Database,
    ingestion: Ingestion,
    table: Table,
    file: Path,
    sha256: Sha256,
    recorded: RecordedColumns,
    month: NewMonth | None = None,
) -> IngestedTable:
    """Append the staged rows that are new to the table's history, and count them.

    `month` is the table that has the rows, if history has none of the as_of.
    Raises RecordedAtRefused if a changed row, or one of an entity that a complete file lacks, was
    recorded at the ingestion's time or later.
    """
    as_of, use_case = ingestion.as_of, ingestion.use_case
    # With the key, so that a table may have no other column.
    stored = [use_case.join_key, *content_columns(use_case, table)]
    names = {
        "history": history_table(use_case, table),
        "known_history": _known_history(database, use_case, table),
        "staging": staging_table(table.name),
        "latest": identifier(f"latest_{table.name}"),
        "gone": identifier(f"gone_{table.name}"),
        "key": identifier(use_case.join_key),
        "columns": columns(stored),
        "staging_columns": columns(stored, "staging"),
        "latest_columns": columns(stored, "latest"),
    }
    values = {
        "as_of": as_of,
        "recorded_at": ingestion.recorded_at,
        "ingestion_id": ingestion.ingestion_id,
    }
    database.execute("begin_appending")
    narrower = recorded.not_recorded(table.history, stored)
    rows, only_in_history, absent = database.row("count_staging", names)["rows"], 0, 0
    null_labels = _null_labels(database, use_case, table)
    new_entities = 0
    history = {"use_case": use_case.name, "history": table.history}
    if month is not None:
        finish_month(database, month, names["staging"], ingestion.ingestion_id)
        added = rows
    elif not database.row("month_exists", names, as_of=as_of)["exists"]:
        database.execute("create_month", as_of=as_of, key=use_case.join_key, **history)
        added = _add(database, "add_all", names, ingestion, table, values)
    else:
        database.execute("create_latest", names, as_of=as_of)
        _gather_gone(database, ingestion, table, names)
        before = database.row(
            "recorded_before", names, recorded_at=ingestion.recorded_at, narrower=narrower
        )
        if before["conflicts"]:
            raise _recorded_before(
                ingestion, table, f"{before['conflicts']} changed row(s)", before["recorded_at"]
            )
        changed = {**values, "narrower": narrower}
        added = _add(database, "add_changed", names, ingestion, table, changed)
        left = database.row("count_only_in_history", names)
        if table.name == use_case.entity_table:
            new_entities = database.row("count_new_entities", names)["entities"]
        if ingestion.complete and left["entities"]:
            absent = left["entities"]
            if left["recorded_at"] >= ingestion.recorded_at:
                said = f"{absent} row(s) of entities that the file lacks"
                raise _recorded_before(ingestion, table, said, left["recorded_at"])
            database.execute("add_absences", names, **values, **_in_history(ingestion, table))
        else:
            only_in_history = left["entities"]
    if month is None:
        database.execute("analyze_month", as_of=as_of, **history)
    database.execute("analyze_history", **history)
    return IngestedTable(
        file.name,
        sha256,
        rows,
        added,
        unchanged=rows - added,
        only_in_history=only_in_history,
        null_labels=null_labels,
        columns=list(table.contract.columns),
        absent=absent,
        new_entities=new_entities,
    )


def _add(
    database: Database,
    name: str,
    names: Mapping[str, Composable],
    ingestion: Ingestion,
    table: Table,
    values: Mapping[str, object],
) -> int:
    """Add rows of the staging table to history, by the named query; returns how many."""
    if isinstance(database, IcebergSession):
        moment = event_timestamp(ingestion.as_of)
        use_case = ingestion.use_case.name
        return database.add_rows(
            name, names, use_case, table.history, **values, event_timestamp=moment
        )
    return database.execute(name, names, **values).rowcount


def _known_history(database: Database, use_case: UseCase, table: Table) -> Composable:
    if table.name == use_case.label.table:
        return labels_as_recorded(database, use_case, FOR_EVER)
    return known_rows(database, use_case, table.history, FOR_EVER)


def _gather_gone(
    database: Database, ingestion: Ingestion, table: Table, names: Mapping[str, Composable]
) -> None:
    """Gather when rows of the as_of were withdrawn, if any ever was."""
    withdrawn = database.row("withdrawn", use_case=ingestion.use_case.name)
    if withdrawn["ingestions"] or table.history in withdrawn["histories"]:
        values = _in_history(ingestion, table)
        database.execute("create_gone", names, **values, as_of=ingestion.as_of)
    else:
        database.execute("create_nothing_gone", names)


def _in_history(ingestion: Ingestion, table: Table) -> dict[str, object]:
    return {
        "use_case": ingestion.use_case.name,
        "history": table.history,
        "event_timestamp": event_timestamp(ingestion.as_of),
    }


def _recorded_before(
    ingestion: Ingestion, table: Table, what: str, newest: datetime
) -> RecordedAtRefused:
    moment = ingestion.recorded_at.isoformat()
    return RecordedAtRefused(
        f"{what} of {table.name!r} at AS_OF {ingestion.as_of} are already recorded, or withdrawn, "
        f"the newest at {newest.isoformat()}; {moment} isn't after that.",
        "Leave --recorded-at out, or name the later time at which the correction arrived.",
    )


def _null_labels(database: Database, use_case: UseCase, table: Table) -> int:
    label = use_case.label
    if table.name != label.table:
        return 0
    names = {"staging": staging_table(table.name), "column": identifier(label.column)}
    nulls: int = database.row("count_nulls", names)["nulls"]
    return nulls
