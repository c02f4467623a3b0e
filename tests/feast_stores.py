"""Feast stores under test, for every test of `feast_postgres`: `pytest_plugins` of a module."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64, String
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

JANUARY = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NULL = Value()

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
KEY_FIELDS = {
    "user": Field(name="user_id", dtype=String),
    "shop": Field(name="shop_id", dtype=Int64),
}


def server_of(database_url: str) -> dict[str, Any]:
    """The settings of a Feast store that name the server of the URL."""
    parts = conninfo_to_dict(database_url)
    return {
        "host": str(parts.get("host", "localhost")),
        "port": int(parts.get("port", 5432)),
        "database": str(parts["dbname"]),
        "user": str(parts.get("user", "")),
        "password": str(parts.get("password", "")),
        "sslmode": str(parts.get("sslmode", "disable")),
    }


class StoreUnderTest:
    """A Feast store under test, and its online store."""

    def __init__(self, folder: Path, online: dict[str, Any], project: str, **registry: Any) -> None:
        self.folder = folder
        self.turns = 0  # counted by tests that write repeatedly: each write has to be newer
        self.feast = FeatureStore(
            config=RepoConfig(
                project=project,
                provider="local",
                registry={
                    "registry_type": "file",
                    "path": str(folder / f"{project}.db"),
                    **registry,
                },
                online_store=online,
                offline_store={"type": "dask"},
                entity_key_serialization_version=3,
            )
        )
        self.config = self.feast.config
        self.online = self.feast.provider.online_store

    def view(
        self, name: str = "profile", entities: tuple[Entity, ...] = (USER,), **types: Any
    ) -> FeatureView:
        """Apply a feature view of these features."""
        view = FeatureView(
            name=name,
            entities=list(entities),
            schema=[
                KEY_FIELDS.get(entity.name) or Field(name=entity.join_key, dtype=String)
                for entity in entities
            ]
            + [Field(name=feature, dtype=dtype) for feature, dtype in types.items()],
            source=FileSource(
                name=f"{name}_source",
                path=str(self.folder / "absent.parquet"),
                timestamp_field="event_timestamp",
            ),
            ttl=timedelta(0),
        )
        self.feast.apply([*entities, view])
        return view

    def write(self, view: FeatureView, *rows: tuple[Any, ...]) -> None:
        """Write rows of user, values by feature, event timestamp and, optionally, created one."""
        batch = [
            (key if isinstance(key, EntityKey) else user(key), values, event, *(created or [None]))
            for key, values, event, *created in rows
        ]
        self.online.online_write_batch(self.config, view, batch, None)

    def read(self, view: FeatureView, *keys: Any, features: list[str] | None = None) -> list[Any]:
        entity_keys = [key if isinstance(key, EntityKey) else user(key) for key in keys]
        return self.online.online_read(self.config, view, entity_keys, features)


def user(name: str) -> EntityKey:
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=name)])


def number(value: float) -> dict[str, Value]:
    return {"fee": Value(double_val=value)}


@pytest.fixture
def project() -> str:
    return f"p{uuid.uuid4().hex[:12]}"


@pytest.fixture
def postgres_config(database_url: str, project: str) -> Iterator[dict[str, Any]]:
    schema = f"online {project}"
    yield {
        "type": "feast_postgres.PostgresOnlineStore",
        "db_schema": schema,
        **server_of(database_url),
    }
    with psycopg.connect(database_url) as connection:
        connection.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))
        )


@pytest.fixture
def postgres(
    tmp_path: Path, postgres_config: dict[str, Any], project: str
) -> Iterator[StoreUnderTest]:
    sut = StoreUnderTest(tmp_path, postgres_config, project)
    yield sut
    asyncio.run(sut.online.close())


@pytest.fixture
def sqlite(tmp_path: Path, project: str) -> StoreUnderTest:
    return StoreUnderTest(
        tmp_path, {"type": "sqlite", "path": str(tmp_path / "online.db")}, project
    )


@pytest.fixture(params=["feast_postgres", "sqlite"])
def store(request: pytest.FixtureRequest) -> StoreUnderTest:
    """For tests of the behaviour that every online store shares."""
    name = "postgres" if request.param == "feast_postgres" else "sqlite"
    sut: StoreUnderTest = request.getfixturevalue(name)
    return sut


def cut_connections(database_url: str) -> int:
    """End every session of the online store, as a restart of the server does; returns how many."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'feast_postgres' AND datname = current_database()"
        ).fetchall()
    return len(cut)
