"""Files that a transaction writes: they are removed if it fails before its commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from streamflow.postgres.database import Database

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

WrittenFiles = list[tuple["FileIO", str]]


@contextmanager
def transaction_with_files(database: Database) -> Iterator[WrittenFiles]:
    """A transaction of the database, and a list for the files that are written in it.

    Those in the list are removed if the block or a check before the commit fails. Of a commit that
    fails nobody knows whether the server has made it: then they stay.
    """
    files: WrittenFiles = []
    try:
        with database.transaction():
            yield files
            files.clear()
    finally:
        for io, path in files:
            remove(io, path)


def remove(io: FileIO, path: str) -> None:
    """Remove a file that no table has, if that is possible."""
    with suppress(Exception):
        io.delete(path)
