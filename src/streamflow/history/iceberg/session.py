"""The database whose rows of history are in tables of Apache Iceberg: DuckDB reads them, stages a
month's files and compares the two; PostgreSQL has all else, and commits."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.columnar.literals import rendered
from streamflow.columnar.session import READS_HISTORY, HistoryView, Session
from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.iceberg.brought_rows import BROUGHT, bring, query_of
from streamflow.history.iceberg.staged_queries import (
    COPIED,
    STAGED_READS,
    STAGED_WRITES,
    UNNEEDED,
    values_for_duckdb,
)
from streamflow.history.iceberg.written_files import transaction_with_files
from streamflow.postgres.database import Cursor, Database, Identifiers, Row
from streamflow.postgres.queries import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyiceberg.io import FileIO

    from streamflow.history.iceberg.catalog import Catalog


_MAKE_ROOM = (
    "Make room there, or let it be written, and run the same command again; nothing was added."
)
# The use case of each history in a query.
_OF_HISTORY = re.compile(r'"((?:[^"]|"")+)"\."(?:[^"]|"")+_history"')


class IcebergSession(Session):
    """A session of DuckDB over the data files of the tables below `location`.

    What an ingestion adds is committed with the thread's transaction, or not at all.
    """

    reads = READS_HISTORY | STAGED_READS

    def __init__(self, database: Database, location: str, memory: str, spill: Path) -> None:
        super().__init__(database, self.committed_tables, memory, spill)
        self.location = location
        self._known: dict[str, HistoryView] = {}
        self._states: dict[str, str] = {}
        self._numbers = count()
        self._thread_state = threading.local()

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog of the tables, in this database."""
        from streamflow.history.iceberg.catalog import Catalog

        return Catalog(self._database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As the database has it, with what is staged and written to tables of Iceberg."""
        state = self._thread_state
        if getattr(state, "files", None) is not None:
            with self._database.transaction():
                yield
            return
        state.staged = set()
        try:
            with transaction_with_files(self._database) as state.files:
                yield
        finally:
            self._forget_transaction()

    def execute(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> Cursor:
        """Run the named query where its rows are. Raises InvalidSettings for a history that is in
        PostgreSQL."""
        if name in UNNEEDED:
            return self._database.execute("nothing")
        if name in STAGED_WRITES:
            self._stage(name, identifiers, values)
            return self._database.execute("nothing")
        if name in ("create_history", "change_history"):
            from streamflow.history.iceberg import tables

            with self._files("written to", _MAKE_ROOM):
                if name == "create_history":
                    tables.create(self._database, self.catalog, self.location, **values)
                else:
                    tables.change(self._database, self.catalog, **values)
            return self._database.execute("nothing")
        if name in COPIED:
            self._copy_rows(name, identifiers, values)
            return self._database.execute("nothing")
        return super().execute(name, identifiers, **values)

    def rows(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> list[Row]:
        """All rows of the named query, as this thread's transaction sees them."""
        if name in BROUGHT and identifiers is not None:
            return self._with_rows_brought(name, identifiers, values)
        if name in self.reads:
            values = values_for_duckdb(name, values)
        return super().rows(name, identifiers, **values)

    def before_reading(self, text: str) -> None:
        """Bring the views of the use case in the query up to date, if they aren't."""
        for use_case in set(_OF_HISTORY.findall(text)):
            state = self._database.row("iceberg_state", use_case=use_case)["state"]
            if self._states.get(use_case) != state:
                self.refresh(use_case)

    def refresh(self, use_case: str) -> None:
        """As the base class has it."""
        with self._opening_duckdb:
            state = self._database.row("iceberg_state", use_case=use_case)["state"]
            super().refresh(use_case)
            self._states[use_case] = state

    @property
    def in_postgres(self) -> Database:
        """The database alone, in the same transactions, for what is staged and stored there."""
        return self._database

    def stage_batch(self, table: str, batch: pa.RecordBatch) -> None:
        """Add a batch to a table that `create_staging` made, by the names of its columns."""
        import pyarrow as pa

        with self.cursor() as cursor:
            cursor.register("batch", pa.Table.from_batches([batch]))
            cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM batch")

    def drop_staged_rows(self, identifiers: Identifiers, **values: object) -> int:
        """Run `drop_forgotten` over a staging table; returns how many rows there were."""
        hashes = self._database.rows("forgotten_hashes", **values)
        if not hashes:
            return 0
        pads = {name: one.hex() for name, one in values.items() if isinstance(one, bytes)}
        found = [bytes(row["hash"]).hex() for row in hashes]
        with self.cursor() as cursor:
            text = rendered("drop_forgotten", identifiers, {**pads, "hashes": found})
            row = cursor.execute(text).fetchone()
        return int(row[0]) if row else 0

    def remove_if_undone(self, io: FileIO, path: str) -> None:
        """Remove the file if the thread's transaction fails before its commit."""
        self._thread_state.files.append((io, path))

    def add_rows(
        self, name: str, identifiers: Identifiers, use_case: str, history: str, **values: object
    ) -> int:
        """Write the rows of a query such as `add_all` to the table of a history, in the order of
        their keys; returns how many there are. Raises FeatureStoreUnavailable."""
        with self._files("written to", _MAKE_ROOM):
            return self._add_rows(name, identifiers, use_case, history, values)

    def _add_rows(
        self,
        name: str,
        identifiers: Identifiers,
        use_case: str,
        history: str,
        values: dict[str, object],
    ) -> int:
        from streamflow.history.iceberg.data_files import require_durable_metadata, write_file

        as_of, ingestion = values["as_of"], values["ingestion_id"]
        assert isinstance(as_of, date)
        table = self.catalog.load_table((use_case, history))
        order = ", ".join(quoted(field.name) for field in table.schema().fields)
        columns = {field.name for field in table.schema().fields}
        text = rendered(name, identifiers, values)
        self.before_reading(text)
        with self.cursor() as cursor:
            found = cursor.sql(text)
            lacking = "".join(f", NULL AS {quoted(one)}" for one in columns - {*found.columns})
            found = found.query("added", f"SELECT {order} FROM (SELECT *{lacking} FROM added)")
            batches = iter(found.to_arrow_reader(100_000))
            data_file, rows = write_file(table, as_of, str(ingestion), batches)
        if data_file is None:
            return 0
        self.remove_if_undone(table.io, data_file.file_path)
        with table.transaction() as changed, changed.update_snapshot().merge_append() as appended:
            appended.append_data_file(data_file)
        require_durable_metadata(table)
        return rows

    def committed_tables(self, database: Database, use_case: str) -> Mapping[str, HistoryView]:
        """The tables of the use case as they are committed at one moment.

        Raises InvalidSettings if they are elsewhere, FeatureStoreUnavailable.
        """
        from streamflow.history.iceberg.data_files import data_files, history_view
        from streamflow.history.iceberg.tables import require_place

        require_place(database, use_case, self.location)
        found = database.rows("iceberg_tables", use_case=use_case)
        views = {}
        for row in found:
            place = row["metadata_location"]
            if place not in self._known:
                with self._files("read from", "Let it be read, and run the same command again."):
                    table = self.catalog.table_at(use_case, row["table_name"], place)
                    self._known[place] = history_view(table, data_files(table))
            views[row["table_name"]] = self._known[place]
        return views

    def _opened(self) -> DuckDBPyConnection:
        new = self._duckdb is None
        opened = super()._opened()
        scheme = self.location.partition(":")[0]
        if new and scheme != "file":
            from streamflow.history.iceberg.object_store import register_object_store

            register_object_store(opened, self.catalog, self.location, scheme)
        return opened

    def _in_postgres(self, name: str, /, **values: object) -> pa.Table:
        if getattr(self._thread_state, "files", None) is None:
            return super()._in_postgres(name, **values)
        import pyarrow as pa

        # With what this transaction wrote.
        return pa.Table.from_pylist(self._database.rows(name, **values))

    def _stage(self, name: str, identifiers: Identifiers | None, values: dict[str, object]) -> None:
        made = next(one for one in ("staging", "latest", "gone") if name.endswith(one))
        text = rendered(name, identifiers, values)
        self.before_reading(text)
        with self.cursor() as cursor:
            cursor.execute(text)
        self._thread_state.staged.add((identifiers or {})[made].as_string(None))

    def _copy_rows(
        self, name: str, identifiers: Identifiers | None, values: dict[str, object]
    ) -> None:
        text = rendered(name, identifiers, values)
        self.before_reading(text)
        with self.cursor() as cursor, self.connection() as connection:
            found = cursor.sql(text)
            query = self._database.render(COPIED[name]).encode()
            with connection.cursor() as writer, writer.copy(query) as copy:
                for batch in found.to_arrow_reader(100_000):
                    for row in zip(*(one.to_pylist() for one in batch.columns), strict=True):
                        copy.write_row(row)
        self._states.clear()

    def _with_rows_brought(
        self, name: str, identifiers: Identifiers, values: dict[str, object]
    ) -> list[Row]:
        """The rows of a query of PostgreSQL, after the rows of history in it were brought there."""
        with self.transaction():
            parts = dict(identifiers)
            for part in BROUGHT[name]:
                if not _OF_HISTORY.search(parts[part].as_string(None)):
                    continue
                text = query_of(name, part, parts, values)
                self.before_reading(text)
                with self.cursor() as cursor:
                    batches = cursor.sql(text).to_arrow_reader(100_000)
                    place = f"brought_{next(self._numbers)}"
                    # Looked up by each score of a scoring.
                    key = parts["key"] if name == "segment_ranks" else None
                    parts[part] = bring(self._database, place, batches, key)
            return self._database.rows(name, parts, **values)

    def _forget_transaction(self) -> None:
        """Drop what was staged."""
        state = self._thread_state
        staged, state.files, state.staged = state.staged, None, set()
        if staged:  # absences, too, that may not have been committed
            self._states.clear()
        if staged and self._duckdb is not None:
            with self.cursor() as cursor:
                for table in staged:
                    cursor.execute(f"DROP TABLE IF EXISTS {table}")

    @contextmanager
    def _files(self, done: str, advice: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FeatureStoreUnavailable(
                f"History can't be {done} {self.location}: {error.strerror or error}.", advice
            ) from error
