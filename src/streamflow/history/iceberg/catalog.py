"""PyIceberg's SQL catalog on a connection of ours: what it commits, our transaction commits.

So the tables of a month and the line of its ingestion are one commit. The tables are those that
PyIceberg's own SQL catalog reads, under the name `streamflow`, in the schema `streamflow`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from streamflow.postgres.database import Database

NAME = "streamflow"
# Iceberg's type by PostgreSQL's.
ICEBERG_TYPES: Mapping[str, PrimitiveType] = {
    "text": StringType(),
    "bigint": LongType(),
    "double precision": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp with time zone": TimestamptzType(),
}
POSTGRES_TYPES = {str(kind): name for name, kind in ICEBERG_TYPES.items()}
_AS_OF = "as_of"
# Metadata tell how many values there are, and no value but the as_of: whoever is forgotten is in
# no metadata.
_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.metadata.metrics.default": "counts",
    f"write.metadata.metrics.column.{_AS_OF}": "full",
}


class Catalog(SqlCatalog):
    """The catalog of the tables in a database; writes happen in the thread's transaction."""

    def __init__(self, database: Database) -> None:
        MetastoreCatalog.__init__(self, NAME, **_file_options())
        self._database = database
        self._schema_version = "v1"

    def load_table(self, identifier: Any) -> Table:
        """The table of (use case, history) as it is now. Raises NoSuchTableError."""
        use_case, history = self.identifier_to_tuple(identifier)
        for row in self._database.rows("iceberg_tables", use_case=use_case):
            if row["table_name"] == history:
                return self.table_at(use_case, history, row["metadata_location"])
        raise NoSuchTableError(f"{use_case}.{history}")

    def table_at(self, use_case: str, history: str, location: str) -> Table:
        """The table with the metadata at a location. Raises OSError."""
        io = self._load_file_io(location=location)
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return Table((use_case, history), metadata, location, io, self)

    def create_history(
        self, use_case: str, history: str, location: str, columns: Mapping[str, str]
    ) -> None:
        """Create the table, partitioned by as_of; `columns` are all, with PostgreSQL's types."""
        schema = Schema(
            *(
                NestedField(number, name, ICEBERG_TYPES[kind], required=False)
                for number, (name, kind) in enumerate(columns.items(), 1)
            )
        )
        source = schema.find_field(_AS_OF).field_id
        partitions = PartitionSpec(PartitionField(source, 1000, IdentityTransform(), _AS_OF))
        metadata = new_table_metadata(
            table_uuid=self.table_uuid(use_case, history),
            schema=schema,
            partition_spec=partitions,
            sort_order=_unsorted(),
            location=table_location(use_case, history, location),
            properties=dict(_PROPERTIES),
        )
        provider = load_location_provider(metadata.location, metadata.properties)
        path = provider.new_table_metadata_file_location()
        self._write_metadata(metadata, self._load_file_io(location=path), path)
        self.point(use_case, history, path, None)

    def table_uuid(self, use_case: str, history: str) -> uuid.UUID:
        """The id of the table; another database's table in the same place has another one."""
        identity = self._database.row("database_identity")["identity"]
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{identity}/{use_case}/{history}")

    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        """As the base class has it. Raises CommitFailedException."""
        current = self.load_table(table.name())
        staged = self._update_and_stage_table(current, table.name(), requirements, updates)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        use_case, history = table.name()
        if not self.point(use_case, history, staged.metadata_location, current.metadata_location):
            raise CommitFailedException(f"{use_case}.{history} was changed meanwhile")
        return CommitTableResponse.model_validate(
            {"metadata": staged.metadata, "metadata-location": staged.metadata_location}
        )

    def point(self, use_case: str, history: str, metadata: str, before: str | None) -> bool:
        """Make this the table's metadata; false if it isn't `before` any more, None for no table.

        The thread's transaction commits it.
        """
        named = {"use_case": use_case, "history": history, "metadata": metadata}
        if before is None:
            self._database.execute("add_iceberg_table", **named)
            return True
        return (
            self._database.execute("replace_iceberg_metadata", **named, before=before).rowcount == 1
        )


def table_location(use_case: str, history: str, location: str) -> str:
    """Where the table is, of those below `location`."""
    return f"{location.rstrip('/')}/{use_case}/{history}"


def _unsorted() -> Any:
    from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

    return UNSORTED_SORT_ORDER


def _file_options() -> dict[str, str]:
    """What an object store is reached by, from the variables that its own tools read."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    found = {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO", "s3.region": region}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        found["s3.endpoint"] = endpoint
    return found
