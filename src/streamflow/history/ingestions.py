"""The ingestions that history consists of, with their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import AwareDatetime

from streamflow.hashes import Sha256
from streamflow.postgres.database import Database, Row
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class File:
    """A file of a month; `hash` is of its bytes."""

    table: str
    name: str
    hash: Sha256


@dataclass(frozen=True)
class Ingestion:
    """`recorded_at` is when its rows became known, `ingested_at` when they were loaded (UTC)."""

    ingestion_id: int
    as_of: date
    recorded_at: AwareDatetime
    ingested_at: AwareDatetime
    files: list[File]


def ingestions(rows: Iterable[Row], tables: set[str], until: date) -> list[Ingestion]:
    """The ingestions in rows of `streamflow.ingestions` that had a file of one of `tables` with
    rows of a month up to `until`."""

    def concerned(as_of: date, file: Mapping[str, Any]) -> bool:
        return min([as_of, *map(date.fromisoformat, file.get("corrected", {}))]) <= until

    found = [
        Ingestion(
            ingestion_id=row["ingestion_id"],
            as_of=row["as_of"],
            recorded_at=row["recorded_at"],
            ingested_at=row["ingested_at"],
            files=[
                File(table, file["file"], file["sha256"])
                for table, file in sorted(row["tables"].items())
                if table in tables and concerned(row["as_of"], file)
            ],
        )
        for row in rows
    ]
    return [one for one in found if one.files]


@dataclass(frozen=True)
class Recorded:
    """A line of `streamflow.ingestions`, and of `streamflow.withdrawals` if there is one for it.

    Times are in UTC; `withdrawn_at` is the moment from which on it doesn't count.
    """

    ingestion_id: int
    as_of: date
    recorded_at: datetime
    ingested_at: datetime
    ingested_by: str
    tables: Mapping[str, Mapping[str, Any]]
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    why: str | None

    @property
    def overridden(self) -> list[str]:
        """In words, what spoke against its as_of and was overridden by `--really`."""
        return [said for table in self.tables.values() for said in table.get("overridden", [])]

    def months_of(self, table: str) -> set[date]:
        """The as_ofs of which it has rows of the table: others than its own, where events came."""
        file = self.tables.get(table)
        if file is None:
            return set()
        return {self.as_of, *map(date.fromisoformat, file.get("corrected", {}))}

    @property
    def months(self) -> set[date]:
        """The as_ofs of which it has rows of any table."""
        return {self.as_of}.union(*map(self.months_of, self.tables))

    def counts_at(self, known_at: datetime) -> bool:
        """Whether it was recorded by then (UTC), and not withdrawn."""
        withdrawn = self.withdrawn_at is not None and self.withdrawn_at <= known_at
        return self.recorded_at <= known_at and not withdrawn


def recorded_ingestions(database: Database, use_case: UseCase) -> list[Recorded]:
    """All ingestions of the use case in their order, withdrawn ones among them."""
    return [Recorded(**row) for row in database.rows("recorded_ingestions", use_case=use_case.name)]
