"""A database whose history is read by DuckDB in this process, over Parquet files."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow.columnar.literals import literal, rendered
from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.postgres.database import Connection, Cursor, Database, Identifiers, Row
from streamflow.postgres.queries import quoted
from streamflow.postgres.record_batches import record_batch_reader
from streamflow.scratch import scratch

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

# The named queries that read rows of history and write nothing. All others are PostgreSQL's.
READS_HISTORY = frozenset(
    {
        *("month_is_known", "labelled_months", "count_month_labels", "label_exists"),
        *("entity_rows", "entities_with_label", "entity_hashes", "entities_at"),
        *("count_labelled", "count_entities", "count_null_labels", "count_premature_labels"),
        *("entities_without_row", "rows_of_ingestions"),
        *("segment_values", "segment_values_before"),
        *("oldest_event", "newest_event", "count_window", "labels_after"),
        "absent_entities",
        *("rows_by_month", "entities_by_month", "compare_entities", "same_rows_of_months"),
        *("count_rows", "count_features", "summarize_features", "feature_quantiles"),
        *("judged_scores", "validation_rows"),
    }
)
# What queries of history join with, by its columns that they read.
_SMALL_TABLES = {
    "withdrawals": "ingestion_id bigint, recorded_at timestamptz",
    "absences": "use_case text, history text, entity text, event_timestamp timestamptz, "
    "recorded_at timestamptz, ingestion_id bigint",
}
# By query, rows of PostgreSQL that it is joined with: their name in it, and the query of them.
_JOINED_ROWS = {"judged_scores": ("joined_scores", "copied_scores")}
# Queries whose values are the columns of rows, named `given` in them.
_GIVEN_ROWS = frozenset({"validation_rows"})
_ROWS_PER_BATCH = 100_000


@dataclass(frozen=True)
class HistoryView:
    """A table of history: its columns with PostgreSQL's types, and the Parquet files of it.

    With `field_ids`, the columns' numbers in the files, files may lack columns or have other names.
    """

    columns: Mapping[str, str]
    files: Sequence[str]
    field_ids: Mapping[str, int] | None = None


# What there is of each history of a use case, by the name of its table.
Histories = Callable[[Database, str], Mapping[str, HistoryView]]


class Session(Database):
    """The database, with the queries that read history run by DuckDB.

    What is rendered is in DuckDB's SQL. Before a reader's first query, `wait_for_ingestion`, the
    session asks `histories` for the use case's tables, and copies what they are joined with: until
    then there are none. Any thread may use it. Sessions are in UTC.
    """

    # The named queries whose rows are read by DuckDB.
    reads = READS_HISTORY

    def __init__(self, database: Database, histories: Histories, memory: str, spill: Path) -> None:
        super().__init__(database.address)
        self._database, self._histories = database, histories
        self._memory, self._spill = memory, spill
        self._opening_duckdb = threading.RLock()
        self._duckdb: DuckDBPyConnection | None = None
        self._folder: Any = None
        # By schema of a use case, what there is of each table of history.
        self.views: dict[str, Mapping[str, HistoryView]] = {}

    def close(self) -> None:
        """Close DuckDB and remove what it spilled; the database stays open."""
        with self._opening_duckdb:
            if self._duckdb is not None:
                self._duckdb.close()
                self._folder.__exit__(None, None, None)
            self._duckdb = self._folder = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """As the database has it."""
        with self._database.connection() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As the database has it; DuckDB's queries are no part of it."""
        with self._database.transaction():
            yield

    def execute(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> Cursor:
        """As the database has it."""
        done = self._database.execute(name, identifiers, **values)
        if name == "wait_for_ingestion":
            self.refresh(str(values["use_case"]))
        return done

    def rows(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> list[Row]:
        """All rows of the named query. Raises FeatureStoreUnavailable."""
        if name not in self.reads:
            return self._database.rows(name, identifiers, **values)
        text = rendered(name, identifiers, values)
        self.before_reading(text)
        with self.cursor() as cursor:
            found: pa.Table = cursor.sql(text).to_arrow_table()
        rows: list[Row] = found.to_pylist()
        return rows

    def stream(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> Iterator[tuple[Any, ...]]:
        """As the database has it. Raises FeatureStoreUnavailable, too."""
        if name not in self.reads:
            yield from self._database.stream(name, identifiers, **values)
            return
        import pyarrow as pa

        self.before_reading(rendered(name, identifiers, values))
        with self.cursor() as cursor:
            if name in _GIVEN_ROWS:
                cursor.register("given", pa.table(values))
                values = {}
            if name in _JOINED_ROWS:
                joined, query = _JOINED_ROWS[name]
                cursor.register(joined, self._in_postgres(query, **values))
            found = cursor.sql(rendered(name, identifiers, values))
            for batch in found.to_arrow_reader(_ROWS_PER_BATCH):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def render(self, name: str, identifiers: Identifiers | None = None, /, **values: object) -> str:
        """The named query as text in DuckDB's SQL, with its values in it."""
        return rendered(name, identifiers, values)

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query in DuckDB's SQL. Raises FeatureStoreUnavailable."""
        self.before_reading(query)
        with self.cursor() as cursor:
            yield from cursor.sql(query).to_arrow_reader(_ROWS_PER_BATCH)

    def before_reading(self, text: str) -> None:
        """What a query in DuckDB's SQL needs; here, views are as `refresh` made them last."""

    @contextmanager
    def cursor(self) -> Iterator[DuckDBPyConnection]:
        """A connection of its own to the session's DuckDB, for one thread.

        Raises FeatureStoreUnavailable for DuckDB's errors in the block.
        """
        import duckdb

        try:
            with self._opened().cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
                yield cursor
        except duckdb.Error as error:
            raise _failed(error, self._memory) from error

    @property
    def engine(self) -> DuckDBPyConnection:
        """The session's DuckDB, of which each thread takes a cursor."""
        return self._opened()

    def refresh(self, use_case: str) -> None:
        """Bring the views of the use case's history, and the small tables, up to date.

        Raises InvalidSettings for names that DuckDB doesn't tell apart.
        """
        with self._opening_duckdb:
            histories = self._histories(self._database, use_case)
            _require_told_apart("tables of history", histories)
            for history, view in histories.items():
                _require_told_apart(f"columns of {history}", view.columns)
            with self.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("CREATE SCHEMA IF NOT EXISTS streamflow")
                for table, columns in _SMALL_TABLES.items():
                    self._copy(cursor, use_case, table, columns)
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(use_case)}")
                for history, view in histories.items():
                    name = f"{quoted(use_case)}.{quoted(history)}"
                    cursor.execute(f"CREATE OR REPLACE VIEW {name} AS {view_query(view)}")
                cursor.execute("COMMIT")
            self.views[use_case] = histories

    def _in_postgres(self, name: str, /, **values: object) -> pa.Table:
        """All rows of a query that PostgreSQL answers."""
        import pyarrow as pa

        with record_batch_reader(self._database) as read:
            return pa.Table.from_batches(read(self._database.render(name, **values)))

    def _copy(self, cursor: DuckDBPyConnection, use_case: str, table: str, columns: str) -> None:
        cursor.execute(f"CREATE OR REPLACE TABLE streamflow.{table} ({columns})")
        if not self._database.rows(f"any_{table}", use_case=use_case):
            return
        cursor.register("copied", self._in_postgres(f"copied_{table}", use_case=use_case))
        cursor.execute(f"INSERT INTO streamflow.{table} BY NAME SELECT * FROM copied")
        cursor.unregister("copied")

    def _opened(self) -> DuckDBPyConnection:
        with self._opening_duckdb:
            if self._duckdb is None:
                import duckdb

                self._folder = scratch(self._spill)
                folder = self._folder.__enter__()
                self._duckdb = duckdb.connect(
                    ":memory:",
                    config={
                        # All that is needed is in the library: nothing is downloaded.
                        "autoinstall_known_extensions": "false",
                        "autoload_known_extensions": "false",
                        "threads": str(_cores()),
                        "memory_limit": self._memory,
                        "temp_directory": str(folder),
                        "preserve_insertion_order": "false",
                    },
                )
            return self._duckdb


def _require_told_apart(what: str, names: Iterable[str]) -> None:
    """DuckDB would silently take one for the other."""
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(name.casefold(), name)
        if other != name:
            raise InvalidSettings(
                f"DuckDB doesn't tell the {what} {other!r} and {name!r} apart: names that differ "
                "by case are one to it.",
                "Use STREAMFLOW_ENGINE=postgres.",
            )


def _cores() -> int:
    """Those that the process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def view_query(view: HistoryView) -> str:
    """The query of the view's rows, in DuckDB's SQL."""
    columns = ", ".join(
        f"{quoted(name)}::{_type(kind)} AS {quoted(name)}" for name, kind in view.columns.items()
    )
    if view.files:
        # DuckDB takes names for patterns, and values of columns from folders such as as_of=2024.
        files = literal([glob.escape(file) for file in view.files])
        options = "hive_partitioning = false"
        if view.field_ids is not None:
            fields = ", ".join(
                f"{number}: {{name: {literal(name)}, type: {literal(_type(view.columns[name]))}, "
                "default_value: NULL}"
                for name, number in view.field_ids.items()
            )
            options = f"{options}, schema = MAP {{{fields}}}"
        return f"SELECT {columns} FROM read_parquet({files}, {options})"
    nothing = ", ".join(f"NULL AS {quoted(name)}" for name in view.columns)
    return f"SELECT {columns} FROM (SELECT {nothing}) AS nothing WHERE false"


def _type(kind: str) -> str:
    return {"timestamp with time zone": "timestamptz", "double precision": "double"}.get(kind, kind)


def _failed(error: Exception, memory: str) -> FeatureStoreUnavailable:
    said = " ".join(str(error).split())[:300]
    return FeatureStoreUnavailable(
        f"DuckDB can't read history: {said}",
        f"Run the same command again; where memory is short ({memory} now), with a larger "
        "STREAMFLOW_ENGINE_MEMORY, or with STREAMFLOW_ENGINE=postgres.",
    )
