"""A month's rows of a history table, the newest of each entity, for a FROM clause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from streamflow.history.history_changes import HistoryChange, name_now, recorded_changes
from streamflow.history.ingestions import Recorded, recorded_ingestions
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, columns, identifier, subquery
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class History:
    """The use case's history as known at `known_at` (UTC), with what was ingested and changed."""

    database: Database
    use_case: UseCase
    known_at: datetime
    ingestions: Sequence[Recorded]
    changes: list[HistoryChange]

    @property
    def months(self) -> list[date]:
        """The as_of of every month that is known, ascending."""
        return sorted({one.as_of for one in self.ingestions if one.counts_at(self.known_at)})

    def column(self, history: str, name: str) -> str:
        """The name that a column of the history table has today."""
        return name_now(self.changes, history, name)

    def stored_columns(self, history: str) -> list[str]:
        """The columns that the history table has."""
        rows = self.database.rows("history_columns", schema=self.use_case.name, table=history)
        return [row["column_name"] for row in rows]

    def several_files(self, table: str, months: Sequence[date]) -> bool:
        """Whether a month has rows of more than one ingestion, so that an entity may have two."""
        loaded = [
            as_of
            for one in self.ingestions
            if one.counts_at(self.known_at)
            for as_of in one.months_of(table)
            if as_of in months
        ]
        return len(loaded) > len({*loaded})

    def rows(self, history: str, names: Sequence[str], months: Sequence[date]) -> Composable:
        """The newest row of each entity at each of the months, with the columns `names`. Needs an
        alias."""
        known = known_rows(self.database, self.use_case, history, self.known_at)
        key = self.use_case.join_key
        one_file = not self.several_files(history.removesuffix("_history"), months)
        text = self.database.render(
            "rows_of_months" if one_file else "newest_rows_of_months",
            {
                "history": known,
                "key": identifier(key),
                "columns": columns(list(dict.fromkeys([key, "as_of", *names]))),
            },
            as_ofs=list(months),
            known_at=self.known_at,
        )
        return subquery(text)


def history(database: Database, use_case: UseCase, known_at: datetime) -> History:
    """The use case's history as known at `known_at` (UTC)."""
    return History(
        database,
        use_case,
        known_at,
        recorded_ingestions(database, use_case),
        recorded_changes(database, use_case),
    )
