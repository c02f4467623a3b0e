"""What is said of a PostgreSQL that goes away, can't, or hangs, and how it's met again."""

from __future__ import annotations

import os

import psutil
import psycopg
import pytest

from streamflow.errors import DatabaseUnavailable
from streamflow.postgres.database import Database


def session_of(database: Database) -> int:
    with database.connection() as connection:
        return connection.info.backend_pid


def test_a_session_that_the_server_ended_is_told_and_the_next_question_has_a_new_one(
    database_url: str,
) -> None:
    with Database(database_url) as database:
        before = session_of(database)
        with psycopg.connect(database_url, autocommit=True) as another:
            another.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
        with pytest.raises(DatabaseUnavailable, match="PostgreSQL went away: ") as told:
            database.row("current_database")
        assert told.value.next == "Start it again and run the same command."
        assert database.row("current_database")
        assert session_of(database) != before


def test_what_the_server_refuses_for_reasons_of_its_own_is_no_going_away(
    database_url: str,
) -> None:
    with (
        Database(database_url) as waiting,
        Database(database_url) as holding,
        holding.transaction(),
    ):
        holding.execute("lock_steps")
        with (
            pytest.raises(DatabaseUnavailable, match=r"can't do what was asked: .* lock timeout"),
            waiting.transaction(),
        ):
            waiting.script("SET LOCAL lock_timeout = 10")
            waiting.execute("lock_steps")
        assert waiting.row("current_database")


@pytest.mark.skipif("STREAMFLOW_DATABASE_URL" in os.environ, reason="the server is somebody's")
def test_whoever_hasnt_the_patience_gives_a_silent_session_up(database_url: str) -> None:
    with Database(database_url, patience_seconds=0.2) as database:
        silent = psutil.Process(session_of(database))
        silent.suspend()
        try:
            with pytest.raises(DatabaseUnavailable):
                database.row("current_database")
            assert database.row("current_database")
            assert session_of(database) != silent.pid
        finally:
            silent.resume()
