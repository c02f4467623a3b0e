"""A contract that changes: its table's history follows, and no row of it is changed.

A new column is added and a renamed one is renamed, whole numbers become numbers. A column that the
contract has lost stays. A name means one column for ever, because old runs know columns by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from streamflow.errors import InvalidSettings
from streamflow.history.events.recorded_aggregations import require_same_aggregations
from streamflow.history.history_table import create_history_table, existing_columns, history_table
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.validation import POSTGRES_TYPES, column_types
from streamflow.postgres.database import Database
from streamflow.postgres.migrations import migrate
from streamflow.postgres.queries import identifier
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class HistoryChange:
    """A column of a history table that was added, renamed or widened.

    `type` is PostgreSQL's. `before` is the old name of a renamed column, the old type of a widened
    one.
    """

    history: str
    kind: Literal["added", "renamed", "widened"]
    column_name: str
    before: str | None
    type: str

    def __str__(self) -> str:
        what = f"column {self.column_name!r}"
        if self.kind == "added":
            return f"{what} is new: rows of before haven't recorded it"
        if self.kind == "renamed":
            return f"{what} was {self.before!r} before"
        return f"{what} is {self.type} now, and was {self.before}"


def recorded_changes(database: Database, use_case: UseCase) -> list[HistoryChange]:
    """The changes of the use case's history tables, in the order in which they were made."""
    rows = database.rows("history_changes", use_case=use_case.name)
    return [HistoryChange(**row) for row in rows]


def name_now(changes: list[HistoryChange], history: str, column: str) -> str:
    """The name that a column of a history table has after these changes."""
    for change in changes:
        if (change.history, change.kind, change.before) == (history, "renamed", column):
            column = change.column_name
    return column


def planned_changes(database: Database, use_case: UseCase, table: Table) -> list[HistoryChange]:
    """What in the table's history isn't as its contract has it; nothing if there is no history.

    Raises InvalidSettings if history can't follow without another meaning of what it has.
    """
    existing = existing_columns(database, use_case, table)
    changes: list[HistoryChange] = []
    if not existing:
        return changes
    if table.events is not None:
        recorded = recorded_changes(database, use_case)
        now = partial(name_now, recorded, table.history)
        require_same_aggregations(database, use_case, table, now)
    types = {name: POSTGRES_TYPES[kind] for name, kind in column_types(table).items()}
    for name, wanted in types.items():
        old = table.renamed_from.get(name)
        if name in existing:
            if old in existing:
                raise _both(table, name, old)
            found = existing[name]
        elif old in existing:
            _require_own_name(database, use_case, table, name, old)
            found = existing[old]
            changes.append(HistoryChange(table.history, "renamed", name, old, found))
        else:
            _require_own_name(database, use_case, table, name)
            changes.append(HistoryChange(table.history, "added", name, None, wanted))
            continue
        if found != wanted:
            if (found, wanted) != ("bigint", "double precision"):
                raise _retyped(table, name, found, wanted)
            _require_exact(database, use_case, table, old if name not in existing else name)
            changes.append(HistoryChange(table.history, "widened", name, found, wanted))
    return changes


def follow_contract(database: Database, use_case: UseCase, table: Table) -> list[HistoryChange]:
    """Create the table's history, or bring it to its contract; returns what changed.

    Within a transaction that holds the lock of ingestions. Raises InvalidSettings, see
    `planned_changes`; FeatureStoreUnavailable.
    """
    create_history_table(database, use_case, table)
    changes = planned_changes(database, use_case, table)
    for change in changes:
        if change.kind == "widened" and isinstance(database, IcebergSession):
            from streamflow.history.iceberg.widening import widen

            widen(database, use_case.name, change.history, change.column_name, change.type)
        database.execute(
            "change_history",
            use_case=use_case.name,
            history=change.history,
            kind=change.kind,
            column_name=change.column_name,
            before=change.before,
            type=change.type,
        )
    return changes


def prepare_history(database: Database, use_case: UseCase) -> list[HistoryChange]:
    """Bring history to the contracts, so that months of before can be read by them.

    Without any history, nothing is made. Raises InvalidSettings; nothing is changed then.
    """
    migrate(database)
    tables = use_case.tables()
    with database.transaction():
        database.execute("lock_ingestion", use_case=use_case.name)
        if not any(existing_columns(database, use_case, table) for table in tables):
            return []
        return [one for table in tables for one in follow_contract(database, use_case, table)]


def require_history(database: Database, use_case: UseCase) -> None:
    """Raise InvalidSettings if history hasn't followed the contracts yet."""
    for table in use_case.tables():
        lacking = planned_changes(database, use_case, table)
        if lacking or not existing_columns(database, use_case, table):
            said = f": {lacking[0]}" if lacking else " at all"
            raise InvalidSettings(
                f"History doesn't have table {table.name!r} as its contract has it{said}.",
                "Run `streamflow apply`.",
            )


def _require_own_name(
    database: Database, use_case: UseCase, table: Table, name: str, old: str | None = None
) -> None:
    """Raise InvalidSettings if the name was that of another column than `old`."""
    now = name_now(recorded_changes(database, use_case), table.history, name)
    if now not in (name, old):
        raise InvalidSettings(
            f"The contract has a column {table.name}.{name}, which was renamed to {now!r}: "
            "old runs know that one by this name.",
            f'Give the column a name that none has had, such as "{name}_2"; '
            "or use the newer use case, if this is an older one.",
        )


def _require_exact(database: Database, use_case: UseCase, table: Table, column: str | None) -> None:
    names = {
        "history": history_table(use_case, table),
        "column": identifier(str(column)),
    }
    beyond = database.row("count_beyond_float", names)
    if beyond["values"]:
        raise InvalidSettings(
            f"{table.name}.{column} can't become Float64: {beyond['values']:,} of its values are "
            f"beyond 2^53 (from {beyond['least']} to {beyond['greatest']}), and would lose digits.",
            f"Leave {column!r} out of the contract, which keeps what was known of it, and give the "
            f'new column a name of its own, such as "{column}_2": Column("Float64").',
        )


def _both(table: Table, name: str, old: str | None) -> InvalidSettings:
    return InvalidSettings(
        f"{table.name}.{name} can't be {old!r} by a new name: history has both columns.",
        f"Take {name!r} out of renamed_from, and rows of before have it as not recorded; or go on "
        f"with the name {old!r}.",
    )


def _retyped(table: Table, name: str, found: str, wanted: str) -> InvalidSettings:
    kind = next(ours for ours, theirs in POSTGRES_TYPES.items() if theirs == wanted)
    return InvalidSettings(
        f"The contract has {table.name}.{name} as {wanted}, history has {found}.",
        "A column keeps its type: leave this one out of the contract, and give the new one a name "
        f'of its own, such as "{name}_2": Column("{kind}").',
    )
