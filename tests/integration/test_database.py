"""The connection pool: threads, transactions, and a PostgreSQL that is lost, refuses or hangs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psutil
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql

from streamflow.errors import DatabaseUnavailable, InvalidSettings
from streamflow.postgres.database import MAX_CONNECTIONS, Database
from streamflow.postgres.queries import identifier, subquery

LONG_ENOUGH = 30.0


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database(database_url) as opened:
        yield opened


@pytest.fixture
def table(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database with an empty table `numbers`."""
    with Database(new_database()) as opened:
        opened.script("CREATE TABLE numbers (number integer)")
        yield opened


def session_of(database: Database) -> int:
    with database.connection() as connection:
        return connection.info.backend_pid


def numbers(database: Database) -> list[int]:
    with database.connection() as connection:
        rows = connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()
    return [row["number"] for row in rows]


def add(database: Database, number: int) -> None:
    database.script(f"INSERT INTO numbers VALUES ({number})")


def test_two_threads_use_two_connections_at_the_same_time(database: Database) -> None:
    both = threading.Barrier(2, timeout=LONG_ENOUGH)

    def session(_: int) -> int:
        with database.connection() as connection:
            both.wait()  # neither thread waits for the other's statement
            connection.execute("SELECT 1")
            both.wait()
            return connection.info.backend_pid

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(session, range(2))
    assert first != second


def test_more_threads_than_connections_wait_for_one_that_becomes_free(database: Database) -> None:
    threads = 3 * MAX_CONNECTIONS
    all_of_them = threading.Barrier(threads, timeout=LONG_ENOUGH)

    def sessions(_: int) -> set[int]:
        all_of_them.wait()
        return {session_of(database) for _ in range(20)}

    with ThreadPoolExecutor(threads) as pool:
        used = set().union(*pool.map(sessions, range(threads)))
    assert 1 <= len(used) <= MAX_CONNECTIONS


@given(name=st.text("%s(a)b", min_size=1, max_size=12))
@hypothesis_settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_name_with_per_cent_signs_is_itself_in_every_query(table: Database, name: str) -> None:
    history, column = identifier(name), identifier(name)
    statement = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT now() AS {}")
    with table.transaction(), table.connection() as connection:
        connection.execute(statement.format(history, column).as_string())
        assert table.row("count_staging", {"staging": history})["rows"] == 1
        selected = sql.SQL("(SELECT {} AS event_timestamp FROM {})").format(column, history)
        nested = {"history": subquery(selected.as_string())}
        assert table.row("oldest_event", nested)["event_timestamp"] is not None
        assert table.render("count_staging", {"staging": history}).endswith(history.as_string())
        names = {"staging": history, "column": column}
        counted = table.row("count_dates_after", names, as_of=date(2024, 1, 31))
        assert counted["values"] == 1


def test_a_transaction_is_its_threads_alone(table: Database) -> None:
    with ThreadPoolExecutor(1) as other, pytest.raises(ZeroDivisionError), table.transaction():
        add(table, 1)
        assert numbers(table) == [1]
        assert other.submit(numbers, table).result(LONG_ENOUGH) == []
        other.submit(add, table, 2).result(LONG_ENOUGH)
        assert numbers(table) == [1, 2]
        raise ZeroDivisionError
    assert numbers(table) == [2]


def test_two_threads_have_transactions_at_the_same_time(table: Database) -> None:
    both = threading.Barrier(2, timeout=LONG_ENOUGH)

    def add_and_look(number: int) -> list[int]:
        with table.transaction():
            add(table, number)
            both.wait()
            found = numbers(table)
            both.wait()
        return found

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(add_and_look, (1, 2))) == [[1], [2]]
    assert numbers(table) == [1, 2]


def test_a_transaction_within_another_is_undone_alone(table: Database) -> None:
    with table.transaction():
        add(table, 1)
        with pytest.raises(ZeroDivisionError), table.transaction():
            add(table, 2)
            raise ZeroDivisionError
        with table.transaction():
            add(table, 3)
    assert numbers(table) == [1, 3]


def test_closing_while_other_threads_use_it_fails_none_of_them(database: Database) -> None:
    stop = threading.Event()

    def use(_: int) -> int:
        count = 0
        while not stop.is_set():
            assert database.row("current_database")
            count += 1
        return count

    with ThreadPoolExecutor(6) as threads:
        running = [threads.submit(use, number) for number in range(6)]
        try:
            for _ in range(100):
                database.close()
                stop.wait(0.002)
        finally:
            stop.set()
        assert all(one.result(LONG_ENOUGH) for one in running)


def test_a_transaction_ends_well_on_a_database_that_is_closed_meanwhile(table: Database) -> None:
    with table.transaction():
        add(table, 1)
        table.close()
        add(table, 2)
    assert numbers(table) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_has_connections_of_its_own_and_leaves_its_parents(
    database: Database,
) -> None:
    session = session_of(database)
    child = os.fork()
    if child == 0:
        try:
            database.close()
            with database:
                assert session_of(database) != session
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert session_of(database) == session


def test_a_lost_connection_is_an_error_and_the_next_statement_gets_a_new_one(
    database: Database, database_url: str
) -> None:
    before = session_of(database)
    with psycopg.connect(database_url, autocommit=True) as another:
        another.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL went away: ") as raised:
        database.row("current_database")
    assert raised.value.next == "Start it again and run the same command."
    assert database.row("current_database")
    assert session_of(database) != before


def test_a_connection_lost_in_a_nested_transaction_undoes_all_of_it(
    table: Database,
) -> None:
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL went away: "), table.transaction():
        add(table, 1)
        with psycopg.connect(table.url, autocommit=True) as another:
            another.execute("SELECT pg_terminate_backend(%s, 5000)", [session_of(table)])
        with table.transaction():
            add(table, 2)
    assert numbers(table) == []


def test_a_statement_that_the_server_refuses_keeps_its_connection(
    database: Database, database_url: str
) -> None:
    with Database(database_url) as holding, holding.transaction():
        holding.execute("lock_steps")
        session = session_of(database)
        with (
            pytest.raises(DatabaseUnavailable, match=r"can't do what was asked: .* lock timeout"),
            database.transaction(),
        ):
            database.script("SET LOCAL lock_timeout = 10")
            database.execute("lock_steps")
        assert session_of(database) == session


@pytest.mark.skipif("STREAMFLOW_DATABASE_URL" in os.environ, reason="the server isn't ours")
def test_with_a_timeout_a_session_that_hangs_is_given_up(database_url: str) -> None:
    with Database(database_url, timeout_seconds=0.2) as database:
        silent = psutil.Process(session_of(database))
        silent.suspend()
        try:
            with pytest.raises(DatabaseUnavailable):
                database.row("current_database")
            assert database.row("current_database")
            assert session_of(database) != silent.pid
        finally:
            silent.resume()


def test_an_address_that_is_none_is_told_without_the_password_in_it() -> None:
    with pytest.raises(InvalidSettings, match="isn't one that PostgreSQL understands") as refused:
        Database("hunter2").rows("history_changes", use_case="churn")
    assert "hunter2" not in str(refused.value)
