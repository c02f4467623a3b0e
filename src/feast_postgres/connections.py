"""Connections to one PostgreSQL server: opened at first use, shared, reopened after a restart."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from psycopg import AsyncConnection, Connection, OperationalError
from psycopg.errors import FeatureNotSupported
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

if TYPE_CHECKING:
    from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig

Result = TypeVar("Result")
_Pool: TypeAlias = ConnectionPool[Connection[TupleRow]]
_AsyncPool: TypeAlias = AsyncConnectionPool[AsyncConnection[TupleRow]]

# Reads are joins of tables by their primary keys, prepared once. These settings make each an index
# scan, in the order written, even if its table was empty when the statement was planned.
SESSION = {
    "timezone": "UTC",
    "plan_cache_mode": "force_generic_plan",
    "join_collapse_limit": "1",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_memoize": "off",
    "jit": "off",
}


class Connections:
    """A pool for threads, and one for each event loop.

    Work is repeated once after a lost connection or a deadlock, so it must be safe to repeat.
    Connections are in autocommit. A forked child process opens its own connections.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        _instances.add(self)
        self._async_pools: dict[asyncio.AbstractEventLoop, asyncio.Future[_AsyncPool]] = {}
        self._pool_tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    def run(
        self, config: PostgreSQLConfig, work: Callable[[Connection[TupleRow]], Result]
    ) -> Result:
        """Call `work` with a connection and return its result.

        Raises psycopg.OperationalError if the server can't be reached.
        """
        pool = self._open(config)
        connection = None
        try:
            with pool.connection() as connection:
                return work(connection)
        except FeatureNotSupported as error:
            if not _plan_outdated(error):
                raise
            pool.drain()
        except OperationalError as error:
            if connection is None or not (_lost(connection, error) or _deadlocked(error)):
                raise
            pool.check()
        with pool.connection() as connection:
            return work(connection)

    async def run_async(
        self,
        config: PostgreSQLConfig,
        work: Callable[[AsyncConnection[TupleRow]], Awaitable[Result]],
    ) -> Result:
        """`run` for a coroutine function."""
        pool = await self._open_async(config)
        connection = None
        try:
            async with pool.connection() as connection:
                return await work(connection)
        except FeatureNotSupported as error:
            if not _plan_outdated(error):
                raise
            await pool.drain()
        except OperationalError as error:
            if connection is None or not (_lost(connection, error) or _deadlocked(error)):
                raise
            await pool.check()
        async with pool.connection() as connection:
            return await work(connection)

    async def close(self) -> None:
        """Close the pool of the threads, and that of the running event loop."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.close)
        if pool_task := self._pool_tasks.get(asyncio.get_running_loop()):
            pool_task.cancel()
            await asyncio.wait([pool_task])

    def abandon(self) -> None:
        """Leave the pool of the threads to the process that forked this one."""
        # A thread of the parent may hold the lock; no thread of this process would release it.
        self._lock, self._pool = threading.Lock(), None

    def _open(self, config: PostgreSQLConfig) -> _Pool:
        with self._lock:
            if self._pool is None:
                # A pool reports only a timeout; a connection reports the reason.
                Connection.connect(**_arguments(config)).close()
                pool = ConnectionPool(kwargs=_arguments(config), open=False, **_size(config))
                pool.open(wait=True, timeout=config.connect_timeout_seconds)
                self._pool = pool
                # Closed at exit or with the store; otherwise the pool's threads would outlive both.
                weakref.finalize(self, _close, pool, os.getpid())
            return self._pool

    async def _open_async(self, config: PostgreSQLConfig) -> _AsyncPool:
        loop = asyncio.get_running_loop()
        pool = self._async_pools.get(loop)
        if pool is None:
            pool = self._async_pools[loop] = loop.create_future()
            self._pool_tasks[loop] = loop.create_task(self._hold_open(config, loop, pool))
        return pool.result() if pool.done() else await asyncio.shield(pool)

    async def _hold_open(
        self,
        config: PostgreSQLConfig,
        loop: asyncio.AbstractEventLoop,
        opened: asyncio.Future[_AsyncPool],
    ) -> None:
        """Open the loop's pool; close it when this task is cancelled, as a loop does at its end.

        A task of the pool that is connecting takes its cancellation for a failed connection and
        waits for more work. If the pool were not closed, the loop would never end.
        """
        pool = AsyncConnectionPool(kwargs=_arguments(config), open=False, **_size(config))
        try:
            await (await AsyncConnection.connect(**_arguments(config))).close()
            await pool.open(wait=True, timeout=config.connect_timeout_seconds)
            opened.set_result(pool)
            await loop.create_future()
        except Exception as error:
            opened.set_exception(error)
        finally:
            del self._async_pools[loop], self._pool_tasks[loop]
            opened.cancel()
            await pool.close()


_instances: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork() -> None:
    for connections in _instances:
        connections.abandon()


os.register_at_fork(after_in_child=_after_fork)


def _close(pool: _Pool, process: int) -> None:
    # A forked child has a copy of the parent's pool and must not close the parent's sockets.
    if process == os.getpid():
        pool.close()


def _lost(
    connection: Connection[TupleRow] | AsyncConnection[TupleRow], error: OperationalError
) -> bool:
    # 57P01 to 57P05: the server is shutting down or has ended the session.
    return connection.closed or (error.sqlstate or "").startswith("57P")


def _deadlocked(error: OperationalError) -> bool:
    # 40001 and 40P01: PostgreSQL cancelled one of two transactions that blocked each other, for
    # example a reader of several tables. The other one has ended, so a retry succeeds.
    return (error.sqlstate or "").startswith("40")


def _plan_outdated(error: FeatureNotSupported) -> bool:
    # The statement was prepared before a column changed its type. New connections have none.
    return "cached plan" in str(error)


def _size(config: PostgreSQLConfig) -> dict[str, Any]:
    return {
        "min_size": config.min_conn,
        "max_size": config.max_conn,
        "timeout": config.connect_timeout_seconds,
        "name": "feast_postgres",
    }


def _arguments(config: PostgreSQLConfig) -> dict[str, Any]:
    arguments = {
        "host": config.host,
        "port": config.port,
        "dbname": config.database,
        "user": config.user,
        "password": config.password,
        "sslmode": config.sslmode,
        "sslkey": config.sslkey_path,
        "sslcert": config.sslcert_path,
        "sslrootcert": config.sslrootcert_path,
        "keepalives_idle": config.keepalives_idle,
        "connect_timeout": max(2, round(config.connect_timeout_seconds)),
        "application_name": "feast_postgres",
        "client_encoding": "UTF8",
        "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
        "autocommit": True,
    }
    return {name: value for name, value in arguments.items() if value is not None}
