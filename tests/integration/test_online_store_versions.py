"""Versions of a feature view side by side, as Feast's SDK and its `OnlineStore` interface see them.

Each test of what every store shares runs against Feast's own SQLite store as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from feast import FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, Int64, String
from psycopg import sql
from tests.feast_stores import JANUARY, USER, StoreUnderTest, number

from feast_postgres.online_statement import readable_version

pytest_plugins = "tests.feast_stores"

ADA = [{"user_id": "ada"}]


@pytest.fixture
def postgres(
    tmp_path: Path, postgres_config: dict[str, Any], project: str
) -> Iterator[StoreUnderTest]:
    sut = StoreUnderTest(
        tmp_path, postgres_config, project, enable_online_feature_view_versioning=True
    )
    yield sut
    asyncio.run(sut.online.close())


@pytest.fixture
def sqlite(tmp_path: Path, project: str) -> StoreUnderTest:
    online = {"type": "sqlite", "path": str(tmp_path / "online.db")}
    return StoreUnderTest(tmp_path, online, project, enable_online_feature_view_versioning=True)


def write(sut: StoreUnderTest, **features: Any) -> None:
    """Write a row of ada to the active version."""
    values = {name: [value] for name, value in features.items()}
    row = pd.DataFrame({"user_id": ["ada"], "event_timestamp": [JANUARY], **values})
    sut.feast.write_to_online_store("profile", row)


def read(sut: StoreUnderTest, features: Any, **options: Any) -> dict[str, Any]:
    response = sut.feast.get_online_features(features, ADA, **options).to_dict()
    return {name: values[0] for name, values in response.items() if name != "user_id"}


def two_versions(sut: StoreUnderTest) -> FeatureView:
    """Version 0 has fee 1, version 1 has fee 2 and plan."""
    sut.view(fee=Float64)
    write(sut, fee=1.0)
    view = sut.view(fee=Float64, plan=String)
    write(sut, fee=2.0, plan="basic")
    return view


def tables(url: str, config: dict[str, Any]) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute(query, [config["db_schema"]]).fetchall()}


def test_each_version_has_its_own_values(store: StoreUnderTest) -> None:
    two_versions(store)
    features = ["profile@v0:fee", "profile@v1:fee", "profile@v1:plan"]
    expected = {"profile@v0__fee": 1.0, "profile@v1__fee": 2.0, "profile@v1__plan": "basic"}
    assert read(store, features, full_feature_names=True) == expected
    assert read(store, ["profile:fee", "profile:plan"]) == {"fee": 2.0, "plan": "basic"}


def test_versions_are_read_asynchronously(postgres: StoreUnderTest) -> None:
    two_versions(postgres)
    features = ["profile@v0:fee", "profile@v1:fee"]

    async def fetch() -> Any:
        return await postgres.feast.get_online_features_async(
            features, ADA, full_feature_names=True
        )

    response = asyncio.run(fetch()).to_dict()
    assert (response["profile@v0__fee"], response["profile@v1__fee"]) == ([1.0], [2.0])


def test_the_response_has_the_version_of_each_view(postgres: StoreUnderTest) -> None:
    two_versions(postgres)
    response = postgres.feast.get_online_features(
        ["profile@v1:fee"], ADA, include_feature_view_version_metadata=True
    )
    [view] = response.proto.metadata.feature_view_metadata
    assert (view.name, view.version) == ("profile", 1)


def test_a_feature_service_reads_the_active_version(postgres: StoreUnderTest) -> None:
    """Feast's own stores read version 0 here: the copies of a service's views lose the version."""
    view = two_versions(postgres)
    service = FeatureService(name="service", features=[view])
    postgres.feast.apply([service])
    assert read(postgres, postgres.feast.get_feature_service("service")) == {
        "fee": 2.0,
        "plan": "basic",
    }


def test_the_same_view_applied_again_changes_no_version(postgres: StoreUnderTest) -> None:
    """Feast's registry forgets the version then, so that its own stores read version 0."""
    two_versions(postgres)
    postgres.view(fee=Float64, plan=String)
    postgres.view(fee=Float64, plan=String)
    assert postgres.feast.get_feature_view("profile").current_version_number is None
    assert read(postgres, ["profile@v0:fee"]) == {"fee": 1.0}
    assert read(postgres, ["profile:fee", "profile:plan"]) == {"fee": 2.0, "plan": "basic"}
    write(postgres, fee=2.0, plan="premium")
    assert read(postgres, ["profile@v1:plan"]) == {"plan": "premium"}


def test_a_feature_that_a_later_version_drops_or_retypes_stays_in_the_earlier(
    postgres: StoreUnderTest,
) -> None:
    postgres.view(fee=Float64, age=Int64)
    write(postgres, fee=1.0, age=30)
    postgres.view(fee=String)
    write(postgres, fee="two")
    postgres.view(fee=String)
    assert read(postgres, ["profile@v0:fee", "profile@v0:age"]) == {"fee": 1.0, "age": 30}
    assert read(postgres, ["profile:fee"]) == {"fee": "two"}


def test_a_view_that_returns_to_an_earlier_definition_gets_a_new_version(
    postgres: StoreUnderTest,
) -> None:
    two_versions(postgres)
    postgres.view(fee=Float64)
    assert read(postgres, ["profile:fee"]) == {"fee": None}
    write(postgres, fee=3.0)
    features = ["profile@v0:fee", "profile@v1:fee", "profile@v2:fee"]
    assert list(read(postgres, features, full_feature_names=True).values()) == [1.0, 2.0, 3.0]


def test_a_version_without_a_table_says_what_to_run_and_gets_one_when_it_is_written(
    postgres: StoreUnderTest,
) -> None:
    postgres.view(fee=Float64)
    view = postgres.feast.get_feature_view("profile")
    view.current_version_number = 7
    with pytest.raises(psycopg.errors.UndefinedTable, match=r"profile@v7.*feast materialize"):
        postgres.read(view, "ada")
    postgres.write(view, ("ada", number(7), JANUARY))
    assert postgres.read(view, "ada") == [(JANUARY, number(7))]


def test_a_dropped_view_leaves_no_version(
    postgres: StoreUnderTest, database_url: str, postgres_config: dict[str, Any], project: str
) -> None:
    view = two_versions(postgres)
    postgres.view("profile_v1", fee=Float64)  # the name that Feast's own stores give to a version
    before = {f"{project}.profile", f"{project}.profile@v1", f"{project}.profile_v1"}
    assert tables(database_url, postgres_config) == before
    postgres.online.update(postgres.config, [view], [], [], [], partial=False)
    assert tables(database_url, postgres_config) == {f"{project}.profile_v1"}


def test_versions_of_views_with_long_names_stay_apart(
    postgres: StoreUnderTest, database_url: str, postgres_config: dict[str, Any]
) -> None:
    names = [f"{'a_long_name_' * 6}{end}" for end in ("one", "two")]
    for value, name in enumerate(names):
        view = postgres.view(name, fee=Float64)
        for version in (0, 1, 2**31 - 1):
            view.current_version_number = version
            postgres.write(view, ("ada", number(value + version), JANUARY))
    for value, name in enumerate(names):
        view = postgres.feast.get_feature_view(name)
        for version in (0, 1, 2**31 - 1):
            view.projection.version_tag = version
            assert postgres.read(view, "ada") == [(JANUARY, number(value + version))]
    assert len(tables(database_url, postgres_config)) == 6
    postgres.online.teardown(postgres.config, [view], [])
    assert len(tables(database_url, postgres_config)) == 3


def profile(name: str, table: str, **types: Any) -> FeatureView:
    """A view that its tag gives a table."""
    fields = [Field(name=feature, dtype=kind) for feature, kind in types.items()]
    source = FileSource(name=f"{name}_source", path="none", timestamp_field="event_timestamp")
    tags = {"feast_postgres.table": table}
    return FeatureView(name=name, entities=[USER], schema=fields, source=source, tags=tags)


@pytest.fixture
def tagged(
    tmp_path: Path, postgres_config: dict[str, Any], project: str
) -> Iterator[StoreUnderTest]:
    """Version 0 of a profile with a fee and an age, its second version with a fee and a plan."""
    sut = StoreUnderTest(tmp_path, postgres_config, project)
    sut.view(fee=Float64, age=Int64)
    write(sut, fee=1.0, age=30)
    kept = profile("profile_v0", "profile", fee=Float64, age=Int64)
    sut.feast.apply([kept, profile("profile", "profile@v1", fee=Float64, plan=String)])
    yield sut
    asyncio.run(sut.online.close())


def test_a_view_has_the_table_that_its_tag_names(tagged: StoreUnderTest) -> None:
    write(tagged, fee=2.0, plan="basic")
    assert read(tagged, ["profile_v0:fee", "profile_v0:age"]) == {"fee": 1.0, "age": 30}
    assert read(tagged, ["profile:fee", "profile:plan"]) == {"fee": 2.0, "plan": "basic"}
    service = FeatureService(name="service", features=[tagged.feast.get_feature_view("profile")])
    tagged.feast.apply([service])
    assert read(tagged, tagged.feast.get_feature_service("service"))["plan"] == "basic"


def test_a_new_table_of_a_tag_has_the_rows_of_the_version_before(tagged: StoreUnderTest) -> None:
    """A column that is new, or of another type, has no value in them."""
    view = tagged.feast.get_feature_view("profile")
    assert tagged.read(view, "ada") == [(JANUARY, number(1.0))]
    again = profile("profile", "profile@v2", plan=Int64, fee=Float64, age=Int64)
    tagged.feast.apply([again])
    assert tagged.read(again, "ada") == [(JANUARY, number(1.0))]
    assert read(tagged, ["profile_v0:fee", "profile_v0:age"]) == {"fee": 1.0, "age": 30}


@pytest.mark.parametrize(
    ("features", "version"),
    [
        ({"fee": "DOUBLE", "age": "INT64"}, "profile"),
        ({"fee": "DOUBLE"}, "profile@v1"),
        ({"fee": "INT64"}, "profile@v1"),  # none has it
    ],
)
def test_the_newest_version_that_has_all_features_is_read(
    tagged: StoreUnderTest, database_url: str, features: dict[str, str], version: str
) -> None:
    schema, project = tagged.config.online_store.db_schema, tagged.config.project
    with psycopg.connect(database_url) as connection:
        found = readable_version(connection, schema, project, "user_id", "profile", features)
    assert found == version


def test_a_version_without_values_is_read_when_no_other_has_any(
    tagged: StoreUnderTest, database_url: str
) -> None:
    schema, project = tagged.config.online_store.db_schema, tagged.config.project
    tagged.feast.apply([profile("profile", "profile@v2", age=Int64, plan=String)])

    def readable(**features: str) -> str:
        with psycopg.connect(database_url) as connection:
            return readable_version(connection, schema, project, "user_id", "profile", features)

    assert readable(age="INT64") == "profile"
    assert readable(age="INT64", plan="STRING") == "profile@v2"
    write(tagged, age=31, plan="basic")
    assert readable(age="INT64") == "profile@v2"


def test_the_table_of_a_tag_goes_with_its_view_alone(
    tagged: StoreUnderTest, database_url: str, postgres_config: dict[str, Any], project: str
) -> None:
    view = tagged.feast.get_feature_view("profile")
    tagged.online.update(tagged.config, [view], [], [], [], partial=False)
    assert tables(database_url, postgres_config) == {f"{project}.profile"}


def test_without_versions_the_active_definition_has_the_one_table(
    tmp_path: Path, postgres_config: dict[str, Any], database_url: str, project: str
) -> None:
    sut = StoreUnderTest(tmp_path, postgres_config, project)
    two_versions(sut)
    assert read(sut, ["profile:fee", "profile:plan"]) == {"fee": 2.0, "plan": "basic"}
    assert tables(database_url, postgres_config) == {f"{project}.profile"}
    with psycopg.connect(database_url) as connection:
        table = sql.Identifier(postgres_config["db_schema"], f"{project}.profile")
        [row] = connection.execute(sql.SQL("SELECT fee FROM {}").format(table)).fetchall()
    assert row == (2.0,)
    asyncio.run(sut.online.close())
