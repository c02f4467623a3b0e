"""Claim: Feast's `get_online_features` is faster on our store than on Feast's own, at every size.

Peer: Feast's own PostgreSQL online store, through the same SDK, same values. 1 to 1,000 entities of
2,000 to 5,000, 1, 4 and 24 feature views of five features each. Medians of calls in milliseconds.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from bench import RESULTS, machine, temporary_folder
from streamflow.postgres import embedded_server

USERS = 5_000
ENTITIES = (1, 10, 100, 1_000)
VIEWS = (1, 4, 24)
ROUNDS, WARM_UP = 5, 6
WRITTEN = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)
PEER, OURS = "Feast's PostgreSQL store", "feast_postgres"


def main() -> None:
    """Measure, print and write the results."""
    with temporary_folder() as folder, embedded_server.running(folder / "home") as url:
        stores = {
            OURS: feast_store(url, folder, "ours", "feast_postgres.PostgresOnlineStore"),
            PEER: feast_store(url, folder, "peer", "postgres"),
        }
        results = [
            {"entities": entities, "views": views, **compare(stores, entities, views)}
            for views in VIEWS
            for entities in ENTITIES
        ]
    claim = "get_online_features: milliseconds per call, five features per view"
    print(f"{claim}\n{machine()}\n")
    print(f"{'entities':>8} {'views':>6} {OURS:>16} {PEER:>26} {'times faster':>14}")
    for row in results:
        print(
            f"{row['entities']:>8,} {row['views']:>6} {row[OURS]:>13.2f} ms {row[PEER]:>23.2f} ms "
            f"{row[PEER] / row[OURS]:>14.1f}"
        )
    RESULTS.mkdir(exist_ok=True)
    result = {"claim": claim, "machine": machine(), "medians_ms": results}
    (RESULTS / "online_read.json").write_text(json.dumps(result, indent=2) + "\n")


def feast_store(url: str, folder: Path, project: str, kind: str) -> Any:
    """A Feast store with the largest number of views, each with a row per user."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.types import Bool, Float64, Int64, String

    parts = conninfo_to_dict(url)
    online = {
        "type": kind,
        "host": parts["host"],
        "port": int(parts.get("port") or 5432),
        "database": parts["dbname"],
        "user": parts["user"],
        "password": parts.get("password", ""),
        "sslmode": "disable",
        "db_schema": project,
    }
    store = FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry={"registry_type": "file", "path": str(folder / f"{project}.db")},
            offline_store={"type": "dask"},
            online_store=online,
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    views = []
    for number in range(max(VIEWS)):
        types = {"fee": Float64, "hours": Float64, "months": Int64, "plan": Bool, "net": String}
        views.append(
            FeatureView(
                name=f"view{number}",
                entities=[user],
                schema=[
                    Field(name="user_id", dtype=String),
                    *(Field(name=f"{name}{number}", dtype=kind) for name, kind in types.items()),
                ],
                source=FileSource(path="absent.parquet", timestamp_field="event_timestamp"),
                ttl=timedelta(0),
            )
        )
    store.apply([user, *views])
    dice = random.Random(42)
    keys = [
        EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=f"U{n:09}")])
        for n in range(USERS)
    ]
    online_store = store._get_provider().online_store
    for number, view in enumerate(views):
        values = {
            f"fee{number}": Value(double_val=dice.random()),
            f"hours{number}": Value(double_val=dice.random()),
            f"months{number}": Value(int64_val=dice.randrange(100)),
            f"plan{number}": Value(bool_val=dice.random() < 0.5),
            f"net{number}": Value(string_val=dice.choice(["dsl", "fibre", "none"])),
        }
        # the views after the fourth have only the users that are read
        rows = [(key, values, WRITTEN, None) for key in keys[: USERS if number < 4 else 2_000]]
        online_store.online_write_batch(store.config, view, rows, None)
    return store


def compare(stores: dict[str, Any], entities: int, views: int) -> dict[str, float]:
    """Median milliseconds per store; both must return values for the same features."""
    dice = random.Random(entities)
    features = [
        f"view{number}:{name}{number}"
        for number in range(views)
        for name in ("fee", "hours", "months", "plan", "net")
    ]
    milliseconds: dict[str, list[float]] = {name: [] for name in stores}
    users = dice.sample(range(2_000), entities)
    rows = [{"user_id": f"U{number:09}"} for number in users]
    calls = 5 if entities * views >= 1_000 else 25
    for _ in range(ROUNDS):
        results = []
        for name, store in stores.items():
            # Feast caches the resolved request for one registry at a time, and statements are
            # prepared after a few calls: the warm-up makes it like a server with one feature store.
            for call in range(WARM_UP + calls):
                started = time.perf_counter()
                response = store.get_online_features(features, rows)
                if call >= WARM_UP:
                    milliseconds[name].append((time.perf_counter() - started) * 1_000)
            results.append(response.to_dict())
        assert results[0].keys() == results[1].keys()
        assert all(None not in values for result in results for values in result.values())
    return {name: statistics.median(runs) for name, runs in milliseconds.items()}


if __name__ == "__main__":
    sys.exit(main())
