"""Predictions made again from history: which features were online at a moment."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import promoting, tiny_case
from tests.statements import execute

from streamflow.bootstrap import platform, production_predictor
from streamflow.errors import UnknownPrediction
from streamflow.features import feature_store
from streamflow.monitoring.rules.skew import SkewCounts
from streamflow.pipeline import explain as explanation
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.explain import Explanation
from streamflow.pipeline.ingest import ingest as ingest_month
from streamflow.pipeline.materialize import materialize as materialize_features
from streamflow.pipeline.month.online_skew import online_skew
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import ScoringRequest
from streamflow.settings import load_settings
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
START = datetime(2024, 3, 1, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MACHINE = "m-0007"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    tiny_case.generate(Generation(folder / "months", users=240, months=2, seed=5))
    return folder


@pytest.fixture(scope="module")
def trained(home: Path, new_database: Callable[..., str], prepared_database: str) -> str:
    """A database with January in history and a model in Production; nothing is online."""
    url = new_database(prepared_database)
    with platform(settings_of(home, url)) as ready:
        ingest_month(ready, home / "months" / "month_000", JANUARY, None, START, "test")
        apply(ready)
        version = train.train(ready, JANUARY, None, 1, START).version
        promoting.promote(ready, version, "Production", "the first", "somebody", START)
    return url


def settings_of(home: Path, url: str) -> Any:
    return load_settings(home=home, database_url=url, use_case="tests.tiny_case")


class World:
    """Times in minutes after START; a materialization takes one of them."""

    def __init__(self, ready: Platform, home: Path, scratch: Path) -> None:
        self.ready = ready
        self.months = shutil.copytree(home / "months", scratch / "months")
        self.asked = 0

    def ingest(self, minute: int, as_of: date = JANUARY, recorded_at: int | None = None) -> None:
        month = self.months / {JANUARY: "month_000", FEBRUARY: "month_001"}[as_of]
        recorded = None if recorded_at is None else at(recorded_at)
        ingest_month(self.ready, month, as_of, recorded, at(minute), "test")

    def correct(self, minute: int, recorded_at: int | None = None, **values: object) -> None:
        """January comes again with other readings of the machine."""
        self.edit("readings", lambda row: {**row, **values})
        self.ingest(minute, JANUARY, recorded_at)

    def edit(self, table: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Change the machine's row of January; without it if the change gives None."""
        file = self.months / "month_000" / f"{table}.csv"
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        changed = [change(row) if row["machine_id"] == MACHINE else row for row in rows]
        with file.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, list(rows[0]))
            writer.writeheader()
            writer.writerows(row for row in changed if row is not None)

    def materialize(self, minute: int, as_of: date = JANUARY) -> None:
        materialize_features(self.ready, as_of, at(minute))
        execute(
            self.ready.database,
            "UPDATE streamflow.materializations SET finished_at = known_at + interval '1 minute' "
            "WHERE finished_at > now() - interval '1 hour'",
        )

    def predict(self, minute: float, entity_id: str = MACHINE) -> str:
        """As the API would: the id of the request, whose receipt is in the log."""
        self.asked += 1
        ready, moment = self.ready, at(minute)
        predictor = production_predictor(ready)
        requests = [ScoringRequest(entity_id, f"request {self.asked}")]
        answers = predictor.predict_many(requests, moment)
        with Database(ready.database.url) as own:
            writer = PredictionWriter(own, 90, lambda: moment)
            served = predictor.production()
            writer.write([Encoder().rows(served, requests, answers, moment)])
        return requests[0].request_id

    def explain(self, request_id: str) -> Explanation:
        (one,) = explanation.explain(self.ready, explanation.find(self.ready, [request_id], None))
        return one


def at(minute: float) -> datetime:
    return START + minute * MINUTE


@pytest.fixture
def world(
    home: Path, trained: str, new_database: Callable[..., str], tmp_path: Path
) -> Iterator[World]:
    with ExitStack() as stack:
        ready = stack.enter_context(platform(settings_of(home, new_database(trained))))
        yield World(ready, home, tmp_path)


def let_through_by_override(ready: Platform, moment: datetime) -> None:
    """The version in Production was promoted again, in spite of a gate."""
    gate = {"gate": "latency", "outcome": "failed", "message": "It is slow.", "override": "hurry"}
    version = ready.registry.version(1)
    change = model_history.about(
        *(version, "promoted", "ada", "hurry", moment), details={"gates": [gate]}
    )
    model_history.record(ready.database, change)


def assert_same(one: Explanation) -> None:
    assert (one.from_history.verdict, one.from_history.why) == ("same", ())
    assert one.verdict == "same"


def test_what_was_materialized_later_has_no_part_in_it(world: World) -> None:
    world.materialize(10)
    request = world.predict(20)
    world.correct(30, temperature_c=99.5, alarms=4)
    world.materialize(40)
    let_through_by_override(world.ready, at(45))
    later = world.predict(50)

    before, after = world.explain(request), world.explain(later)
    for one in (before, after):
        assert_same(one)
    assert before.from_history.probability != after.from_history.probability
    behind = [one.behind["readings_fv"] for one in (before, after)]
    assert [row and row.ingestion_id for row in behind] == [1, 2]
    assert [row and row.recorded_at for row in behind] == [START, at(30)]
    # What was overridden is told of the predictions since then.
    promotions = [one.promotion for one in (before, after)]
    told = [[each.gate for each in one.overrides] if one else None for one in promotions]
    assert told == [[], ["latency"]]


def test_a_correction_that_isnt_materialized_has_no_part_in_it(world: World) -> None:
    world.materialize(10)
    world.correct(15, temperature_c=99.5)
    assert_same(world.explain(world.predict(20)))


def test_a_backfill_that_came_after_the_materialization_has_no_part_in_it(world: World) -> None:
    """Though it says that it was known before."""
    world.materialize(10)
    world.correct(15, recorded_at=5, temperature_c=99.5)
    assert_same(world.explain(world.predict(20)))
    world.materialize(30)
    assert_same(world.explain(world.predict(40)))


def test_materializing_an_older_month_again_doesnt_count_as_the_newest(world: World) -> None:
    world.ingest(5, FEBRUARY)
    world.materialize(10, FEBRUARY)
    world.correct(12, temperature_c=99.5)
    world.materialize(15, JANUARY)
    one = world.explain(world.predict(20))
    assert_same(one)
    assert one.receipt.times is not None
    assert {moment.date() for moment in one.receipt.times.values()} == {FEBRUARY}


def test_a_machine_that_only_the_older_month_has_is_explained_by_that(world: World) -> None:
    for name in ("machines", "readings", "failures"):
        file = world.months / "month_001" / f"{name}.csv"
        kept = [line for line in file.read_text().splitlines(True) if MACHINE not in line]
        file.write_text("".join(kept))
    world.ingest(5, FEBRUARY)
    world.materialize(10, JANUARY)
    world.materialize(15, FEBRUARY)
    one = world.explain(world.predict(20))
    assert_same(one)
    assert one.receipt.times is not None
    assert {moment.date() for moment in one.receipt.times.values()} == {JANUARY}


@pytest.mark.parametrize("seconds", [1, 59, 65])
def test_while_features_are_materialized_those_of_before_are_as_good(
    world: World, seconds: int
) -> None:
    world.materialize(10)
    world.correct(15, temperature_c=99.5)
    request = world.predict(20 + seconds / 60)
    world.materialize(20)  # which takes a minute
    assert_same(world.explain(request))


@pytest.mark.parametrize("seconds", [1, 59, 65])
def test_while_features_are_materialized_those_of_after_are_as_good(
    world: World, seconds: int
) -> None:
    world.materialize(10)
    world.correct(15, temperature_c=99.5)
    world.materialize(20)
    assert_same(world.explain(world.predict(20 + seconds / 60)))


def test_a_store_that_still_had_the_old_features_long_after_is_found_out(world: World) -> None:
    world.materialize(10)
    old = dict(world.explain(world.predict(12)).receipt.values or {})
    world.correct(15, temperature_c=99.5)
    request = world.predict(30)
    world.materialize(20)
    one = world.explain(request)
    assert (one.verdict, one.from_log.verdict) == ("different", "same")
    assert one.from_history.why[0] == (
        f"temperature_c is 99.5 in history, {old['temperature_c']!r} in the log."
    )


@pytest.mark.parametrize("problem", ["unknown_entity", "missing_features", "unseen_category"])
def test_a_problem_comes_out_again_and_is_told_apart_from_a_prediction(
    world: World, problem: str
) -> None:
    machine = "nobody" if problem == "unknown_entity" else MACHINE
    if problem == "unseen_category":
        # The contract wouldn't let it in.
        execute(
            world.ready.database,
            "UPDATE failures.machines_history SET kind = 'robot' WHERE machine_id = %s",
            [MACHINE],
        )
    if problem == "missing_features":
        for table in ("readings", "failures"):
            execute(
                world.ready.database,
                f"DELETE FROM failures.{table}_history WHERE machine_id = %s",  # type: ignore[arg-type]
                [MACHINE],
            )
    world.materialize(10)
    one = world.explain(world.predict(20, machine))
    assert (one.receipt.problem, one.from_history.problem) == (problem, problem)
    assert (one.from_log.verdict, one.from_history.verdict) == ("unknown", "same")
    assert one.verdict == "same"


def test_a_problem_that_history_cant_explain_is_different(world: World) -> None:
    world.materialize(10)
    execute(
        world.ready.database,
        'DELETE FROM online."failures.readings_fv" WHERE machine_id = %s',
        [MACHINE],
    )
    one = world.explain(world.predict(20))
    assert one.receipt.problem == "missing_features"
    assert one.verdict == "different"
    assert one.from_history.prediction in (0, 1)


def test_features_too_old_are_so_again(world: World) -> None:
    world.ingest(5, FEBRUARY)
    world.materialize(10, JANUARY)
    # Another machine is of April: January is too old beside it.
    execute(
        world.ready.database,
        "INSERT INTO streamflow.materializations SELECT use_case, feature_view, '2024-04-30', "
        "'2024-04-30T23:59:59.999999Z', known_at + interval '1 minute', 0, 0, "
        "known_at + interval '2 minutes' FROM streamflow.materializations",
    )
    one = world.explain(world.predict(20))
    assert one.receipt.problem == "stale_features"
    assert_same(one)


def test_a_view_or_a_version_that_is_gone_makes_it_impossible_to_tell(world: World) -> None:
    world.materialize(10)
    request = world.predict(20)
    store = feature_store.open_store(world.ready.database.url, world.ready.use_case)
    store.delete_feature_view("readings_fv")
    one = world.explain(request)
    assert (one.from_log.verdict, one.from_history.verdict, one.verdict) == (
        *("same", "unknown", "unknown"),
    )
    assert "readings_fv" in one.from_history.why[0]
    apply(world.ready)
    assert_same(world.explain(request))

    execute(world.ready.database, "UPDATE mlflow.model_versions SET version = 99 WHERE version = 1")
    assert_same(world.explain(request))  # its files are still here, and are found by their hash
    shutil.rmtree(world.ready.settings.model_cache)
    one = world.explain(request)
    assert (one.from_log.verdict, one.from_history.verdict) == ("unknown", "unknown")
    assert "has no version 1 any more" in one.from_log.why[0]


def test_another_online_store_is_explained_from_the_same_history(
    world: World, tmp_path: Path
) -> None:
    other = {"type": "sqlite", "path": str(tmp_path / "online.db")}
    world.ready = replace(
        world.ready, settings=world.ready.settings.model_copy(update={"online_store": other})
    )
    apply(world.ready)
    world.materialize(10)
    request = world.predict(20)
    world.correct(30, temperature_c=99.5)
    world.materialize(40)
    one = world.explain(request)
    assert (one.from_log.verdict, one.from_history.verdict) == ("same", "same"), one


def test_the_promotion_is_the_one_before_the_prediction(world: World) -> None:
    world.materialize(10)
    first = world.predict(20)
    promoting.promote(world.ready, 1, "Archived", "away", "nobody", at(30))
    promoting.promote(world.ready, 1, "Production", "again", "another", at(40))
    second = world.predict(50)
    told = [world.explain(request).promotion for request in (first, second)]
    assert [one and one.why for one in told] == ["the first", "again"]


def test_nothing_is_known_of_a_request_that_isnt_in_the_log(world: World) -> None:
    with pytest.raises(UnknownPrediction, match="it's empty"):
        explanation.find(world.ready, ["never"], None)
    world.materialize(10)
    request = world.predict(20)
    with pytest.raises(UnknownPrediction, match="it begins on 2024-03-01"):
        explanation.find(world.ready, ["never"], None)
    with pytest.raises(UnknownPrediction, match=f"but about {MACHINE}"):
        explanation.find(world.ready, [request], "m-0001")
    off = world.ready.settings.model_copy(update={"prediction_log": False})
    with pytest.raises(UnknownPrediction, match="STREAMFLOW_PREDICTION_LOG is off"):
        explanation.find(replace(world.ready, settings=off), ["never"], None)


def test_each_logged_prediction_is_compared_with_history_feature_by_feature(world: World) -> None:
    world.materialize(10)
    for minute in (20, 21, 22):
        world.predict(minute, f"m-00{minute}")
    world.predict(23, "nobody")
    counts = online_skew(world.ready, None, at(30))
    names = ("age_weeks", "alarms", "guard_open", "kind", "temperature_c")
    assert counts == SkewCounts(4, 1, dict.fromkeys(names, 0))

    execute(
        world.ready.database,
        "UPDATE streamflow.predictions "
        "SET features = jsonb_set(features::jsonb, '{2}', '1.5')::json "
        "WHERE entity_id = 'm-0021'",
    )
    assert online_skew(world.ready, None, at(30)).differing == {**counts.differing, names[-1]: 1}
    later = online_skew(world.ready, at(21), at(22))  # the first one isn't looked at again
    assert (later.predictions, later.differing[names[-1]]) == (1, 0)
    assert online_skew(world.ready, at(23), at(30)) == SkewCounts(0, 0, {})
