"""Files below a table's location that nobody needs any more: those that snapshots of before had,
and those that a killed process has left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.serializers import FromInputFile

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.history.iceberg.session import IcebergSession

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

_METADATA = ".metadata.json"


@dataclass(frozen=True)
class UnneededFiles:
    """So many files of so many bytes; `removed` is false while a step runs that may read them."""

    files: int
    bytes: int
    removed: bool


def unneeded_snapshots(metadata: TableMetadata, replaced_before: datetime) -> list[int]:
    """The ids of the snapshots that another one replaced before that time (UTC)."""
    kept = {ref.snapshot_id for ref in metadata.refs.values()}
    limit = replaced_before.timestamp() * 1000
    inorder = sorted(metadata.snapshots, key=lambda one: one.sequence_number or 0)
    return [
        one.snapshot_id
        for one, next_one in pairwise(inorder)
        if next_one.timestamp_ms < limit and one.snapshot_id not in kept
    ]


def remove_unneeded_files(
    session: IcebergSession, use_case: str, replaced_before: datetime
) -> UnneededFiles:
    """Remove the files below the tables of the use case that are in no snapshot, and that have been
    there since before that time (UTC). While a step runs, none is removed.

    Raises OSError, InvalidSettings if there are files of another database's table,
    FeatureStoreUnavailable if not all files are found that the tables have.
    """
    found: list[tuple[Table, list[Any]]] = []
    with session.transaction():
        # What an ingestion under way has written is in no snapshot yet.
        session.execute("lock_ingestion", use_case=use_case)
        for row in session.rows("iceberg_tables", use_case=use_case):
            table = session.catalog.load_table((use_case, row["table_name"]))
            found.append((table, _unneeded(table, replaced_before)))
        files = [file for _, unneeded in found for file in unneeded]
        size = sum(file.size for file in files)
        locked = not files or session.row("try_lock_steps")["locked"]
        if locked:
            for table, unneeded in found:
                system = _file_system(table)
                for file in unneeded:
                    system.delete_file(file.path)
    return UnneededFiles(len(files), size, locked)


def _unneeded(table: Table, replaced_before: datetime) -> list[Any]:
    from pyarrow.fs import FileSelector, FileType

    place = _path(table, table.location())
    system = _file_system(table)
    selector = FileSelector(place, recursive=True, allow_not_found=True)
    there = {one.path: one for one in system.get_file_info(selector) if one.type == FileType.File}
    needed = {_path(table, path) for path in _needed(table, replaced_before)}
    if lacking := needed - there.keys():
        raise FeatureStoreUnavailable(
            f"{min(lacking)} isn't found below {table.location()}, and the table has it.",
            "Bring it back, or look at how the place is written in STREAMFLOW_HISTORY; no file was "
            "removed.",
        )
    unneeded = [there[path] for path in sorted(there.keys() - needed)]
    for file in unneeded:
        if file.path.endswith(_METADATA):
            _require_own(table, file.path)
    return [file for file in unneeded if file.mtime < replaced_before]


def _needed(table: Table, replaced_before: datetime) -> Iterator[str]:
    yield table.metadata_location
    limit = replaced_before.timestamp() * 1000
    replaced = [one.timestamp_ms for one in table.metadata.metadata_log[1:]]
    replaced.append(table.metadata.last_updated_ms)
    for entry, replaced_at in zip(table.metadata.metadata_log, replaced, strict=False):
        if replaced_at >= limit:
            yield entry.metadata_file
    manifests = {}
    for snapshot in table.metadata.snapshots:
        yield snapshot.manifest_list
        manifests.update({one.manifest_path: one for one in snapshot.manifests(table.io)})
    for path, manifest in manifests.items():
        yield path
        for file in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield file.data_file.file_path


def _require_own(table: Table, path: str) -> None:
    """Raise InvalidSettings if the metadata are of another table: of another database, whose files
    are in no snapshot of ours."""
    scheme = table.location().partition(":")[0]
    metadata = FromInputFile.table_metadata(table.io.new_input(f"{scheme}://{path}"))
    if metadata.table_uuid != table.metadata.table_uuid:
        raise InvalidSettings(
            f"{table.location()} has files of another database's history: {path} is of another "
            "table.",
            "Give each database a location of its own; no file was removed.",
        )


def _path(table: Table, location: str) -> str:
    assert isinstance(table.io, PyArrowFileIO)
    return table.io.parse_location(location, table.io.properties)[2]


def _file_system(table: Table) -> Any:
    assert isinstance(table.io, PyArrowFileIO)
    scheme, host, _ = table.io.parse_location(table.location(), table.io.properties)
    return table.io.fs_by_scheme(scheme, host)
