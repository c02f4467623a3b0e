"""What a training learnt from: the training set's hashes, and the files that it goes back to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import AwareDatetime

from streamflow.training import canonical
from streamflow.training.canonical import Column, Sha256


@dataclass(frozen=True)
class File:
    table: str
    name: str
    hash: Sha256


@dataclass(frozen=True)
class Ingestion:
    """`recorded_at` is when its rows were known, `ingested_at` when they were loaded (UTC)."""

    ingestion_id: int
    as_of: date
    recorded_at: AwareDatetime
    ingested_at: AwareDatetime
    files: list[File]


@dataclass(frozen=True)
class Data:
    """The training set of `as_of` as known at `known_at` (UTC), and who isn't in it, by reason."""

    as_of: date
    known_at: AwareDatetime
    hash: Sha256
    rows: int
    without_label: int
    without_features: int
    columns: list[Column]
    ingestions: list[Ingestion]


def data(
    table: Any,
    as_of: date,
    known_at: datetime,
    left_out: tuple[int, int],
    ingestions: list[Ingestion],
) -> Data:
    """`table` is the training set's; `left_out` are those without label and without features."""
    whole, columns = canonical.hashes(table)
    without_label, without_features = left_out
    return Data(
        as_of=as_of,
        known_at=known_at,
        hash=whole,
        rows=table.num_rows,
        without_label=without_label,
        without_features=without_features,
        columns=columns,
        ingestions=ingestions,
    )


def ingestions(rows: Iterable[Mapping[str, Any]], tables: set[str]) -> list[Ingestion]:
    """The rows of `streamflow.ingestions` that brought something into one of `tables`."""
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
