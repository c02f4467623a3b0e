"""The files of a history in Apache Iceberg: into a backup, and from there to a location."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.history.iceberg.written_files import WrittenFiles, remove
from streamflow.operations.backup_archive import Archive, ReadMember
from streamflow.operations.backup_content import Content
from streamflow.operations.backup_errors import BackupRefused
from streamflow.operations.backup_manifest import HISTORY, Manifest, shown
from streamflow.postgres.database import Database
from streamflow.progress import Progress

if TYPE_CHECKING:
    from streamflow.history.iceberg.copied_history import HistoryFiles, Read

_COLUMNS = "columns.json"
_LARGEST_COLUMNS_BYTES = 1 << 20
# Of a column in the files, as large as no history has them.
_LARGEST_NUMBER = 100_000
# Each history has these, beside its key.
_OWN_COLUMNS = {
    "as_of": "date",
    "event_timestamp": "timestamp with time zone",
    "recorded_at": "timestamp with time zone",
    "ingestion_id": "bigint",
}


def members(database: Database, use_case: str) -> list[tuple[str, ReadMember]]:
    """The backup's members with the history, as the database's transaction has it.

    Raises BackupRefused if files can't be read; so does the reading of a member.
    """
    from streamflow.history.iceberg.copied_history import history_files

    try:
        histories = history_files(database, use_case)
    except OSError as error:
        raise _unreadable(error) from error
    found: list[tuple[str, ReadMember]] = []
    for history, copied in histories.items():
        place = f"{HISTORY}{use_case}/{history}/"
        columns = json.dumps(_listed(copied)).encode()
        found.append((place + _COLUMNS, partial(_once, columns)))
        for number, read in enumerate(copied.files):
            found.append((f"{place}{number:06}.parquet", partial(_readable, read)))
    return found


def _listed(copied: HistoryFiles) -> list[tuple[str, str] | tuple[str, str, int]]:
    """Names and types; with numbers only where they have gaps, which older programs don't know."""
    if [*copied.numbers] == [*range(1, len(copied.columns) + 1)]:
        return [*copied.columns.items()]
    pairs = zip(copied.columns.items(), copied.numbers, strict=True)
    return [(name, kind, number) for (name, kind), number in pairs]


def _once(content: bytes) -> Iterator[bytes]:
    yield content


def _readable(read: Read) -> Iterator[bytes]:
    try:
        yield from read()
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> BackupRefused:
    return BackupRefused(
        f"A file of history can't be read: {error}.",
        "Let it be read; if somebody has just been forgotten, run the same command again.",
    )


def require_location(backup: Archive, location: str) -> None:
    """Raise BackupRefused if the backup has files of a history, and `location` is no place for
    them."""
    if location == "postgres" and _named(backup.manifest):
        raise BackupRefused(
            f"{backup.file} has a history in Apache Iceberg, and STREAMFLOW_HISTORY doesn't say "
            "where its files are to be.",
            "Set STREAMFLOW_HISTORY to a location of its own, such as file:///srv/history, and "
            "STREAMFLOW_ENGINE=duckdb.",
        )


def require_place(content: Content, use_case: str, location: str) -> None:
    """Raise InvalidSettings if the use case's history in the backup is in PostgreSQL, and
    `location` is elsewhere."""
    if location == "postgres":
        return
    if not content.temporary.row("history_is_here", use_case=use_case)["here"]:
        return
    elsewhere = ", ".join(_named(content.backup.manifest))
    raise InvalidSettings(
        f"{content.backup.file} has the history of {use_case!r} in PostgreSQL, and "
        f"STREAMFLOW_HISTORY={location}.",
        f"Set STREAMFLOW_USE_CASE to one whose history is in Apache Iceberg there: {elsewhere}."
        if elsewhere
        else "Set STREAMFLOW_HISTORY=postgres; `streamflow move-history` takes it along later.",
    )


def put(database: Database, location: str, backup: Archive, progress: Progress) -> Iterator[bytes]:
    """Write the backup's files of history below the location; SQL that puts them into the catalog
    of the database, which is restored in the same transaction. Without such files, nothing.

    Raises BackupRefused if one isn't a file of history, InvalidSettings if the location has another
    database's, FeatureStoreUnavailable if they can't be written; those that were are removed then.
    """
    named = _named(backup.manifest)
    if not named:
        return iter(())
    from streamflow.history.iceberg.copied_history import create_from_files

    written: WrittenFiles = []
    statements = []
    try:
        for use_case, histories in named.items():
            copied = {name: _copied(backup, members) for name, members in histories.items()}
            progress(f"history of {use_case}")
            for name, values in create_from_files(database, use_case, location, copied, written):
                statements.append(f"{database.render(name, **values)};\n".encode())
    except BaseException as error:
        for io, path in written:
            remove(io, path)
        if isinstance(error, OSError):
            raise FeatureStoreUnavailable(
                f"History can't be written to {location}: {error.strerror or error}.",
                "Make room there, or let it be written, and run the same command again.",
            ) from error
        if isinstance(error, ValueError):
            why = str(error).strip().partition("\n")[0].rstrip(".")
            raise BackupRefused(
                f"{backup.file} isn't restored: a file of its history isn't one: {shown(why)}.",
                "Restore another backup, one that `streamflow backup` wrote.",
            ) from error
        raise
    return iter(statements)


def _named(manifest: Manifest) -> dict[str, dict[str, list[str]]]:
    """By use case and history the names of the members, in order."""
    found: dict[str, dict[str, list[str]]] = {}
    for member in manifest.members:
        if member.name.startswith(HISTORY):
            use_case, history, _ = member.name.removeprefix(HISTORY).split("/")
            found.setdefault(use_case, {}).setdefault(history, []).append(member.name)
    return found


def _copied(backup: Archive, names: Sequence[str]) -> HistoryFiles:
    """The history of these members. Raises ValueError if its columns can't be such."""
    from pydantic import TypeAdapter

    from streamflow.history.iceberg.catalog import ICEBERG_TYPES
    from streamflow.history.iceberg.copied_history import HistoryFiles

    (listed,) = [name for name in names if name.endswith(_COLUMNS)]
    (size,) = [one.size for one in backup.manifest.members if one.name == listed]
    if size > _LARGEST_COLUMNS_BYTES:
        raise ValueError(f"{shown(listed)} is too large")
    # Unlike json.loads it refuses what is nested too deeply.
    shape = TypeAdapter(list[tuple[str, str]] | list[tuple[str, str, int]])
    found = shape.validate_json(b"".join(backup.content(listed)))
    columns, kinds = {one[0]: one[1] for one in found}, {*ICEBERG_TYPES}
    numbers = [int(one[2]) if len(one) == 3 else place for place, one in enumerate(found, 1)]
    own = _OWN_COLUMNS.items() <= columns.items() and len(columns) == len(found)
    ordered = numbers == sorted({*numbers} & {*range(1, _LARGEST_NUMBER)})
    if not own or not ordered or not kinds >= {*columns.values()}:
        raise ValueError(f"{shown(listed)} names columns that can't be")
    files = [partial(backup.content, name) for name in names if name != listed]
    return HistoryFiles(columns, numbers, [*files])
