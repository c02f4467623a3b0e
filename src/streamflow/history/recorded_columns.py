"""Which columns each ingestion's files had: what a row of history says nothing of.

A null in a column that its row's ingestion had is a value. One in a column that it hadn't is *not
recorded*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamflow.history.history_changes import HistoryChange, name_now, recorded_changes
from streamflow.postgres.database import Database
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class RecordedColumns:
    """Per history table and ingestion the columns of its file, by their names of that time.

    None stands for all columns that the table had before its first change.
    """

    changes: list[HistoryChange]
    files: Mapping[str, Mapping[int, list[str] | None]]

    def not_recorded(self, history: str, columns: Iterable[str]) -> list[int]:
        """The ingestions with a file for the history table that lacked one of the columns.

        The columns have the names of today.
        """
        wanted = {*columns}
        return [
            ingestion
            for ingestion, names in self.files.get(history, {}).items()
            if self._lacks(history, names, wanted)
        ]

    def newest(self, history: str) -> list[str] | None:
        """The columns of the newest file by their names of today; None if it isn't known."""
        names = [*self.files.get(history, {}).values()][-1:]
        if not names or names[0] is None:
            return None
        return [name_now(self.changes, history, name) for name in names[0]]

    def _lacks(self, history: str, names: list[str] | None, wanted: set[str]) -> bool:
        if names is not None:
            return bool(wanted - {name_now(self.changes, history, name) for name in names})
        return any(
            (change.history, change.kind) == (history, "added")
            and name_now(self.changes, history, change.column_name) in wanted
            for change in self.changes
        )


def recorded_columns(database: Database, use_case: UseCase) -> RecordedColumns:
    """The columns that the use case's ingestions have recorded."""
    files: dict[str, dict[int, list[str] | None]] = {}
    for row in database.rows("recorded_columns", use_case=use_case.name):
        history = Table.history_of(row["table"])
        files.setdefault(history, {})[row["ingestion_id"]] = row["columns"]
    return RecordedColumns(recorded_changes(database, use_case), files)
