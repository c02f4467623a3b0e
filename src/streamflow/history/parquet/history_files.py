"""The copy of PostgreSQL's history: for each table and ingestion a Parquet file (zstd).

A file's name has a hash of all that its rows depend on: the ingestion as it was recorded, the
table's columns with their types, the last deletion of rows, and whether the table was written to
past our commands, by plain SQL (`streamflow.rewritten_history`). So a file that is there is right,
whichever process wrote it, and one that isn't named any more is removed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow.columnar.session import HistoryView
from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.history_table import require_rows_here
from streamflow.postgres.database import Database
from streamflow.postgres.queries import columns as listed
from streamflow.postgres.queries import identifier
from streamflow.postgres.record_batches import record_batch_reader
from streamflow.scratch import replacement
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa

_ATTEMPTS = 5


@dataclass(frozen=True)
class HistoryFiles:
    """By history table its columns and files, with the rows of the committed `ingestions`."""

    tables: Mapping[str, HistoryView]
    ingestions: tuple[int, ...]


@dataclass(frozen=True)
class _File:
    """Of the rows of an ingestion, or of those of none."""

    path: Path
    history: str
    ingestion_id: int | None
    as_ofs: tuple[date, ...]


def parquet_folder(home: Path) -> Path:
    """Where the copies of a home are, by use case."""
    return home / "parquet"


def history_files(database: Database, use_case: str, home: Path) -> HistoryFiles:
    """The files of the use case's history, after those that lack were written.

    Each is written whole or not at all, and only from ingestions that are committed. Raises
    FeatureStoreUnavailable if the home can't be written, DatabaseUnavailable, InvalidSettings if
    the rows are elsewhere.
    """
    folder = parquet_folder(home) / use_case
    require_rows_here(database, use_case)
    try:
        # What another process writes from now on may be of an ingestion that isn't known here.
        there = {*folder.rglob("*.parquet")}
        for _ in range(_ATTEMPTS):
            tables, files = _wanted(database, use_case, folder)
            lacking = [one for one in files if not one.path.exists()]
            if lacking:
                with record_batch_reader(database) as read:
                    for one in lacking:
                        query = _query(database, use_case, one, tables[one.history])
                        _write(one.path, _schema(tables[one.history]), read(query))
            # A column or rows may have changed while they were read.
            if not lacking or _wanted(database, use_case, folder) == (tables, files):
                for path in there - {one.path for one in files}:
                    path.unlink(missing_ok=True)
                break
        else:
            raise FeatureStoreUnavailable(
                "History changes faster than it can be copied.", "Try again in a moment."
            )
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"History can't be copied to {folder}: {error.strerror or error}.",
            "Make room there, or use STREAMFLOW_ENGINE=postgres.",
        ) from error
    views = {
        history: HistoryView(types, tuple(str(one.path) for one in files if one.history == history))
        for history, types in tables.items()
    }
    ingestions = {one.ingestion_id for one in files if one.ingestion_id is not None}
    return HistoryFiles(views, tuple(sorted(ingestions)))


def remove_copies(home: Path) -> None:
    """Delete the copies of history, each of which is made again at its next use. Raises OSError."""
    if parquet_folder(home).exists():
        shutil.rmtree(parquet_folder(home))


def _wanted(
    database: Database, use_case: str, folder: Path
) -> tuple[dict[str, dict[str, str]], list[_File]]:
    """By history table its columns with PostgreSQL's types, and the files that there should be."""
    tables = {}
    for row in database.rows("history_tables", schema=use_case):
        name = row["table_name"]
        found = database.rows("history_columns", schema=use_case, table=name)
        types = {one["column_name"]: one["data_type"] for one in found}
        if {"as_of", "event_timestamp", "recorded_at", "ingestion_id"} <= types.keys():
            tables[name] = dict(sorted(types.items()))
    rewritten = {
        row["history"]: [row["times"], row["rewritten_at"].isoformat()]
        for row in database.rows("rewritten_histories", use_case=use_case)
    }
    files = []
    recorded = database.rows("parquet_files", use_case=use_case)
    for row in recorded:
        for table in sorted(row["tables"]):
            history = Table.history_of(table)
            if history not in tables:
                continue
            state = [row["content"], row["people"], row["again"], list(tables[history].items())]
            digest = _digest([*state, rewritten.get(history)])
            path = folder / history / f"{row['ingestion_id']}-{digest}.parquet"
            # Events of this month's files correct rows of other months too.
            others = row["corrected"].get(table, {})
            as_ofs = (row["as_of"], *map(date.fromisoformat, others))
            files.append(_File(path, history, row["ingestion_id"], as_ofs))
    everything = [[row["content"], row["people"], row["again"]] for row in recorded]
    for history in sorted(rewritten.keys() & tables.keys()):
        digest = _digest([rewritten[history], list(tables[history].items()), everything])
        files.append(_File(folder / history / f"none-{digest}.parquet", history, None, ()))
    return tables, files


def _digest(state: list[Any]) -> str:
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]


def _query(database: Database, use_case: str, file: _File, types: Mapping[str, str]) -> str:
    names = {
        "columns": listed(list(types)),
        "history": identifier(use_case, file.history),
    }
    if file.ingestion_id is None:
        table = file.history.removesuffix("_history")
        return database.render("rows_of_no_ingestion", names, use_case=use_case, table=table)
    return database.render(
        "rows_of_one_ingestion", names, as_ofs=list(file.as_ofs), ingestion_id=file.ingestion_id
    )


def _write(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacement(path) as new, pq.ParquetWriter(new, schema, compression="zstd") as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch.cast(schema))


def _schema(types: Mapping[str, str]) -> pa.Schema:
    import pyarrow as pa

    arrow: dict[str, Any] = {
        "text": pa.string(),
        "bigint": pa.int64(),
        "double precision": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
    }
    return pa.schema([(name, arrow[kind]) for name, kind in types.items()])
