"""The ingestions that history consists of, with their files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pydantic import AwareDatetime

from streamflow.hashes import Sha256
from streamflow.postgres.database import Row


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


def ingestions(rows: Iterable[Row], tables: set[str]) -> list[Ingestion]:
    """The ingestions in rows of `streamflow.ingestions` that had a file of one of `tables`."""
    found = [
        Ingestion(
            ingestion_id=row["ingestion_id"],
            as_of=row["as_of"],
            recorded_at=row["recorded_at"],
            ingested_at=row["ingested_at"],
            files=[
                File(table, file["file"], file["sha256"])
                for table, file in sorted(row["tables"].items())
                if table in tables
            ],
        )
        for row in rows
    ]
    return [one for one in found if one.files]
