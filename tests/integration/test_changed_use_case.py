"""A use case that changes while a model of before is in Production, from apply to the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests import tiny_case

from streamflow.bootstrap import platform, production_predictor
from streamflow.pipeline import train
from streamflow.pipeline.apply import ConcernedVersion, apply, plan
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.promotion import promote
from streamflow.serving.scoring import Prediction, ScoringRequest
from streamflow.settings import load_settings
from streamflow.use_case import Generation, Table, UseCase

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 3, 10, tzinfo=UTC)
MACHINES = [f"m-{number:04}" for number in range(90)]
MACHINES_COLUMNS = {"kind": "String", "age_weeks": "Int64"}
READINGS = {"temperature_c": "Float64", "alarms": "Int64", "guard_open": "Bool"}
_CONTRACT = {"String": "string", "Bool": "boolean"}


def use_case(**tables: Mapping[str, str]) -> UseCase:
    """The workshop with these columns, each a feature of the type; a `?` after it: nullable."""

    def contract(name: str, columns: Mapping[str, str]) -> Table:
        from pandera.pandas import Column, DataFrameSchema

        return Table(
            name,
            DataFrameSchema(
                {
                    "machine_id": Column("string"),
                    **{
                        column: Column(
                            _CONTRACT.get(kind.strip("?"), kind.strip("?")),
                            nullable=kind.endswith("?"),
                        )
                        for column, kind in columns.items()
                    },
                }
            ),
        )

    def features() -> list[Any]:
        from feast import FeatureService, FeatureView, Field, types

        from streamflow.features import history_source

        machine = tiny_case.features()[0]
        views = [
            FeatureView(
                name=f"{name}_fv",
                entities=[machine],
                ttl=timedelta(days=45),
                schema=[
                    Field(name=column, dtype=getattr(types, kind.strip("?")))
                    for column, kind in columns.items()
                ],
                source=history_source(name),
            )
            for name, columns in tables.items()
        ]
        return [machine, *views, FeatureService(name="failures_v1", features=views)]

    contracts = [contract(name, columns) for name, columns in tables.items()]
    failures = tiny_case.tables()[2]
    return replace(
        tiny_case.use_case, tables=lambda: (*contracts, failures), features=features, acceptance={}
    )


BEFORE = use_case(machines=MACHINES_COLUMNS, readings={**READINGS, "guard_open": "Bool?"})


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[..., str],
    prepared_database: str,
) -> Iterator[Any]:
    """Settings with January online and version 1 in Production."""
    home = tmp_path_factory.mktemp("changed")
    settings = load_settings(
        home=home, database_url=new_database(prepared_database), use_case="tests.tiny_case"
    )
    tiny_case.generate(Generation(home / "months", users=len(MACHINES), months=2, seed=5))
    with platform(settings) as ready:
        ready = by(ready, BEFORE)
        ingest(ready, home / "months" / "month_000", JANUARY, None, NOW, "test")
        apply(ready)
        materialize(ready, JANUARY, NOW)
        promote_new(ready)
    return settings


@pytest.fixture
def ready(trained: Any, new_database: Callable[..., str]) -> Iterator[Platform]:
    """A copy of the database in which version 1 is in Production."""
    url = new_database(trained.database_url.get_secret_value())
    with platform(
        load_settings(home=trained.home, database_url=url, use_case="tests.tiny_case")
    ) as one:
        yield by(one, BEFORE)


def by(ready: Platform, changed: UseCase) -> Platform:
    return replace(ready, use_case=changed)


def promote_new(ready: Platform) -> int:
    version = train.train(ready, JANUARY, None, 1, NOW).version
    promote.promote(ready, version, "Production", "a test", "somebody", NOW)
    return version


def answers(ready: Platform) -> list[Any]:
    """Every machine's answer, to the last bit, without the names of requests."""
    requests = [ScoringRequest(machine, "request") for machine in MACHINES]
    found = production_predictor(ready).predict_many(requests, NOW)
    return [
        (one.prediction, one.probability.hex(), one.features_used, one.feature_times)
        if isinstance(one, Prediction)
        else (one.code, one.message)
        for one in found
    ]


def test_a_column_that_production_needs_is_dropped(ready: Platform) -> None:
    before = answers(ready)
    without = by(ready, use_case(machines=MACHINES_COLUMNS, readings={"alarms": "Int64"}))
    assert plan(without) == (done := apply(without))
    assert done.registry.kept == {"readings_fv__v0": [1]}
    assert done.versions == [ConcernedVersion(1, "Production", True, ["readings_fv__v0"], [])]
    assert answers(without) == before
    materialize(without, JANUARY, NOW)
    assert answers(without) == before
    assert promote_new(without) == 2
    assert {"kind", "age_weeks", "alarms"} == {*answers(without)[0][2]}
    promote.rollback(without, "a test", "somebody", NOW)
    assert answers(without) == before
