"""How history would follow the contracts of a use case, and what of it they have no more."""

from __future__ import annotations

from dataclasses import dataclass

from streamflow.history.contract_findings import RESERVED_COLUMNS
from streamflow.history.history_changes import HistoryChange, planned_changes
from streamflow.history.history_table import existing_columns
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class HistoryPlan:
    """What changes in history, and the names of the use case's tables that it doesn't have yet.

    `not_recorded` has the columns, as `table.column`, and the tables that are in history and in no
    contract any more: they stay. `aggregated_later` has the features of events, as `table.column`,
    that the next ingestion makes for all months.
    """

    changes: list[HistoryChange]
    new_tables: list[str]
    not_recorded: list[str]
    aggregated_later: list[str]


def history_plan(database: Database, use_case: UseCase) -> HistoryPlan:
    """What an apply would change in history; nothing is changed.

    Raises InvalidSettings if history can't follow.
    """
    changes: list[HistoryChange] = []
    new_tables, not_recorded, aggregated_later = list[str](), list[str](), list[str]()
    tables = use_case.tables()
    for table in tables:
        existing = existing_columns(database, use_case, table)
        if not existing:
            new_tables.append(table.name)
            continue
        planned = planned_changes(database, use_case, table)
        changes += planned
        if table.events is not None:
            new = [one.column_name for one in planned if one.kind == "added"]
            aggregated_later += [f"{table.name}.{name}" for name in new]
        known = {*table.contract.columns, *RESERVED_COLUMNS, use_case.join_key}
        known |= {one.before or "" for one in planned if one.kind == "renamed"}
        not_recorded += [f"{table.name}.{column}" for column in existing if column not in known]
    histories = {table.history for table in tables}
    found = database.rows("history_tables", schema=use_case.name)
    not_recorded += [row["table_name"] for row in found if row["table_name"] not in histories]
    return HistoryPlan(changes, new_tables, not_recorded, aggregated_later)
