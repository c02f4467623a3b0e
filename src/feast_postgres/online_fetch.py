"""Execution of the statements that read features, in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, AsyncRawCursor, Connection, RawCursor

from feast_postgres.connections import Connections
from feast_postgres.online_rows import ResultRows
from feast_postgres.versions import missing_table_named

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig

# A statement's text, and its parameters: an array per join key.
Request = tuple[bytes, list[list[object]]]


def fetch(
    connections: Connections, config: RepoConfig, requests: Sequence[Request]
) -> list[ResultRows]:
    """The rows of each request, in order of position.

    Raises psycopg.errors.UndefinedTable if a feature view has no table.
    """

    def work(connection: Connection[object]) -> list[ResultRows]:
        return _fetch(connection, requests)

    with missing_table_named():
        return connections.run(config.online_store, work)


async def fetch_async(
    connections: Connections, config: RepoConfig, requests: Sequence[Request]
) -> list[ResultRows]:
    """`fetch` without blocking the event loop."""

    async def work(connection: AsyncConnection[object]) -> list[ResultRows]:
        return await _fetch_async(connection, requests)

    with missing_table_named():
        return await connections.run_async(config.online_store, work)


def _fetch(connection: Connection[object], statements: Sequence[Request]) -> list[ResultRows]:
    """The rows of each statement with its parameters, in order of position, in one round trip."""
    if len(statements) == 1:
        cursors = [RawCursor(connection).execute(*statements[0], prepare=True, binary=True)]
    else:
        with connection.pipeline():
            cursors = [
                RawCursor(connection).execute(*one, prepare=True, binary=True) for one in statements
            ]
    return [_in_order(cursor.fetchall()) for cursor in cursors]


async def _fetch_async(
    connection: AsyncConnection[object], statements: Sequence[Request]
) -> list[ResultRows]:
    if len(statements) == 1:
        cursors = [
            await AsyncRawCursor(connection).execute(*statements[0], prepare=True, binary=True)
        ]
    else:
        async with connection.pipeline():
            cursors = [
                await AsyncRawCursor(connection).execute(*one, prepare=True, binary=True)
                for one in statements
            ]
    return [_in_order(await cursor.fetchall()) for cursor in cursors]


def _in_order(rows: list[Any]) -> ResultRows:
    """By position, the first column."""
    return sorted(rows, key=itemgetter(0))
