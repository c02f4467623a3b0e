"""The lines that stay of those who were forgotten, and rows of theirs that come again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from streamflow.history.forgotten.salted_hash import pads
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class ForgottenLine:
    """That an id with this salted hash was forgotten at `forgotten_at` (UTC), by whom and why.

    `tables` are those that rows were deleted of; `steps` names what was done since then.
    `written_at` is the server's time of the line.
    """

    forgotten_id: int
    salt: bytes
    hash: bytes
    forgotten_at: datetime
    forgotten_by: str
    why: str
    written_at: datetime
    tables: tuple[str, ...]
    steps: tuple[str, ...]


def forgotten_lines(database: Database, use_case: UseCase) -> list[ForgottenLine]:
    """Everybody of the use case who was forgotten, in their order."""
    rows = database.rows("forgotten", use_case=use_case.name)
    lists = ("tables", "steps")
    return [
        ForgottenLine(**{**row, **{name: tuple(row[name] or ()) for name in lists}}) for row in rows
    ]


def salts(database: Database, use_case: UseCase) -> list[bytes]:
    """The salts of those who were forgotten, the newest last; usually it is one."""
    return [row["salt"] for row in database.rows("forgotten_salts", use_case=use_case.name)]


def count_forgotten(database: Database, use_case: UseCase) -> int:
    """How many were forgotten so far."""
    count: int = database.row("count_forgotten", use_case=use_case.name)["people"]
    return count


def drop_forgotten(
    database: Database,
    use_case: UseCase,
    names: Mapping[str, Composable],
    known: Iterable[bytes],
) -> int:
    """Delete the rows of forgotten ids from a staging table, and return how many there were.

    `names` has the staging table and the key, `known` the salts.
    """
    dropped = 0
    for salt in known:
        values = {"use_case": use_case.name, "salt": salt, **pads(salt)}
        if isinstance(database, IcebergSession):
            dropped += database.drop_staged_rows(names, **values)
        else:
            dropped += database.execute("drop_forgotten", names, **values).rowcount
    return dropped
