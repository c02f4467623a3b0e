"""A history table in PostgreSQL and Feast stores on it, for tests of materialization."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.types import Bool, Bytes, Float64, Int64, String, UnixTimestamp
from psycopg import sql
from tests.feast_stores import DAY, JANUARY, server_of

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
DELIVERED, CORRECTED = datetime(2024, 2, 3, 6, tzinfo=UTC), datetime(2024, 3, 20, 6, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
COLUMNS = (
    "user_id text, fee float8, months bigint, plan boolean, city varchar(20), photo bytea, "
    "born timestamptz, event_timestamp timestamptz, recorded_at timestamptz"
)
TYPES = {
    "fee": Float64,
    "months": Int64,
    "plan": Bool,
    "city": String,
    "photo": Bytes,
    "born": UnixTimestamp,
}


class Warehouse:
    """A schema with a table `profile`, and Feast stores on it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.schema = f"warehouse_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE SCHEMA {self.schema}")
        self.execute(f"CREATE TABLE {self.schema}.profile ({COLUMNS})")

    def execute(self, query: str, *rows: Any) -> None:
        with psycopg.connect(self.url) as connection:
            if rows:
                connection.cursor().executemany(query, rows)
            else:
                connection.execute(query)

    def insert(self, *rows: tuple[Any, ...]) -> None:
        self.execute(f"INSERT INTO {self.schema}.profile VALUES ({', '.join(['%s'] * 9)})", *rows)

    def fee(self, user: str, fee: float | None, at: datetime, known: datetime = DELIVERED) -> None:
        self.insert((user, fee, None, None, None, None, None, at, known))

    def store(
        self,
        engine: str = "feast_postgres.PostgresEngine",
        versions: bool = False,
        **offline: Any,
    ) -> FeatureStore:
        """A Feast store with a new project, and so with an online store of its own."""
        server = {"db_schema": self.schema, **server_of(self.url)}
        project = f"p{uuid.uuid4().hex[:12]}"
        return FeatureStore(
            config=RepoConfig(
                project=project,
                provider="local",
                registry={
                    "registry_type": "file",
                    "path": str(self.folder / f"{project}.db"),
                    "enable_online_feature_view_versioning": versions,
                },
                offline_store={
                    "type": "feast_postgres.PostgresOfflineStore",
                    **server,
                    **offline,
                },
                online_store={"type": "feast_postgres.PostgresOnlineStore", **server},
                batch_engine=engine,
                entity_key_serialization_version=3,
            )
        )

    def online(self, store: FeatureStore, view: str = "profile") -> list[tuple[Any, ...]]:
        """All rows of the view's online table."""
        with psycopg.connect(self.url, options="-c timezone=UTC") as connection:
            table = sql.Identifier(self.schema, f"{store.project}.{view}")
            return connection.execute(
                sql.SQL("SELECT * FROM {} ORDER BY 1").format(table)
            ).fetchall()


@pytest.fixture
def warehouse(database_url: str, tmp_path: Path) -> Iterator[Warehouse]:
    created = Warehouse(database_url, tmp_path)
    yield created
    created.execute(f"DROP SCHEMA {created.schema} CASCADE")


def profile(types: dict[str, Any] = TYPES, **changes: Any) -> FeatureView:
    """A view of the table, with `changes` to its arguments and its source's."""
    source: dict[str, Any] = {
        "name": f"{changes.get('name', 'profile')}_source",
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "recorded_at",
    }
    if "query" not in changes:
        source["table"] = "profile"
    for name in ("query", "field_mapping", "timestamp_field", "created_timestamp_column"):
        if name in changes:
            source[name] = changes.pop(name)
    fields = [Field(name=name, dtype=dtype) for name, dtype in types.items()]
    arguments = {
        "name": "profile",
        "entities": [USER],
        "schema": [Field(name="user_id", dtype=String), *fields],
        "ttl": timedelta(0),
        **changes,
    }
    return FeatureView(source=PostgreSQLSource(**source), **arguments)


def applied(store: FeatureStore, view: FeatureView) -> FeatureStore:
    store.apply([USER, view])
    return store


def fees(store: FeatureStore, *users: str) -> list[float | None]:
    rows = [{"user_id": user} for user in users]
    return list(store.get_online_features(["profile:fee"], rows).to_dict()["fee"])


def random_rows(seed: int, count: int) -> list[tuple[Any, ...]]:
    dice = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if dice.random() < 0.2 else value

    def row() -> tuple[Any, ...]:
        at = JANUARY + dice.choice(
            [-40 * DAY, -DAY, timedelta(0), MICROSECOND, DAY, 20 * DAY, 90 * DAY]
        )
        return (
            f"user{dice.randrange(40)}",
            maybe(dice.choice([0.1 + 0.2, -0.0, 5e-324, math.inf, dice.random()])),
            dice.randrange(-(2**63), 2**63),
            maybe(dice.random() < 0.5),
            maybe(dice.choice(["", "O'Brien \\N\t\n", "ünïcödé %s", "seoul"])),
            maybe(dice.randbytes(dice.randrange(4))),
            maybe(JANUARY - dice.randrange(40_000) * DAY - dice.randrange(10**6) * MICROSECOND),
            at,
            at + dice.randrange(1, 10**9) * MICROSECOND,
        )

    return [row() for _ in range(count)]
