"""Behaviour of our online store beyond Feast's interface."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from feast import FeatureView, Field
from feast.protos.feast.types.Value_pb2 import Int64List, Value
from feast.types import Array, Bool, Bytes, Float64, Int64, String, UnixTimestamp
from psycopg import sql
from tests.feast_stores import (
    DAY,
    FEBRUARY,
    JANUARY,
    NULL,
    USER,
    StoreUnderTest,
    cut_connections,
    number,
    server_of,
    user,
)

from streamflow.postgres import embedded_server

pytest_plugins = "tests.feast_stores"


def test_event_times_are_stored_to_the_microsecond_and_from_pandas(
    postgres: StoreUnderTest,
) -> None:
    # Feast's SQLite store stores whole seconds and accepts no pandas timestamp.
    view = postgres.view(fee=Float64)
    end_of_month = JANUARY.replace(microsecond=999_999)
    postgres.write(view, ("ada", number(1), end_of_month))
    postgres.write(view, ("bob", number(1), pd.Timestamp(end_of_month), pd.NaT))
    postgres.write(view, ("bob", number(2), JANUARY, JANUARY))
    assert postgres.read(view, "ada", "bob") == [(end_of_month, number(1))] * 2


def test_an_older_window_written_later_does_not_go_back_in_time(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64)
    postgres.write(view, ("ada", number(2), FEBRUARY))
    postgres.write(view, ("ada", number(1), JANUARY), ("bob", number(1), JANUARY))
    assert postgres.read(view, "ada", "bob") == [(FEBRUARY, number(2)), (JANUARY, number(1))]


def test_an_older_value_does_not_take_the_place_of_one_that_is_missing(
    postgres: StoreUnderTest,
) -> None:
    view = postgres.view(fee=Float64, months=Int64)
    postgres.write(view, ("ada", number(2), FEBRUARY))
    postgres.write(view, ("ada", {"months": Value(int64_val=1)}, JANUARY))
    assert postgres.read(view, "ada") == [(FEBRUARY, number(2))]


def test_of_equal_event_times_the_one_created_last_wins(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64)
    postgres.write(view, ("ada", number(2), JANUARY, JANUARY + 2 * DAY))
    postgres.write(view, ("ada", number(1), JANUARY, JANUARY + DAY))
    assert postgres.read(view, "ada") == [(JANUARY, number(2))]
    postgres.write(view, ("ada", number(0), JANUARY))
    assert postgres.read(view, "ada") == [(JANUARY, number(2))]
    postgres.write(view, ("ada", number(3), JANUARY, JANUARY + 3 * DAY))
    assert postgres.read(view, "ada") == [(JANUARY, number(3))]


def test_the_same_rule_holds_within_a_batch_and_a_tie_goes_to_the_last_row(
    postgres: StoreUnderTest,
) -> None:
    view = postgres.view(fee=Float64)
    postgres.write(
        view,
        ("ada", number(1), JANUARY),
        ("ada", number(3), FEBRUARY, FEBRUARY + DAY),
        ("ada", number(2), FEBRUARY),
        ("bob", number(4), JANUARY, FEBRUARY),
        ("bob", number(5), JANUARY, FEBRUARY),
    )
    assert postgres.read(view, "ada", "bob") == [(FEBRUARY, number(3)), (JANUARY, number(5))]


def test_a_batch_with_a_value_that_cannot_be_held_writes_nothing(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64, plan=String, born=UnixTimestamp)
    whole = {"fee": NULL, "plan": NULL, "born": NULL}
    for wrong, message in [
        ({"fee": Value(string_val="1")}, "'fee'.*double_val.*string_val"),
        ({"plan": Value(string_val="a\0b")}, "'plan'.*NUL"),
        ({"born": Value(unix_timestamp_val=2**62)}, "'born'.*year"),
        ({"fees": NULL}, "'profile' has no feature 'fees'"),
    ]:
        with pytest.raises(ValueError, match=message):
            postgres.write(view, ("ada", whole, JANUARY), ("bob", whole | wrong, JANUARY))
    assert postgres.read(view, "ada", "bob") == [(None, None)] * 2


def test_a_reader_sees_all_of_a_batch_or_nothing(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64)
    names = [f"user{i}" for i in range(200)]
    seen: list[set[float]] = []
    done = threading.Event()

    def read_repeatedly() -> None:
        while not done.is_set():
            seen.append({values["fee"].double_val for _, values in postgres.read(view, *names)})

    postgres.write(view, *[(name, number(0), JANUARY) for name in names])
    reader = threading.Thread(target=read_repeatedly)
    reader.start()
    for turn in range(1, 11):
        postgres.write(view, *[(name, number(turn), JANUARY + turn * DAY) for name in names])
    done.set()
    reader.join()
    assert seen
    assert all(len(values) == 1 for values in seen)


def test_concurrent_writers_leave_the_newest_row_of_each(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64)
    names = [f"user{i}" for i in range(300)]
    failures: list[BaseException] = []

    def write(turn: int) -> None:
        # each in another order: written in that order, the rows would be locked crosswise
        order = names[turn * 40 :] + names[: turn * 40]
        try:
            for _ in range(3):
                postgres.write(view, *[(n, number(turn), JANUARY + turn * DAY) for n in order])
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(turn,)) for turn in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures
    assert postgres.read(view, *names) == [(JANUARY + 5 * DAY, number(5))] * 300


def test_concurrent_batches_of_rows_with_different_features_do_not_lock_each_other_out(
    postgres: StoreUnderTest,
) -> None:
    view = postgres.view(fee=Float64, months=Int64)
    months = {"months": Value(int64_val=1)}
    names = [f"user{i}" for i in range(150)]
    failures: list[BaseException] = []

    def write(order: list[str], first: int) -> None:
        try:
            for turn in range(20):
                values = [number(turn), months]
                rows = [(name, values[(i + first) % 2], JANUARY) for i, name in enumerate(order)]
                postgres.write(view, *rows)
        except BaseException as error:
            failures.append(error)

    writers = [
        threading.Thread(target=write, args=(names, 0)),
        threading.Thread(target=write, args=(names[::-1], 1)),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures


def test_work_cancelled_by_a_deadlock_is_repeated(
    postgres: StoreUnderTest, database_url: str
) -> None:
    tries = 0

    def lock(connection: Any, number: int) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [number])

    with psycopg.connect(database_url) as other:
        other.execute("SET deadlock_timeout = '1min'")  # the other session must detect the deadlock
        lock(other, 2)
        crossing = threading.Thread(target=lambda: (lock(other, 1), other.rollback()))

        def work(connection: Any) -> None:
            nonlocal tries
            tries += 1
            with connection.transaction():
                connection.execute("SET LOCAL deadlock_timeout = '50ms'")
                lock(connection, 1)
                if tries == 1:
                    crossing.start()
                lock(connection, 2)

        postgres.online.run(postgres.config, work)
        crossing.join()
    assert tries == 2


def test_reads_and_changes_of_several_tables_go_on_side_by_side(postgres: StoreUnderTest) -> None:
    failures: list[BaseException] = []
    done = threading.Event()
    views = [postgres.view(name, **{f"{name}_fee": Float64}) for name in ("a", "b", "c")]
    features = [f"{name}:{name}_fee" for name in ("a", "b", "c")]

    def read() -> None:
        try:
            while not done.is_set():
                postgres.feast.get_online_features(features, [{"user_id": "ada"}])
        except BaseException as error:
            failures.append(error)

    def schema(extra: bool) -> list[FeatureView]:
        return [
            FeatureView(
                name=view.name,
                entities=[USER],
                schema=[*view.schema, *([Field(name="more", dtype=Int64)] if extra else [])],
                source=view.batch_source,
            )
            for view in reversed(views)
        ]

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(20):
        changed = schema(extra=turn % 2 == 0)
        for view in changed:
            view.entity_columns = views[0].entity_columns
        postgres.online.update(postgres.config, [], changed, [], [], partial=True)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures


def test_concurrent_updates_agree(
    tmp_path: Path, postgres: StoreUnderTest, postgres_config: dict[str, Any]
) -> None:
    view = FeatureView(name="v", entities=[], schema=[Field(name="fee", dtype=Float64)])
    failures: list[BaseException] = []

    def update() -> None:
        try:
            postgres.online.update(postgres.config, [], [view], [], [], partial=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=update) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert postgres.read(view, "ada") == [(None, None)]


def test_reads_and_writes_go_on_after_the_server_ended_every_connection(
    postgres: StoreUnderTest, database_url: str
) -> None:
    view = postgres.view(fee=Float64)
    postgres.write(view, ("ada", number(1), JANUARY))
    assert cut_connections(database_url)
    assert postgres.read(view, "ada") == [(JANUARY, number(1))]
    assert cut_connections(database_url)
    postgres.write(view, ("ada", number(2), FEBRUARY))
    assert postgres.read(view, "ada") == [(FEBRUARY, number(2))]


def connected(url: str) -> psycopg.Connection[Any]:
    """A connection, once the server has recovered from the crash before."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(url)
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.slow
def test_reads_and_writes_go_on_after_the_server_crashed_and_restarted(
    tmp_path: Path, homes: Path
) -> None:
    with embedded_server.running(homes / "crashing") as url:
        patience = {"connect_timeout_seconds": 30}
        config = {"type": "feast_postgres.PostgresOnlineStore", **server_of(url), **patience}
        sut = StoreUnderTest(tmp_path, config, "p")
        view = sut.view(fee=Float64)

        def crash() -> None:
            # One killed session ends all others; the server recovers by itself.
            with connected(url) as connection:
                os.kill(connection.info.backend_pid, signal.SIGKILL)
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("SELECT pg_sleep(10)")

        sut.write(view, ("ada", number(1), JANUARY))
        crash()
        assert sut.read(view, "ada") == [(JANUARY, number(1))]
        crash()
        sut.write(view, ("ada", number(2), FEBRUARY))

        async def read() -> Any:
            first = await sut.online.online_read_async(sut.config, view, [user("ada")])
            await asyncio.to_thread(crash)
            again = await sut.online.online_read_async(sut.config, view, [user("ada")])
            await sut.online.close()
            return first, again

        expected = [(FEBRUARY, number(2))]
        assert asyncio.run(read()) == (expected, expected)


def test_a_forked_child_makes_connections_of_its_own(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64)
    postgres.write(view, ("ada", number(1), JANUARY))
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:  # like a thread that opens the pool; the child process does not have it
        with postgres.online._connections._lock:
            held.set()
            forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(0 if postgres.read(view, "ada") == [(JANUARY, number(1))] else 1)
    forked.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert postgres.read(view, "ada") == [(JANUARY, number(1))]


def test_async_reads_and_writes_are_those_of_the_sync_ones(
    postgres: StoreUnderTest, database_url: str
) -> None:
    view = postgres.view(fee=Float64)

    async def both() -> list[Any]:
        rows = [(user("ada"), number(1), JANUARY, None)]
        await postgres.online.online_write_batch_async(postgres.config, view, rows, None)
        keys = [user("ada"), user("nobody")]

        async def read() -> Any:
            return await postgres.online.online_read_async(postgres.config, view, keys)

        together = await asyncio.gather(*[read() for _ in range(30)])
        await asyncio.to_thread(cut_connections, database_url)
        after = await read()
        response = await postgres.feast.get_online_features_async(
            ["profile:fee"], [{"user_id": "ada"}]
        )
        assert response.to_dict()["fee"] == [1]
        await postgres.online.close()
        return [*together, after]

    assert postgres.online.async_supported.read
    assert postgres.online.async_supported.write
    for _ in range(2):  # in a second event loop as well
        assert asyncio.run(both()) == [[(JANUARY, number(1)), (None, None)]] * 31


NAMES = [
    'Weird "name"; DROP TABLE x --',
    "100%s {brace}",
    "entity_key",
    "event_timestamp",
    "created_timestamp",
    "unwritten",
    "ctid",
    "Fee",
    "fee",
    "ünïcödé " * 12,
    "ünïcödé " * 12 + "b",
]


def test_names_that_need_quoting_or_shortening_or_are_reserved_work(
    postgres: StoreUnderTest,
) -> None:
    for view_name in ('view "quoted" %s.x', "v" * 80 + "1", "v" * 80 + "2"):
        view = FeatureView(
            name=view_name, entities=[], schema=[Field(name=n, dtype=Int64) for n in NAMES]
        )
        written = {name: Value(int64_val=i) for i, name in enumerate(NAMES)}
        for _ in range(2):
            postgres.online.update(postgres.config, [], [view], [], [], partial=True)
        assert postgres.read(view, "ada") == [(None, None)]
        postgres.write(view, ("ada", written, JANUARY))
        assert postgres.read(view, "ada") == [(JANUARY, written)]
        assert postgres.read(view, "ada", features=["100%s {brace}"]) == [
            (JANUARY, {"100%s {brace}": Value(int64_val=1)})
        ]


def test_projects_in_one_schema_stay_apart(
    tmp_path: Path, postgres_config: dict[str, Any], project: str
) -> None:
    # joined by an underscore, both would be <project>_a_b
    first = StoreUnderTest(tmp_path, postgres_config, project)
    second = StoreUnderTest(tmp_path, postgres_config, f"{project}_a")
    view_of_first, view_of_second = first.view("a_b", fee=Float64), second.view("b", fee=Float64)
    first.write(view_of_first, ("ada", number(1), JANUARY))
    assert second.read(view_of_second, "ada") == [(None, None)]
    second.write(view_of_second, ("ada", number(2), JANUARY))
    second.feast.teardown()
    assert first.read(view_of_first, "ada") == [(JANUARY, number(1))]


def test_a_feature_whose_type_changed_has_no_old_value_in_other_processes_either(
    tmp_path: Path, postgres: StoreUnderTest, postgres_config: dict[str, Any], project: str
) -> None:
    other = StoreUnderTest(tmp_path, postgres_config, project)
    for dtype, value in [
        (Int64, Value(int64_val=1)),
        (String, Value(string_val="1")),
        (Bytes, Value(bytes_val=b"1")),
        (Array(Int64), Value(int64_list_val=Int64List(val=[1]))),
    ]:
        view = other.view(months=dtype, fee=Float64)
        assert "months" not in (postgres.read(view, "ada")[0][1] or {})
        postgres.write(view, ("ada", number(1) | {"months": value}, JANUARY))
        for _ in range(8):  # psycopg prepares a statement that it has seen five times
            assert postgres.read(view, "ada") == [(JANUARY, number(1) | {"months": value})]


def test_a_feature_that_was_removed_and_added_again_has_no_old_value(
    postgres: StoreUnderTest,
) -> None:
    months = {"months": Value(int64_val=7)}
    postgres.write(postgres.view(fee=Float64, months=Int64), ("ada", number(1) | months, JANUARY))
    postgres.write(postgres.view(fee=Float64), ("ada", number(2), FEBRUARY))
    view = postgres.view(fee=Float64, months=Int64)
    assert postgres.read(view, "ada") == [(FEBRUARY, number(2))]


def test_values_lie_in_typed_columns_that_plain_sql_can_read(
    postgres: StoreUnderTest, postgres_config: dict[str, Any], database_url: str, project: str
) -> None:
    view = postgres.view(fee=Float64, plan=Bool, born=UnixTimestamp, tags=Array(String))
    values = number(45.25) | {"plan": NULL, "born": Value(unix_timestamp_val=1), "tags": NULL}
    postgres.write(view, ("ada", values, JANUARY, FEBRUARY))
    table = sql.Identifier(postgres_config["db_schema"], f"{project}.profile")
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        row = connection.execute(
            sql.SQL(
                "SELECT fee, plan, born, pg_typeof(tags)::text, event_timestamp, created_timestamp "
                "FROM {}"
            ).format(table)
        ).fetchone()
    born = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert row == (45.25, None, born, "bytea", JANUARY, FEBRUARY)


def test_a_server_that_cannot_be_reached_is_named_in_the_error(tmp_path: Path) -> None:
    nowhere = {
        "type": "feast_postgres.PostgresOnlineStore",
        **server_of(f"postgresql://nobody:x@/none?host={tmp_path}"),
    }
    sut = StoreUnderTest(tmp_path, nowhere, "p")
    view = FeatureView(name="v", entities=[], schema=[Field(name="fee", dtype=Float64)])
    with pytest.raises(psycopg.OperationalError, match=str(tmp_path)):
        sut.read(view, "ada")


SCRIPT = """
import asyncio, logging, sys, types
import feast_postgres
from feast_postgres.connections import Connections
assert "feast" not in sys.modules, "importing the package imported Feast"
config = types.SimpleNamespace(
    **SERVER, min_conn=1, max_conn=4, connect_timeout_seconds=5.0, keepalives_idle=None,
    sslkey_path=None, sslcert_path=None, sslrootcert_path=None,
)
connections = Connections()
print(connections.run(config, lambda connection: connection.execute("SELECT 1").fetchone()))

async def work(connection):
    return await (await connection.execute("SELECT 2")).fetchone()

print(asyncio.run(connections.run_async(config, work)))

async def many():
    await asyncio.gather(*[connections.run_async(config, work) for _ in range(40)])

logging.disable()  # a connection that is being opened is given up, and the pool logs that
asyncio.run(many())
"""


def test_a_process_that_used_the_store_ends_without_output(database_url: str) -> None:
    script = f"SERVER = {server_of(database_url)!r}\n{SCRIPT}"
    process = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.stdout, process.stderr) == ("(1,)\n(2,)\n", "")


def test_rows_are_streamed_to_the_server_without_a_second_copy_in_memory(
    postgres: StoreUnderTest,
) -> None:
    view = postgres.view(fee=Float64, plan=String)
    rows = [
        (user(f"user{i}"), number(i) | {"plan": Value(string_val="x" * 500)}, JANUARY, None)
        for i in range(10_000)
    ]
    tracemalloc.start()
    postgres.online.online_write_batch(postgres.config, view, rows, None)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 2**20  # of more than 5 MiB that were written
    assert postgres.read(view, "user9999")[0][1]["fee"].double_val == 9_999
