"""`get_online_features` in one round trip: the same response as Feast's own path, to the byte."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureService, FeatureView, Field, OnDemandFeatureView, RequestSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import StringList, Value
from feast.transformation.python_transformation import PythonTransformation
from feast.types import Array, Float64, Int64, String, UnixTimestamp
from tests.feast_stores import (
    DAY,
    FEBRUARY,
    JANUARY,
    NULL,
    SHOP,
    USER,
    StoreUnderTest,
    number,
    user,
)

from feast_postgres.online import PostgresOnlineStore

pytest_plugins = "tests.feast_stores"

Request = dict[str, Any]


def key(**parts: Any) -> EntityKey:
    values = [
        Value(string_val=v) if isinstance(v, str) else Value(int64_val=v) for v in parts.values()
    ]
    return EntityKey(join_keys=list(parts), entity_values=values)


def filled(sut: StoreUnderTest) -> dict[str, FeatureView]:
    """Views of one, two and no entities, with some rows and some features unwritten."""
    narrow = sut.view("usage", hours=Float64)
    sut.write(narrow, ("old", {"hours": Value(double_val=1)}, JANUARY))
    views = {
        "profile": sut.view("profile", fee=Float64, plan=String),
        "usage": sut.view("usage", hours=Float64, tags=Array(String), seen=UnixTimestamp),
        "basket": sut.view("basket", entities=(USER, SHOP), items=Int64),
        "shop": sut.view("shop", entities=(SHOP,), fee=Float64),
        "world": sut.view("world", entities=(), price=Float64),
    }
    plan = {"plan": Value(string_val="basic")}
    sut.write(
        views["profile"],
        ("ada", number(0.1 + 0.2) | plan, JANUARY),
        ("bob", number(-0.0) | {"plan": NULL}, FEBRUARY),
        ("old", number(3) | plan, JANUARY - 9_000 * DAY),
    )
    usage = {
        "hours": Value(double_val=7.5),
        "tags": Value(string_list_val=StringList(val=["a", ""])),
        "seen": Value(unix_timestamp_val=-1),
    }
    sut.write(views["usage"], ("ada", usage, FEBRUARY), ("eve", usage | {"seen": NULL}, FEBRUARY))
    items = {"items": Value(int64_val=2**53 + 1)}
    sut.write(views["basket"], (key(user_id="ada", shop_id=1), items, JANUARY))
    sut.write(views["shop"], (key(shop_id=1), number(9), JANUARY))
    sut.write(views["world"], (key(__dummy_id=""), {"price": Value(double_val=1.5)}, JANUARY))
    return views


def triple(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"triple": [fee * 3 if fee is not None else -1 for fee in inputs["fee"]]}


def services(sut: StoreUnderTest, views: dict[str, FeatureView]) -> dict[str, FeatureService]:
    tripled = OnDemandFeatureView(
        name="tripled",
        sources=[
            views["profile"],
            RequestSource(name="now", schema=[Field(name="n", dtype=Int64)]),
        ],
        schema=[Field(name="triple", dtype=Float64)],
        feature_transformation=PythonTransformation(udf=triple, udf_string="triple"),
        mode="python",
    )
    all_services = {
        "churn": FeatureService(name="churn", features=[views["profile"][["fee"]], views["usage"]]),
        "friends": FeatureService(
            name="friends",
            features=[
                views["profile"].with_name("self"),
                views["profile"].with_name("friend").with_join_key_map({"user_id": "friend_id"}),
            ],
        ),
        "demand": FeatureService(name="demand", features=[tripled, views["usage"][["hours"]]]),
    }
    sut.feast.apply([tripled, *all_services.values()])
    return all_services


USERS = [{"user_id": name} for name in ("bob", "ada", "nobody", "ada", "old", "eve", "a\0b")]
REQUESTS: dict[str, Request] = {
    "one view": {"features": ["profile:plan", "profile:fee"]},
    "two views": {"features": ["usage:tags", "profile:fee", "usage:seen", "usage:hours"]},
    "full names": {"features": ["profile:fee", "usage:hours"], "full_feature_names": True},
    "columns": {"features": ["profile:fee"], "entity_rows": {"user_id": ["ada", "bob", "x"]}},
    "one entity": {"features": ["profile:fee"], "entity_rows": [{"user_id": "ada"}]},
    "unwritten alone": {"features": ["usage:seen"], "entity_rows": [{"user_id": "old"}]},
    "without entity": {"features": ["world:price"], "entity_rows": [{"user_id": "ada"}]},
    "with and without": {"features": ["world:price", "profile:fee"]},
    "several entities": {
        "features": ["basket:items", "profile:fee", "shop:fee"],
        "entity_rows": [{"user_id": u, "shop_id": s} for u in ("ada", "bob") for s in (1, 2)],
        "full_feature_names": True,
    },
    "versions": {
        "features": ["profile:fee", "usage:hours"],
        "include_feature_view_version_metadata": True,
    },
    "service": {"features": "churn"},
    "aliases": {
        "features": "friends",
        "entity_rows": [{"user_id": "ada", "friend_id": f} for f in ("bob", "ada", "nobody")],
        "full_feature_names": True,
    },
    "on demand": {
        "features": "demand",
        "entity_rows": [{"user_id": u, "n": 1} for u in ("ada", "bob")],
    },
}


def request_arguments(
    sut: StoreUnderTest, services_by_name: dict[str, FeatureService], request: Request
) -> Request:
    features = request["features"]
    if isinstance(features, str):
        features = services_by_name[features]
    return {"entity_rows": USERS, **request, "features": features}


def use_feasts_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove our overrides: Feast's own path remains."""
    for method in ("_read_features_per_fv", "_read_features_per_fv_async"):
        monkeypatch.delattr(PostgresOnlineStore, method)


@pytest.mark.parametrize("path", ["Feast's own path", "Feast's SQLite store"])
def test_every_kind_of_request_has_the_same_response_as(
    path: str, postgres: StoreUnderTest, sqlite: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_services = services(postgres, filled(postgres))
    ours = {
        name: postgres.feast.get_online_features(
            **request_arguments(postgres, all_services, request)
        )
        for name, request in REQUESTS.items()
    }
    other = postgres
    if path == "Feast's own path":
        use_feasts_path(monkeypatch)
    else:
        other = sqlite
        all_services = services(sqlite, filled(sqlite))
    for name, request in REQUESTS.items():
        if other is sqlite and name == "unwritten alone":
            continue  # the SQLite store reads all features, whichever are requested
        theirs = other.feast.get_online_features(**request_arguments(other, all_services, request))
        names = list(theirs.proto.metadata.feature_names.val)
        # Feast orders views by its own sets, differently in each process and store
        assert sorted(ours[name].proto.metadata.feature_names.val) == sorted(names), name
        assert by_name(ours[name]) == by_name(theirs), name
        assert str(ours[name].to_dict(True)) == str(
            {key: theirs.to_dict(True)[key] for key in ours[name].to_dict(True)}
        ), name
        if other is postgres:  # the other store's views were applied later
            metadata = ours[name].proto.metadata
            assert metadata == theirs.proto.metadata, name


def by_name(response: Any) -> dict[str, bytes]:
    proto = response.proto
    return {
        name: vector.SerializeToString(deterministic=True)
        for name, vector in zip(proto.metadata.feature_names.val, proto.results, strict=True)
    }


def test_a_views_own_name_for_its_join_key_counts_in_any_order(postgres: StoreUnderTest) -> None:
    service = services(postgres, filled(postgres))["friends"]
    rows = [{"friend_id": "bob", "user_id": "ada"}]
    response = postgres.feast.get_online_features(service, rows, full_feature_names=True).to_dict()
    assert response["friend__fee"] == [-0.0]
    assert response["self__fee"] == [0.1 + 0.2]


def test_async_requests_have_the_same_responses(postgres: StoreUnderTest) -> None:
    all_services = services(postgres, filled(postgres))

    async def together() -> list[Any]:
        requests = [
            request_arguments(postgres, all_services, request) for request in REQUESTS.values()
        ]
        calls = [postgres.feast.get_online_features_async(**request) for request in requests * 2]
        responses = await asyncio.gather(*calls)
        await postgres.online.close()
        return responses

    responses = asyncio.run(together())
    for response, request in zip(responses, [*REQUESTS.values()] * 2, strict=True):
        expected = postgres.feast.get_online_features(
            **request_arguments(postgres, all_services, request)
        )
        assert by_name(response) == by_name(expected)


@pytest.mark.parametrize(
    "request_",
    [
        {"features": ["profile:none"]},
        {"features": ["nowhere:fee"]},
        {"features": ["profile:fee", "shop:fee"]},  # names collide
        {"features": ["profile:fee"], "entity_rows": [{"shop_id": 1}]},
        {"features": ["profile:fee"], "entity_rows": [{"user_id": "a"}, {"shop_id": 1}]},
        {"features": ["profile@v3:fee"]},
    ],
    ids=str,
)
def test_a_request_that_is_an_error_in_feast_is_the_same_error(
    request_: Request, postgres: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raised_error() -> tuple[type, str]:
        with pytest.raises(Exception) as raised:
            postgres.feast.get_online_features(**{"entity_rows": USERS, **request_})
        return raised.type, str(raised.value)

    filled(postgres)
    ours = raised_error()
    use_feasts_path(monkeypatch)
    assert ours == raised_error()


def traced(connection: Any, into: Path) -> contextlib.AbstractContextManager[None]:
    """Write down every message between client and server."""

    @contextlib.contextmanager
    def tracing() -> Iterator[None]:
        with into.open("ab") as file:
            connection.pgconn.trace(file.fileno())
            yield
            connection.pgconn.untrace()

    return tracing()


@pytest.mark.skipif(sys.platform != "linux", reason="libpq traces to a file only there")
@pytest.mark.parametrize(
    "features",
    [
        ["profile:plan", "usage:hours", "usage:tags"],
        ["profile:plan", "usage:hours", "basket:items", "shop:fee", "world:price"],
    ],
    ids=["the same entity", "several entities"],
)
def test_a_request_for_many_views_is_one_round_trip(
    postgres: StoreUnderTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: list[str]
) -> None:
    filled(postgres)
    connections = postgres.online._connections
    run, run_async = connections.run, connections.run_async

    def watched(config: Any, work: Any) -> Any:
        def work_watched(connection: Any) -> Any:
            with traced(connection, tmp_path / "messages"):
                return work(connection)

        return run(config, work_watched)

    async def watched_async(config: Any, work: Any) -> Any:
        async def work_watched(connection: Any) -> Any:
            with traced(connection, tmp_path / "messages"):
                return await work(connection)

        return await run_async(config, work_watched)

    async def request_async() -> None:
        for _ in range(4):
            await postgres.feast.get_online_features_async(features, rows)
        await postgres.online.close()

    rows = [{"user_id": "ada", "shop_id": 1}, {"user_id": "bob", "shop_id": 1}]
    postgres.feast.get_online_features(features, rows)  # prepares the statements
    monkeypatch.setattr(connections, "run", watched)
    monkeypatch.setattr(connections, "run_async", watched_async)
    for _ in range(3):
        postgres.feast.get_online_features(features, rows)
    assert (tmp_path / "messages").read_text().count("ReadyForQuery") == 3
    (tmp_path / "messages").unlink()
    asyncio.run(request_async())
    to_prepare = 1 if len(features) == 3 else 0  # of several statements, with the others
    assert (tmp_path / "messages").read_text().count("ReadyForQuery") == 4 + to_prepare


def test_the_same_views_in_another_project_are_read_from_its_tables(
    postgres: StoreUnderTest, postgres_config: dict[str, Any], project: str, tmp_path: Path
) -> None:
    other = StoreUnderTest(tmp_path, postgres_config, f"{project}_2")
    view, _ = postgres.view(fee=Float64), other.view(fee=Float64)
    postgres.write(view, ("ada", number(1), JANUARY))
    other.write(view, ("ada", number(2), JANUARY))
    for sut, fee in [(postgres, 1), (other, 2)] * 2:
        response = postgres.online.get_online_features(
            sut.config, ["profile:fee"], [{"user_id": "ada"}], postgres.feast.registry, project
        )
        assert response.to_dict()["fee"] == [fee]


def test_more_views_than_one_statement_can_join_are_read_as_well(postgres: StoreUnderTest) -> None:
    views = [
        FeatureView(
            name=f"v{n}",
            entities=[USER],
            schema=[Field(name="user_id", dtype=String)]
            + [Field(name=f"f{n}_{i}", dtype=Int64) for i in range(30)],
            source=postgres.view("profile", fee=Float64).batch_source,
            ttl=timedelta(0),
        )
        for n in range(60)
    ]
    postgres.feast.apply([USER, *views])
    for n, view in enumerate(views):
        values = {f"f{n}_{i}": Value(int64_val=n * 100 + i) for i in range(30)}
        postgres.online.online_write_batch(
            postgres.config, view, [(user("ada"), values, JANUARY, None)], None
        )
    features = [f"v{n}:f{n}_{i}" for n in range(60) for i in range(30)]
    response = postgres.feast.get_online_features(features, [{"user_id": "ada"}]).to_dict()
    assert all(response[f"f{n}_{i}"] == [n * 100 + i] for n in range(60) for i in range(30))
