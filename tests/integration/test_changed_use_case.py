"""A use case that changes while a model of before is in Production: that goes on as it did."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests import changing_team, promoting
from tests.changing_case import ITEMS, Column, Shape, month, shaped, use_case, write_month
from tests.changing_team import ITEM_IDS, MONTHS, NOW, STEPS, Team, api_under_load
from tests.conftest import OwnDatabase, url_of
from tests.statements import execute

from streamflow.bootstrap import platform, production_predictor
from streamflow.errors import InvalidSettings, UnservableModel
from streamflow.features import history_source
from streamflow.features.kept.pruning import Pruned
from streamflow.lineage.reproduce import reproduce
from streamflow.pipeline import explain, train
from streamflow.pipeline.apply import apply, plan, prune
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.serving.configured_online_store import configured_online_store
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import Prediction, ScoringRequest
from streamflow.settings import Settings, load_settings

JANUARY, FEBRUARY = MONTHS[:2]

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
SIZE = Column("Float64")
WITHOUT_HEAT = ITEMS.without_column("readings", "heat")
WIDER = ITEMS.with_column("items", "age", Column("Float64"))
WITHOUT_READINGS = Shape({"items": ITEMS.tables["items"]})
# What a team does to its use case, and the features that the next model has of it.
CHANGES = {
    "a column is dropped": (WITHOUT_HEAT, ["age", "kind", "on"]),
    "a column is added": (
        ITEMS.with_column("readings", "size", Column("Float64")),
        ["age", "kind", "heat", "on", "size"],
    ),
    "a type is widened": (WIDER, ["kind", "age", "heat", "on"]),
    "a column is renamed": (
        ITEMS.renamed("readings", "heat", "warmth"),
        ["age", "kind", "warmth", "on"],
    ),
    "a column has another type under a new name": (
        WITHOUT_HEAT.with_column("readings", "heat_2", Column("string")),
        ["age", "kind", "on", "heat_2"],
    ),
    "a table and its view are removed": (WITHOUT_READINGS, ["age", "kind"]),
    "a table and its view are added": (
        Shape({**ITEMS.tables, "visits": {"count": Column("Int64")}}),
        ["age", "kind", "heat", "on", "count"],
    ),
    "a feature is removed and its column stays": (
        ITEMS.with_column("readings", "heat", Column("Float64", feature=False)),
        ["age", "kind", "on"],
    ),
}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[..., str],
    prepared_database: str,
) -> Settings:
    """January is online, and version 1 in Production."""
    home = tmp_path_factory.mktemp("changed")
    settings = load_settings(
        home=home, database_url=new_database(prepared_database), use_case="tests.tiny_case"
    )
    with platform(settings) as opened:
        ready = shaped(opened, ITEMS)
        ingest(ready, write_month(home / "january", month(ITEMS, 0)), JANUARY, None, NOW, "test")
        apply(ready)
        materialize(ready, JANUARY, NOW)
        promote_new(ready)
    return settings


@pytest.fixture
def ready(trained: Settings, own_database: OwnDatabase) -> Iterator[Platform]:
    """A copy of it."""
    with own_database(url_of(trained)) as url:
        copied = load_settings(home=trained.home, database_url=url, use_case="tests.tiny_case")
        with platform(copied) as opened:
            yield shaped(opened, ITEMS)


def promote_new(ready: Platform) -> int:
    version = train.train(ready, JANUARY, None, 1, NOW).version
    promoting.promote(ready, version, "Production", "a test", "somebody", NOW)
    return version


def answers(ready: Platform) -> dict[str, Any]:
    """Every item's answer, to the last bit."""
    requests = [ScoringRequest(item, "request") for item in ITEM_IDS]
    found = production_predictor(ready).predict_many(requests, NOW)
    assert all(isinstance(one, Prediction) for one in found)
    return {
        item: (repr(one.probability), repr(one.features_used), one.feature_times)
        for item, one in zip(ITEM_IDS, found, strict=True)
        if isinstance(one, Prediction)
    }


def features(ready: Platform) -> list[str]:
    one = production_predictor(ready).predict("i000", NOW)
    return list(one.features_used)


@pytest.mark.parametrize("change", CHANGES)
def test_the_model_in_production_goes_on_whatever_changes(
    ready: Platform, tmp_path: Path, change: str
) -> None:
    before = answers(ready)
    shape, _ = CHANGES[change]
    after = shaped(ready, shape)
    done = apply(after)
    assert answers(after) == before
    again = plan(after)
    assert apply(after) == again
    assert {one.change for one in again.registry.feature_views} <= {"unchanged", "kept"}
    assert again.history.changes == []
    assert [one.lacks for one in done.versions] == [[]]
    materialize(after, JANUARY, NOW)
    assert answers(after) == before


def test_the_next_model_reads_the_new_definitions_and_a_rollback_the_old_ones(
    ready: Platform,
) -> None:
    before = answers(ready)
    shape, names = CHANGES["a type is widened"]
    after = shaped(ready, shape)
    apply(after)
    materialize(after, JANUARY, NOW)
    assert promote_new(after) == 2
    assert features(after) == names
    promoting.rollback(after, "a test", "somebody", NOW)
    assert answers(after) == before


def test_what_is_not_recorded_any_more_stays_as_it_was_recorded_last(
    ready: Platform, tmp_path: Path
) -> None:
    before = answers(ready)
    after = shaped(ready, WITHOUT_HEAT)
    apply(after)
    rows = month(WITHOUT_HEAT, 1)
    folder = write_month(tmp_path / "february", rows)
    twice = ingest(after, folder, FEBRUARY, NOW - timedelta(days=1), NOW, "test")
    withdraw(after, twice.ingestion_id, "too early", NOW - timedelta(hours=1), "test")
    ingest(after, folder, FEBRUARY, None, NOW, "test")
    materialize(after, FEBRUARY, NOW)
    then, now = before["i000"], answers(after)["i000"]
    assert now[2]["readings_fv"] == then[2]["readings_fv"]
    assert now[2]["items_fv"].date() == FEBRUARY
    readings = ("'heat': ", "'on': ")
    assert [_value(now[1], name) for name in readings] == [
        _value(then[1], name) for name in readings
    ]
    assert promote_new(after) == 2
    assert answers(after)["i000"][2]["readings_fv"].date() == FEBRUARY


def test_a_model_of_whole_numbers_is_told_no_others(ready: Platform, tmp_path: Path) -> None:
    after = shaped(ready, WIDER)
    rows = month(WIDER, 1)
    for number, row in enumerate(rows["items"]):
        row["age"] = "7.5" if number % 2 else "7"
    ingest(after, write_month(tmp_path / "february", rows), FEBRUARY, None, NOW, "test")
    apply(after)
    materialize(after, FEBRUARY, NOW)
    found = answers(after)
    assert (_value(found["i000"][1], "'age': "), found["i000"][2]["items_fv"].date()) == (
        "7",
        FEBRUARY,
    )
    assert found["i001"][2]["items_fv"].date() == JANUARY
    assert "." not in _value(found["i001"][1], "'age': ")


def _value(shown: str, name: str) -> str:
    return shown.partition(name)[2].partition(",")[0].rstrip("}")


@pytest.mark.slow
def test_what_is_kept_goes_when_no_kept_version_needs_it(ready: Platform) -> None:
    january, after = answers(ready), shaped(ready, WITHOUT_HEAT)
    apply(after)
    materialize(after, JANUARY, NOW)
    assert promote_new(after) == 2
    expected, waited = answers(after), list[float]()
    assert prune(after, waited.append) == []
    assert waited == [2 * ready.settings.registry_poll_seconds]

    # Version 1 is out of reach, but for what version 2 reads of it.
    alone = replace(after, settings=after.settings.model_copy(update={"rollback_versions": 0}))
    assert [(one.feature_view, one.whole) for one in plan(alone).pruned] == [
        ("readings_fv__v0", True)
    ]
    assert prune(alone, waited.append) == [Pruned("readings_fv__v0", "readings_fv", ANY, True)]
    assert plan(alone).pruned == []
    assert answers(after) == expected
    tables = execute(ready.database, "SELECT tablename FROM pg_tables WHERE schemaname = 'online'")
    assert {row["tablename"] for row in tables} == {
        "changing.items_fv",
        "changing.readings_fv@v1",
    }
    with pytest.raises(UnservableModel, match="Version 1 can't be served: readings_fv:heat as"):
        promoting.rollback(after, "a test", "somebody", NOW)
    with pytest.raises(UnservableModel, match="readings_fv:heat as FLOAT64 isn't online any more"):
        promoting.promote(after, 1, "Staging", "a test", "somebody", NOW)
    assert answers(after) == expected

    # The use case has it again: what the message tells to type brings the version back.
    apply(ready)
    materialize(ready, JANUARY, NOW)
    promoting.rollback(ready, "a test", "somebody", NOW)
    assert answers(ready) == january


def test_columns_of_what_is_kept_go_when_no_kept_version_reads_them(ready: Platform) -> None:
    both = Shape({**ITEMS.tables, "readings": {**ITEMS.tables["readings"], "size": SIZE}})
    apply(shaped(ready, both))
    before = answers(ready)
    apply(shaped(ready, WITHOUT_HEAT))
    gone = [Pruned("readings_fv__v0", "readings_fv", ["size"], False)]
    assert plan(shaped(ready, WITHOUT_HEAT)).pruned == gone
    assert prune(shaped(ready, WITHOUT_HEAT), float) == gone
    assert answers(ready) == before
    materialize(shaped(ready, WITHOUT_HEAT), JANUARY, NOW)
    assert answers(ready) == before


@pytest.mark.slow
def test_a_version_whose_features_are_not_materialized_does_not_take_over(
    ready: Platform,
) -> None:
    after = shaped(ready, CHANGES["a table and its view are added"][0])
    with api_under_load(ready, ITEM_IDS, NOW) as load:
        apply(after)
        assert promote_new(after) == 2
        while "2" not in str(load.client.get("/ready").json()):
            pass
        status, answer = load.ask("i000")
        assert (status, answer["model"]["version"]) == (200, 1)
        materialize(after, JANUARY, NOW)
        # No file has been loaded of the new table: nobody has a row there, which is known now.
        while load.ask("i000")[1]["model"]["version"] != 2:
            pass
    assert {status for _, status, _ in load.taken()} == {200}


def test_what_a_month_has_not_recorded_is_told_from_a_null(ready: Platform, tmp_path: Path) -> None:
    def statuses(item: str) -> dict[str, str]:
        _, readings = production_predictor(after).features(item, NOW)
        return {reading.name: reading.status for reading in readings}

    shape, later = CHANGES["a column is added"][0], NOW + timedelta(hours=1)
    after = shaped(ready, shape)
    apply(after)
    february, january = month(shape, 1), month(shape, 0)
    for rows in (february, january):
        rows["readings"] = rows["readings"][:5]
    february["readings"][0]["size"] = ""
    ingest(after, write_month(tmp_path / "february", february), FEBRUARY, None, NOW, "test")
    materialize(after, FEBRUARY, NOW)
    assert promote_new(after) == 2
    others = {"age": "present", "kind": "present", "heat": "present", "on": "present"}
    assert statuses("i000") == {**others, "size": "null"}
    assert statuses("i001") == {**others, "size": "present"}
    assert statuses("i009") == {**others, "size": "not_recorded"}
    # A month of which one file has the column, and another hadn't: a null may be a value.
    ingest(after, write_month(tmp_path / "january", january), JANUARY, None, later, "test")
    materialize(after, FEBRUARY, later)
    assert statuses("i009")["size"] == "null"


@pytest.mark.slow
def test_a_view_that_was_removed_and_comes_again_is_not_materialized_yet(
    ready: Platform, tmp_path: Path
) -> None:
    settings = ready.settings.model_copy(update={"rollback_versions": 0})
    ready = replace(ready, settings=settings)
    february = write_month(tmp_path / "february", month(ITEMS, 1))
    ingest(ready, february, FEBRUARY, None, NOW, "test")
    materialize(ready, FEBRUARY, NOW)
    without = shaped(ready, WITHOUT_READINGS)
    apply(without)
    assert promote_new(without) == 2
    assert [one.feature_view for one in prune(without, float)] == ["readings_fv"]

    apply(ready)
    assert promote_new(ready) == 3
    served = production_predictor(ready).served
    assert served is not None
    online = configured_online_store(ready.settings, ready.database, ready.use_case)
    with pytest.raises(UnservableModel, match="features of readings_fv online yet"):
        online.require_values(served.plan)
    newest = {one.feature_view: one.newest for one in materialize(ready, JANUARY, NOW)}
    assert newest == {"items_fv": FEBRUARY, "readings_fv": JANUARY}
    online.require_values(served.plan)
    assert answers(ready)["i000"][2]["readings_fv"].date() == JANUARY


def test_a_prediction_of_an_old_model_is_explained_by_the_rows_that_it_was_given(
    ready: Platform, tmp_path: Path
) -> None:
    after, moment = shaped(ready, WITHOUT_HEAT), NOW + timedelta(minutes=1)
    apply(after)
    february = write_month(tmp_path / "february", month(WITHOUT_HEAT, 1))
    ingest(after, february, FEBRUARY, None, NOW, "test")
    materialize(after, FEBRUARY, NOW)
    update = "UPDATE streamflow.materializations SET finished_at = known_at"
    execute(ready.database, update)
    predictor = production_predictor(after)
    asked = [ScoringRequest("i000", "a request")]
    with Database(ready.database.url) as own:
        writer = PredictionWriter(own, 90, lambda: moment)
        found = predictor.predict_many(asked, moment)
        writer.write([Encoder().rows(predictor.production(), asked, found, moment)])
    named = replace(after.use_case, registered_model=after.registry.model)
    after = replace(after, use_case=named)
    (one,) = explain.explain(after, explain.find(after, ["a request"], None))
    assert (one.verdict, one.from_history.why) == ("same", ())
    months = {view: row and row.event_timestamp.date() for view, row in one.behind.items()}
    assert months == {"items_fv": FEBRUARY, "readings_fv": JANUARY}


def test_a_view_that_production_reads_comes_from_no_other_table(ready: Platform) -> None:
    """The names would be the same, and the values others."""
    moved = shaped(ready, Shape({**ITEMS.tables, "others": ITEMS.tables["readings"]}))

    def features_of_another_table() -> list[Any]:
        objects = use_case(Shape(ITEMS.tables)).features()
        (view,) = (one for one in objects if one.name == "readings_fv")
        view.batch_source = history_source("others")
        return objects

    changed = replace(moved, use_case=replace(moved.use_case, features=features_of_another_table))
    with pytest.raises(InvalidSettings, match=r"'readings_fv' is made from table 'others'.*1"):
        apply(changed)
    assert plan(ready).history.new_tables == []


def test_another_online_store_has_one_definition_of_a_view(ready: Platform) -> None:
    sqlite = {"type": "sqlite", "path": str(ready.settings.home / "online.db")}
    other = replace(ready, settings=ready.settings.model_copy(update={"online_store": sqlite}))
    assert plan(shaped(other, CHANGES["a column is added"][0])).versions[0].reads == []
    with pytest.raises(InvalidSettings, match="Version 1 reads feature view 'readings_fv' as it"):
        plan(shaped(other, WITHOUT_HEAT))


def test_what_is_not_applied_is_not_materialized(ready: Platform) -> None:
    with pytest.raises(InvalidSettings, match="it still has readings_fv:heat") as refused:
        materialize(shaped(ready, WITHOUT_HEAT), JANUARY, NOW)
    assert refused.value.next == "Run `streamflow apply`."


def play(ready: Platform, folder: Path, *steps: Any) -> Platform:
    """The steps of a team on the platform, with the API under load; the platform as they leave it,
    applied."""
    with api_under_load(ready, ITEM_IDS, NOW) as load:
        team = Team(ready, folder, load)
        for step in steps:
            team.take(step)
        team.take("apply")
        return team.platform()


@settings(
    max_examples=200 if LONG else 1,
    phases=[Phase.generate] if LONG else [Phase.explicit],
    suppress_health_check=list(HealthCheck),
)
@example(
    [
        *(("add", "readings", "size", "Float64"), ("drop", "readings", "heat", ""), "month"),
        *("train", ("widen", "items", "age", ""), "apply", "rollback", "prune"),
    ]
)
@example(
    [
        *("rollback", "prune", ("add", "items", "count", "Int64"), ("widen", "items", "age", "")),
        *(("add", "readings", "size", "Float64"), "materialize"),
        *(("drop", "readings", "size", ""), "rollback", ("show", "readings", "heat", "")),
        *(("drop", "items", "count", ""), "rollback", "train"),
    ]
)
@given(st.lists(st.sampled_from([*changing_team.CHANGES, *STEPS, *STEPS]), min_size=6, max_size=12))
@pytest.mark.slow
def test_the_api_answers_in_whatever_order_the_use_case_changes(
    trained: Settings,
    own_database: OwnDatabase,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[Any],
) -> None:
    with (
        own_database(url_of(trained)) as url,
        platform(
            load_settings(home=trained.home, database_url=url, use_case="tests.tiny_case")
        ) as opened,
    ):
        after = play(shaped(opened, ITEMS), tmp_path_factory.mktemp("year"), *steps)
        if LONG:
            for run in opened.registry.runs():
                done = reproduce(after, run, NOW)
                assert (done.verdict, done.why, steps) == ("identical", done.why, steps)
