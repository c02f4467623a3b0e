"""Features from events along the whole road: training, what is online, late events, changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import event_case
from tests.conftest import OwnDatabase
from tests.event_case import AGGREGATIONS, Event, with_aggregations
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.columnar.session import Session
from streamflow.errors import ContractViolation, InvalidSettings
from streamflow.features import month_rows, point_in_time
from streamflow.features.feature_join import join_of_today
from streamflow.features.feature_store import known_store
from streamflow.lineage import reproduce
from streamflow.monitoring.reading import month_rows as monitored
from streamflow.operations.forgetting import forget
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply, plan
from streamflow.pipeline.evaluate import evaluate
from streamflow.pipeline.ingest import ingest, ingest_months, months_by_column
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.scores.everyone import score
from streamflow.settings import load_settings
from streamflow.training import canonical
from streamflow.training.split import Choice
from streamflow.use_case import Count

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("without_plots"),
]

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
TRAINED = datetime(2024, 3, 5, tzinfo=UTC)
LATER = datetime(2024, 4, 5, tzinfo=UTC)
NOW = datetime(2024, 5, 1, tzinfo=UTC)
MACHINES = 60
# The first is in the windows of both months, the second in none but February's.
LATE: list[Event] = [
    ("m-007", datetime(2024, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC), 400.0, "fire"),
    ("m-008", datetime(2024, 2, 1, tzinfo=UTC), 0.1, "fire"),
]


@dataclass(frozen=True)
class Before:
    """January and February, and a run on both."""

    url: str
    home: Path
    run: training_run.Trained


@pytest.fixture(scope="module")
def before(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Before:
    home, url = tmp_path_factory.mktemp("before"), new_database(prepared_database)
    with opened(url, home) as ready:
        for as_of in (JANUARY, FEBRUARY):
            events = event_case.stops(as_of, MACHINES)
            folder = event_case.write(home / f"{as_of}", as_of, events)
            ingest(ready, folder, as_of, TRAINED, NOW, "ann")
        apply(ready)
        run = training_run.train(
            ready, FEBRUARY, None, 7, NOW, known_at=TRAINED, choice=Choice(months=2)
        )
    return Before(url, home, run)


@contextmanager
def opened(url: str, home: Path, engine: str | None = None) -> Iterator[Platform]:
    """By this engine, or that of the environment."""
    more = {} if engine is None else {"engine": engine}
    settings = load_settings(home=home, database_url=url, use_case="tests.event_case", **more)
    with platform(settings) as ready:
        yield ready


@pytest.fixture
def ready(before: Before, own_database: OwnDatabase) -> Iterator[Platform]:
    """The platform over a copy of the database."""
    with own_database(before.url) as url, opened(url, before.home) as copied:
        yield copied


@pytest.fixture
def march(tmp_path: Path) -> Callable[[Platform], int]:
    """Loads March with the late events; returns the number of the ingestion."""
    folder = event_case.write(
        tmp_path / "march", MARCH, [*event_case.stops(MARCH, MACHINES), *LATE], MACHINES
    )
    return lambda ready: ingest(ready, folder, MARCH, LATER, NOW, "ann").ingestion_id


March = Callable[[Platform], int]


@pytest.mark.parametrize("events_have_it", [True, False])
def test_events_in_one_long_file_are_the_same_history_as_month_by_month(
    before: Before,
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
    events_have_it: bool,
) -> None:
    folders = {f"{as_of}": before.home / f"{as_of}" for as_of in (JANUARY, FEBRUARY)}
    (tmp_path / "long").mkdir()
    (tmp_path / "staged").mkdir()
    for table in ("machines", "stops", "failures"):
        lines = [
            ("month," if with_month and number == 0 else f"{month}," if with_month else "") + line
            for with_month in [table != "stops" or events_have_it]
            for month, folder in folders.items()
            for number, line in enumerate((folder / f"{table}.csv").read_text().splitlines())
            if number or month == f"{JANUARY}"
        ]
        (tmp_path / "long" / f"{table}.csv").write_text("\n".join([*lines, ""]))
    with opened(new_database(prepared_database), tmp_path / "home") as one_file:
        found = months_by_column(one_file, tmp_path / "long", "month", NOW, tmp_path / "staged")
        assert [one.as_of for one in found] == [JANUARY, FEBRUARY]
        done = list(ingest_months(one_file, found, TRAINED, NOW, "ann"))
        assert all(one.tables["stops"].added == MACHINES for one in done)
        here = recorded(one_file)
        late = tmp_path / "long" / "stops.csv"
        month = f"{FEBRUARY}," * events_have_it
        late.write_text(f"{late.read_text()}{month}m-007,2024-03-01T00:00:00Z,1,jam\n")
        (tmp_path / "again").mkdir()
        found = months_by_column(one_file, tmp_path / "long", "month", NOW, tmp_path / "again")
        with pytest.raises(ContractViolation, match=r"stops\.csv, line \d+.*later than the as_of"):
            list(ingest_months(one_file, found, TRAINED, NOW, "ann"))
    with opened(before.url, before.home) as by_month:
        assert here == recorded(by_month)


def recorded(ready: Platform) -> list[list[Any]]:
    """The features of all months in history, and the events."""
    features = ", ".join(["as_of", "machine_id", *AGGREGATIONS])
    queries = (
        f"SELECT {features} FROM stopping.stops_history ORDER BY 1, 2",
        "SELECT machine_id, stopped_at, minutes, reason FROM stopping.stops_events ORDER BY 1, 2",
    )
    return [execute(ready.database, one).fetchall() for one in queries]


def changed(ready: Platform, aggregations: Mapping[str, Any]) -> Platform:
    return replace(ready, use_case=with_aggregations(aggregations))


def known(ready: Platform, months: list[date], known_at: datetime) -> str:
    assembled = point_in_time.assemble(ready.history, ready.use_case, months, known_at)
    return canonical.hashes(assembled.table)[0]


def everyone(ready: Platform, as_of: date, known_at: datetime) -> dict[str, dict[str, Any]]:
    """By machine its features offline."""
    join = join_of_today(ready.history, ready.use_case, known_at)
    batches = month_rows.month_rows(ready.history, ready.use_case, as_of, known_at, join)
    rows = [row for batch in batches for row in batch.to_pylist()]
    features = ["age_weeks", *AGGREGATIONS]
    return {row["machine_id"]: {name: row[name] for name in features} for row in rows}


def online(ready: Platform) -> dict[str, dict[str, Any]]:
    store = known_store(ready.database, ready.use_case, NOW)
    names = [f"m-{number:03}" for number in range(MACHINES)]
    found = store.get_online_features(
        store.get_feature_service("stopping_v1"), [{"machine_id": one} for one in names]
    ).to_dict()
    features = ["age_weeks", *AGGREGATIONS]
    return {
        machine: {name: found[name][number] for name in features}
        for number, machine in enumerate(found["machine_id"])
    }


def test_late_events_change_what_is_known_now_and_no_run_of_before(
    before: Before, ready: Platform, march: March
) -> None:
    months = [JANUARY, FEBRUARY]
    then = known(ready, months, TRAINED)
    assert then == before.run.data_hash
    march(ready)
    assert known(ready, months, TRAINED) == then
    now = known(ready, months, NOW)
    assert now != then
    with opened(ready.database.url, ready.settings.home, "duckdb") as other:
        assert [known(other, months, one) for one in (TRAINED, NOW)] == [then, now]
        done = reproduce.reproduce(other, other.registry.run(before.run.run_id), NOW)
        assert done.verdict == "identical", done
        # After a change by plain SQL the copy is made anew, and each row is there once.
        execute(
            ready.database,
            "UPDATE stopping.stops_history SET minutes_90d = 7 "
            "WHERE machine_id = 'm-008' AND recorded_at > %s",
            [TRAINED],
        )
        rewritten = [known(one, months, NOW) for one in (ready, other)]
        assert rewritten[0] == rewritten[1] != now
    done = reproduce.reproduce(ready, ready.registry.run(before.run.run_id), NOW)
    assert done.verdict == "identical", done

    # A new run says by which files: those of March have corrected the months before.
    ingestions = point_in_time.assemble(ready.database, ready.use_case, months, NOW).ingestions
    assert [one.as_of for one in ingestions] == [JANUARY, FEBRUARY, MARCH]
    assert [file.table for file in ingestions[-1].files] == ["stops"]
    corrected = everyone(ready, FEBRUARY, NOW)
    assert corrected["m-007"]["minutes_90d"] >= 400
    assert (
        corrected["m-008"]["stops_30d"]
        == everyone(ready, FEBRUARY, TRAINED)["m-008"]["stops_30d"] + 1
    )


def test_what_is_online_is_what_training_and_scoring_read(
    before: Before, ready: Platform, march: March
) -> None:
    materialize(ready, FEBRUARY, NOW)
    assert online(ready) == everyone(ready, FEBRUARY, NOW)
    march(ready)
    materialize(ready, MARCH, NOW)
    offline = everyone(ready, MARCH, NOW)
    assert online(ready) == offline
    assert offline == everyone(replace(ready), MARCH, LATER)
    judged = evaluate(ready, before.run.version, MARCH, "ann", NOW)
    assert judged.evaluation.rows == MACHINES
    # January's scores are of what March's events have told of it too.
    scored = score(ready, JANUARY, "ann", NOW, version=before.run.version)
    assert scored.scoring.known_at == LATER
    assert scored.scoring.entities == MACHINES


def test_monitoring_reads_one_row_of_each_machine_that_late_events_have_corrected(
    ready: Platform, march: March
) -> None:
    march(ready)
    history = monitored.history(ready.database, ready.use_case, NOW)
    for as_of in (JANUARY, FEBRUARY, MARCH):
        rows = history.rows("stops_history", ["minutes_90d"], [as_of]).as_string(None)
        query = f"SELECT machine_id, minutes_90d FROM {rows} AS rows"
        if isinstance(ready.database, Session):  # in DuckDB's SQL then
            batches = ready.database.batches(query)
            found = [row for batch in batches for row in batch.to_pylist()]
        else:
            found = execute(ready.database, query).fetchall()
        wanted = {name: row["minutes_90d"] for name, row in everyone(ready, as_of, NOW).items()}
        assert len(found) == MACHINES
        assert {row["machine_id"]: row["minutes_90d"] for row in found} == wanted


def test_an_aggregation_comes_and_goes_and_runs_of_before_stay(
    before: Before, ready: Platform, march: March
) -> None:
    more = changed(ready, {**AGGREGATIONS, "stops_7d": Count(days=7)})
    planned = plan(more).history
    assert [str(one) for one in planned.changes] == [
        "column 'stops_7d' is new: rows of before haven't recorded it"
    ]
    assert planned.aggregated_later == ["stops.stops_7d"]
    apply(more)
    march(more)
    choice = Choice(months=3, sample=40)
    run = training_run.train(more, MARCH, None, 7, NOW, choice=choice)
    assembled = point_in_time.assemble(more.database, more.use_case, [JANUARY, FEBRUARY], NOW)
    assert assembled.unrecorded == []

    fewer = changed(ready, {"stops_30d": AGGREGATIONS["stops_30d"]})
    assert "stops.minutes_90d" in plan(fewer).history.not_recorded
    apply(fewer)
    for one in (before.run, run):
        done = reproduce.reproduce(fewer, fewer.registry.run(one.run_id), NOW)
        assert done.verdict == "identical", done

    other = changed(ready, {"stops_30d": Count(days=31)})
    with pytest.raises(InvalidSettings, match="was Count"):
        plan(other)


def test_withdrawn_events_are_out_of_the_months_before_too_and_nobody_forgotten_comes_back(
    before: Before, ready: Platform, march: March
) -> None:
    then = everyone(ready, FEBRUARY, TRAINED)
    number = march(ready)
    assert everyone(ready, FEBRUARY, NOW) != then
    withdraw(ready, number, "wrong", NOW - timedelta(days=1), "ann")
    assert everyone(ready, FEBRUARY, NOW) == then
    forget.forget(ready, ["m-003"], "asked for it", "ann", NOW, later=True)
    february = before.home / f"{FEBRUARY}"
    ingest(ready, february, FEBRUARY, NOW, NOW, "ann")
    without = {name: row for name, row in then.items() if name != "m-003"}
    assert everyone(ready, FEBRUARY, NOW) == without
    left = execute(ready.database, "SELECT FROM stopping.stops_events WHERE machine_id = 'm-003'")
    assert left.fetchall() == []
