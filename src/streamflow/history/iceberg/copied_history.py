"""The columns and files of a history, to be copied, and a history made anew of such copies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from pyarrow.fs import FileSelector
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO, parquet_file_to_data_file, pyarrow_to_schema
from pyiceberg.serializers import FromInputFile

from streamflow.errors import InvalidSettings
from streamflow.history.iceberg.catalog import POSTGRES_TYPES, Catalog, table_location
from streamflow.history.iceberg.data_files import data_files, durable, require_durable_metadata
from streamflow.history.iceberg.written_files import WrittenFiles
from streamflow.postgres.database import Database

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_PART_BYTES = 1 << 20

Read = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class HistoryFiles:
    """A history's columns with PostgreSQL's types, in the order of their numbers in the files,
    these numbers, and what reads each of its files in parts."""

    columns: Mapping[str, str]
    numbers: Sequence[int]
    files: list[Read]


def history_files(database: Database, use_case: str) -> dict[str, HistoryFiles]:
    """The histories of the use case as the database's transaction has them. Raises OSError; so does
    the reading of a file."""
    catalog = Catalog(database)
    found = {}
    for row in database.rows("iceberg_tables", use_case=use_case):
        table = catalog.load_table((use_case, row["table_name"]))
        fields = sorted(table.schema().fields, key=lambda field: field.field_id)
        found[row["table_name"]] = HistoryFiles(
            {field.name: POSTGRES_TYPES[str(field.field_type)] for field in fields},
            [field.field_id for field in fields],
            [_reader(table, file.file_path) for file in data_files(table)],
        )
    return found


def create_from_files(
    database: Database,
    use_case: str,
    location: str,
    histories: Mapping[str, HistoryFiles],
    written: WrittenFiles,
) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Write these files below the location, and make tables of Iceberg of them; the named queries
    with their values that put the histories into the catalog. `written` gets the files.

    Raises ValueError where a file isn't one of such a history, OSError, InvalidSettings if there
    are files of another database's table.
    """
    catalog = _Uncommitted(database)
    for history in histories:
        catalog.require_free(use_case, history, location)
    yield "add_iceberg_location", {"use_case": use_case, "location": location}
    for history, copied in histories.items():
        table = _create(catalog, use_case, history, location, copied)
        files = [_written(table, read, written) for read in copied.files]
        if files:
            with table.transaction() as changed, changed.update_snapshot().fast_append() as new:
                for file in files:
                    new.append_data_file(file)
        require_durable_metadata(table)
        named = {"use_case": use_case, "history": history}
        yield "add_iceberg_table", {**named, "metadata": table.metadata_location}
        columns = json.dumps([*copied.columns.items()])
        yield "create_history_elsewhere", {**named, "columns": columns}


def _create(
    catalog: Catalog, use_case: str, history: str, location: str, copied: HistoryFiles
) -> Table:
    """Create the table, whose columns have the numbers that they have in the files.

    A new table numbers its columns from 1, without a gap. A column that became one of another type
    has left one: there is a column in its place for a moment.
    """
    named = dict(zip(copied.numbers, copied.columns.items(), strict=True))
    gaps = {number: str(uuid.uuid4()) for number in {*range(1, max(named))} - {*named}}
    placed = (
        named.get(number, (gaps.get(number, ""), "text")) for number in range(1, max(named) + 1)
    )
    catalog.create_history(use_case, history, location, dict(placed))
    if gaps:
        with catalog.load_table((use_case, history)).update_schema() as schema:
            for name in gaps.values():
                schema.delete_column(name)
    return catalog.load_table((use_case, history))


class _Uncommitted(Catalog):
    """A catalog whose tables no database has yet."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._pointers: dict[tuple[str, str], str] = {}

    def load_table(self, identifier: Any) -> Table:
        use_case, history = self.identifier_to_tuple(identifier)
        if (use_case, history) not in self._pointers:
            raise NoSuchTableError(f"{use_case}.{history}")
        return self.table_at(use_case, history, self._pointers[use_case, history])

    def require_free(self, use_case: str, history: str, location: str) -> None:
        """Raise InvalidSettings if there are metadata of another database's table below `location`
        where this one's would be."""
        place = table_location(use_case, history, location)
        io = self._load_file_io(location=place)
        assert isinstance(io, PyArrowFileIO)
        scheme, host, path = io.parse_location(place, io.properties)
        selector = FileSelector(f"{path}/metadata", allow_not_found=True)
        for file in io.fs_by_scheme(scheme, host).get_file_info(selector):
            if not file.path.endswith(".metadata.json"):
                continue
            there = FromInputFile.table_metadata(io.new_input(f"{scheme}://{file.path}"))
            if there.table_uuid != self.table_uuid(use_case, history):
                raise InvalidSettings(
                    f"{place} has files of another database's history: {file.path}.",
                    "Set STREAMFLOW_HISTORY to a location of its own.",
                )

    def point(self, use_case: str, history: str, metadata: str, before: str | None) -> bool:
        self._pointers[use_case, history] = metadata
        return True


def _reader(table: Table, path: str) -> Read:
    def read() -> Iterator[bytes]:
        with table.io.new_input(path).open() as stream:
            while part := stream.read(_PART_BYTES):
                yield part

    return read


def _written(table: Table, read: Read, written: WrittenFiles) -> DataFile:
    path = f"{table.location()}/data/restored-{uuid.uuid4()}.parquet"
    written.append((table.io, path))
    with table.io.new_output(path).create() as stream:
        for part in read():
            stream.write(part)
    durable(path)
    with table.io.new_input(path).open() as stream:
        found = pyarrow_to_schema(pq.read_schema(stream))
    for field in found.fields:
        expected = table.schema().find_field(field.field_id)
        if expected.field_type != field.field_type:
            raise ValueError(f"{expected.name} is {field.field_type}, not {expected.field_type}")
    return parquet_file_to_data_file(table.io, table.metadata, path)
