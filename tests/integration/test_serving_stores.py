"""Online features as the API reads them: straight from the tables, and the same through Feast."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from tests.statements import execute

from churn.generator import generate
from feast_postgres.event_loop_connection import ConnectionLost, EventLoopConnection
from streamflow.bootstrap import platform
from streamflow.errors import FeatureStoreUnavailable, UnservableModel
from streamflow.features import definitions, feature_store, materialization
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.serving.columns.online_columns import column_reader
from streamflow.serving.configured_online_store import configured_online_store
from streamflow.serving.feast_online_store import FeastStore
from streamflow.serving.feature_status import MISSING, EntityRow
from streamflow.serving.online_store import OnlineStore
from streamflow.serving.postgres_online_store import PostgresStore
from streamflow.settings import load_settings
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 3, 6, tzinfo=UTC)
USERS = 50
# Each would be something else, were it not quoted as it should be.
ODD_IDS = [
    "NULL",
    "",
    '"',
    "\\",
    '\\"',
    "{}",
    "{a,b}",
    "a,b",
    " a ",
    "'",
    "ä€𝄞",
    "a\nb",
    "%s",
    "$1",
]


@pytest.fixture(scope="module")
def ready(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """One month of a few users, online."""
    home = tmp_path_factory.mktemp("stores")
    generate(Generation(home / "months", users=USERS, months=1, seed=3))
    url = new_database(prepared_database)
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as opened:
        ingest(opened, home / "months" / "month_000", JANUARY, None, KNOWN, "test")
        apply(opened)
        materialize(opened, JANUARY, KNOWN)
        yield opened


@pytest.fixture(scope="module")
def schema(ready: Platform) -> FeatureSchema:
    store = feature_store.open_store(ready.database.url, ready.use_case)
    return feature_store.feature_schema(store, ready.use_case)


@pytest.fixture(scope="module")
def users(ready: Platform) -> list[str]:
    rows = execute(ready.database, "SELECT user_id FROM churn.users_history").fetchall()
    return sorted(row["user_id"] for row in rows)


@pytest.fixture
def straight(ready: Platform) -> PostgresStore:
    store = configured_online_store(ready.settings, ready.database, ready.use_case)
    assert isinstance(store, PostgresStore)
    return store


def test_a_store_that_is_not_needed_any_more_leaves_no_connection_open(ready: Platform) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        feature_store.open_store(ready.database.url, ready.use_case).list_feature_views()
        gc.collect()
    assert [str(one.message) for one in told if "Connection" in str(one.message)] == []


def by_connection(
    store: PostgresStore, plan: Any, *requested: Sequence[str]
) -> list[list[EntityRow]]:
    """The results of reads by one connection, one after the other."""

    async def ask() -> list[list[EntityRow]]:
        connection = store.connect(lambda: None)
        await connection.open(5)
        answers = []
        for ids in requested:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            connection.send(plan, ids, answer.set_result)
            answers.append(await answer)
        await connection.close()
        return answers

    return asyncio.run(ask())


def by_columns(
    store: OnlineStore, plan: Any, schema: FeatureSchema, ids: Sequence[str]
) -> list[EntityRow]:
    """The rows of a read by columns."""
    with column_reader(store, plan, schema) as read:
        found = read(ids)
    assert found.rows.column(0).to_pylist() == ids
    times = [one.to_pylist() for one in found.times.columns]
    values = [one.to_pylist() for one in found.rows.columns[1:]]
    rows = map(EntityRow, zip(*times, strict=True), zip(*values, strict=True))
    return [found.unwritten.get(place, row) for place, row in enumerate(rows)]


def test_both_ways_read_the_same_and_nothing_of_who_isnt_there(
    ready: Platform, straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    requested = [*users, "nobody", *(one for one in ODD_IDS if one), users[0]]
    rows = straight.read(straight.plan(schema), requested)
    through_feast = FeastStore(None, ready.database, ready.use_case)
    assert through_feast.read(through_feast.plan(schema), requested) == rows
    for store in (straight, through_feast):
        for ids in (requested, [users[1]], requested[::-1] * 30):
            assert by_columns(store, store.plan(schema), schema, ids) == store.read(
                store.plan(schema), ids
            )
    assert by_columns(straight, straight.plan(schema), schema, []) == []
    assert rows[-1] == rows[0]
    assert [any(row.times) for row in rows] == [one in users for one in requested]


def test_a_connection_reads_what_a_caller_who_waits_reads(
    straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    plan = straight.plan(schema)
    id_lists = [[users[0]], users, ODD_IDS, [*reversed(users)] * 20, []]
    assert by_connection(straight, plan, *id_lists) == [
        straight.read(plan, ids) for ids in id_lists
    ]


def test_an_id_of_any_characters_finds_its_own_row(
    ready: Platform, straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    plan = straight.plan(schema)
    (row,) = straight.read(plan, users[:1])
    with psycopg.connect(ready.database.url) as connection:
        for view in schema.views:
            columns = [
                column
                for (column,) in connection.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass "
                    "AND attnum > 0 AND attname <> 'user_id'",
                    [f'online."churn.{view}"'],
                )
            ]
            listed = ", ".join(f'"{column}"' for column in columns)
            connection.execute(
                f'INSERT INTO online."churn.{view}" (user_id, {listed}) '  # type: ignore[arg-type]
                f'SELECT odd, {listed} FROM online."churn.{view}", unnest(%s::text[]) AS odd '
                "WHERE user_id = %s",
                [ODD_IDS, users[0]],
            )
    try:
        assert by_connection(straight, plan, ODD_IDS) == [[row] * len(ODD_IDS)]
        assert by_columns(straight, plan, schema, ODD_IDS) == [row] * len(ODD_IDS)
    finally:
        with psycopg.connect(ready.database.url) as connection:
            for view in schema.views:
                connection.execute(
                    f'DELETE FROM online."churn.{view}" WHERE user_id = ANY(%s)',  # type: ignore[arg-type]
                    [ODD_IDS],
                )


def test_a_feature_that_was_added_and_never_written_is_missing_not_null(
    ready: Platform, straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    table = 'online."churn.support_agg_90d_fv"'
    with psycopg.connect(ready.database.url) as connection:
        connection.execute(
            f"UPDATE {table} SET unwritten = '{{support_tickets_90d}}' WHERE user_id = %s",  # type: ignore[arg-type]
            users[:1],
        )
    try:
        names = [feature.name for feature in schema.features]
        first, second = straight.read(straight.plan(schema), users[:2])
        assert first.values[names.index("support_tickets_90d")] is MISSING
        assert MISSING not in second.values
        assert by_columns(straight, straight.plan(schema), schema, users[:2]) == [first, second]
        through_feast = FeastStore(None, ready.database, ready.use_case)
        by_feast = through_feast.read(through_feast.plan(schema), users[:2])
        assert by_columns(through_feast, schema, schema, users[:2]) == by_feast
    finally:
        with psycopg.connect(ready.database.url) as connection:
            connection.execute(f"UPDATE {table} SET unwritten = NULL")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"feature_view": "no_fv"}, "no table of feature view 'no_fv'"),
        ({"name": "no_feature"}, "has no 'no_feature'"),
        ({"type": "STRING"}, "as STRING, the feature store has INT64"),
    ],
)
def test_what_the_store_doesnt_have_as_needed_is_refused(
    straight: PostgresStore, schema: FeatureSchema, change: dict[str, Any], told: str
) -> None:
    first, *others = schema.features
    needed = replace(schema, features=(replace(first, **change), *others))
    with pytest.raises(UnservableModel, match=told):
        straight.plan(needed)


def test_another_key_is_refused(straight: PostgresStore, schema: FeatureSchema) -> None:
    with pytest.raises(UnservableModel, match="isn't found by the text 'shop_id'"):
        straight.plan(replace(schema, join_key="shop_id"))


def test_a_lane_outlives_its_connection_and_a_changed_table(
    ready: Platform, straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    plan = straight.plan(schema)
    expected = straight.read(plan, users)

    async def ask() -> None:
        changed = asyncio.Event()
        connection = EventLoopConnection(ready.database.url, changed.set)
        await connection.open(5)

        async def rows() -> Any:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            connection.send(plan.text, users, answer.set_result)
            return await answer

        async def again() -> None:
            await asyncio.wait_for(changed.wait(), 10)
            assert connection.connected
            assert [row[0] for row in await rows()] == list(range(1, len(expected) + 1))

        await rows()
        changed.clear()
        with psycopg.connect(ready.database.url, autocommit=True) as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'feast_postgres' AND datname = current_database()"
            )
        await again()
        changed.clear()
        table = 'online."churn.payments_agg_90d_fv"'
        with psycopg.connect(ready.database.url, autocommit=True) as session:
            for kind in ("int4", "int8"):
                session.execute(
                    f"ALTER TABLE {table} ALTER failed_payments_90d TYPE {kind}"  # type: ignore[arg-type]
                )
                answer = await rows()
                assert isinstance(answer, ConnectionLost | list)
                if isinstance(answer, ConnectionLost):
                    await again()
                    changed.clear()
        await connection.close()

    asyncio.run(ask())


def test_a_feature_of_another_type_since_is_refused_by_every_way_of_reading(
    ready: Platform, straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    """The features view has a Float64 where the model, which is served already, has an Int64."""

    def features() -> list[Any]:
        from feast.types import Float64

        objects = ready.use_case.features()
        for field in next(one for one in objects if one.name == "payments_agg_90d_fv").schema:
            if field.name == "failed_payments_90d":
                field.dtype = Float64
        return objects

    plan = straight.plan(schema)

    async def ask() -> list[Any]:
        connection = straight.connect(lambda: None)
        await connection.open(5)

        async def rows() -> Any:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            connection.send(plan, users[:3], answer.set_result)
            return await answer

        answers = [await rows()]
        await asyncio.to_thread(change)
        while len(answers) < 4:
            while not connection.idle:
                await asyncio.sleep(0.01)
            answers.append(await rows())
        await connection.close()
        return answers

    def change() -> None:
        # In Feast alone: a column of history that was widened stays so.
        other = replace(ready.use_case, features=features)
        definitions.apply(feature_store.open_store(ready.database.url, other), other)
        materialization.materialize(ready.database, other, JANUARY, KNOWN)

    try:
        before, *after = asyncio.run(ask())
        assert isinstance(before, list)
        # The statement prepared before fails once with the connection, and is then sent again.
        told = {type(one) for one in after}
        assert UnservableModel in told
        assert told <= {UnservableModel, FeatureStoreUnavailable}
        with pytest.raises(UnservableModel, match="another type"):
            straight.read(plan, users[:3])
        with pytest.raises(UnservableModel, match="another type"):
            by_columns(straight, plan, schema, users[:3])
        with pytest.raises(UnservableModel, match="as INT64, the feature store has DOUBLE"):
            straight.plan(schema)
        with pytest.raises(UnservableModel, match="as INT64"):
            FeastStore(None, ready.database, ready.use_case).plan(schema)
    finally:
        apply(ready)
        materialize(ready, JANUARY, KNOWN)
    assert straight.read(plan, users[:3]) == before


def sessions(ready: Platform, *conditions: str) -> list[int]:
    """Process ids of the sessions of connections."""
    rows = execute(
        ready.database,
        " AND ".join(
            [
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'feast_postgres'",
                "datname = current_database()",
                *conditions,
            ]
        ),
    )
    return [int(row["pid"]) for row in rows]


def test_a_read_that_waits_for_a_lock_is_ended_by_the_server_too(
    ready: Platform, straight: PostgresStore, schema: FeatureSchema, users: list[str]
) -> None:
    plan = straight.plan(schema)

    async def ask() -> Any:
        connection = EventLoopConnection(ready.database.url, lambda: None, patience_seconds=0.2)
        await connection.open(5)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        connection.send(plan.text, users, answer.set_result)
        told = await answer
        # Or each read that is given up would leave a session behind.
        while sessions(ready, "wait_event_type = 'Lock'"):
            await asyncio.sleep(0.01)
        await connection.close()
        return told

    with psycopg.connect(ready.database.url) as blocking:
        blocking.execute('LOCK TABLE online."churn.payments_agg_90d_fv" IN ACCESS EXCLUSIVE MODE')
        told = asyncio.run(asyncio.wait_for(ask(), 30))
    assert isinstance(told, ConnectionLost)
    assert "statement timeout" in str(told)


@pytest.mark.skipif("STREAMFLOW_DATABASE_URL" in os.environ, reason="the server is somebody's")
def test_a_server_that_is_silent_to_one_connection_has_lost_all_of_them(
    ready: Platform, schema: FeatureSchema, users: list[str]
) -> None:
    store = PostgresStore(ready.database, ready.use_case, patience_seconds=0.2)
    plan = store.plan(schema)

    async def ask() -> None:
        connections = [store.connect(lambda: None) for _ in range(2)]
        for connection in connections:
            await connection.open(5)
        hanging = [psutil.Process(pid) for pid in sessions(ready)]
        try:
            for one in hanging:
                one.suspend()
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            connections[0].send(plan, users, answer.set_result)
            assert isinstance(await answer, FeatureStoreUnavailable)
            assert [connection.connected for connection in connections] == [False, False]
            # And the others of the server answer: new connections are opened.
            while not all(connection.connected for connection in connections):
                await asyncio.sleep(0.01)
        finally:
            for one in hanging:
                one.resume()
        for connection in connections:
            await connection.close()

    asyncio.run(asyncio.wait_for(ask(), 30))


def test_a_server_that_is_away_is_told_as_that(ready: Platform, schema: FeatureSchema) -> None:
    store = FeastStore(
        {
            "type": "feast_postgres.PostgresOnlineStore",
            "host": "127.0.0.1",
            "port": 1,
            "database": "none",
            "user": "none",
            "password": "",
        },
        ready.database,
        ready.use_case,
    )
    with pytest.raises(FeatureStoreUnavailable):
        store.read(schema, ["ann"])


def test_any_other_online_store_is_read_through_feast(
    ready: Platform, schema: FeatureSchema, users: list[str], tmp_path: Path
) -> None:
    other = {"type": "sqlite", "path": str(tmp_path / "online.db")}
    settings = ready.settings.model_copy(update={"online_store": other})
    elsewhere = replace(ready, settings=settings)
    apply(elsewhere)
    materialize(elsewhere, JANUARY, KNOWN)
    store = configured_online_store(settings, ready.database, ready.use_case)
    assert isinstance(store, FeastStore)
    ours = PostgresStore(ready.database, ready.use_case)
    expected = ours.read(ours.plan(schema), users)
    found = store.read(store.plan(schema), users)
    assert [row.values for row in found] == [row.values for row in expected]
    # SQLite keeps whole seconds or microseconds by its own mind; the day is what counts here.
    assert [row.times[0].date() for row in found if row.times[0]] == [JANUARY] * USERS
    assert in_lane_of(store, schema, users) == found


def in_lane_of(store: FeastStore, plan: Any, ids: list[str]) -> list[EntityRow]:
    async def ask() -> list[EntityRow]:
        connection = store.connect(lambda: None)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        connection.send(plan, ids, answer.set_result)
        rows: list[EntityRow] = await answer
        await connection.close()
        return rows

    return asyncio.run(ask())
