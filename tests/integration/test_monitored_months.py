"""A month monitored from its tables: PostgreSQL counts, faults are named, figures are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import OwnDatabase
from tests.faulty_months import (
    FAULTS,
    Change,
    Tables,
    in_table,
    platform_of_a_copy,
    unchanged,
    usage_of,
    write_changed,
)
from tests.month_counts import bin_edges, churn_columns, counts
from tests.promoting import promote
from tests.scored_months import score_month

from churn import population
from streamflow.bootstrap import platform
from streamflow.errors import AsOfRefused, KnownAtRefused, NoProductionModel
from streamflow.monitoring.counts import CategoryCounts, NumberCounts
from streamflow.monitoring.reading import month_rows
from streamflow.monitoring.reading.feature_counts import (
    as_document,
    feature_counts,
    from_document,
)
from streamflow.monitoring.reading.learned import learned
from streamflow.monitoring.reading.reference import reference
from streamflow.monitoring.recorded import Monitored, newest
from streamflow.pipeline.apply import apply
from streamflow.pipeline.evaluate import evaluate
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.month.monitor import monitor
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Generation

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
MONTHS = (JANUARY, FEBRUARY, MARCH)
KNOWN = {month: datetime(2024, number + 2, 3, 6, tzinfo=UTC) for number, month in enumerate(MONTHS)}
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
USERS, SEED = 1_500, 11


@pytest.fixture(scope="module")
def world(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Three months of subscribers; a version that learned from January is in Production, and has
    scored January and February. March isn't loaded yet."""
    home = tmp_path_factory.mktemp("a home")
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="churn")
    with platform(settings) as ready:
        generate = ready.use_case.generate
        assert generate is not None
        generate(Generation(home / "months", users=USERS, months=3, seed=SEED))
        for number, month in enumerate(MONTHS[:2]):
            folder = home / "months" / f"month_{number:03}"
            ingest(ready, folder, month, KNOWN[month], KNOWN[month], "test")
        apply(ready)
        train(ready, JANUARY, "logistic_regression", 1, KNOWN[JANUARY])
        promote(ready, 1, "Production", "a test", "test", KNOWN[JANUARY])
        score_month(ready, 1, FEBRUARY, KNOWN[FEBRUARY])
        yield ready


@pytest.fixture
def copied(world: Platform, own_database: OwnDatabase) -> Iterator[Platform]:
    """The platform of a copy of that world."""
    with platform_of_a_copy(world, own_database) as ready:
        yield ready


def load_march(ready: Platform, tmp_path: Path, change: Change = unchanged) -> None:
    """March's files, changed."""
    write_changed(ready.settings.home / "months" / "month_002", tmp_path, change)
    ingest(ready, tmp_path, MARCH, KNOWN[MARCH], KNOWN[MARCH], "test")


def months_of(ready: Platform) -> list[dict[str, Any]]:
    panel = population.panel(USERS, 3, SEED, 0.0)
    return [churn_columns(month) for month in panel]


@pytest.mark.history_in_postgres("PostgreSQL's own counting")
def test_postgresql_counts_as_numpy_does(world: Platform) -> None:
    january, february, _ = months_of(world)
    history = month_rows.history(world.database, world.use_case, NOW)
    of_version = learned(world, world.registry.version(1))
    kept = reference(history, of_version)
    bins = {name: edges for name, edges in kept.bins.items() if edges is not None}
    assert {name: tuple(edges) for name, edges in bins.items()} == bin_edges(january)
    assert reference(history, of_version) == kept  # which are kept with the run
    for month, columns in ((JANUARY, january), (FEBRUARY, february)):
        expected = counts(columns, bins)
        for table, features in of_version.features_by_history().items():
            found = feature_counts(history, table, features, kept.bins, [month])
            assert from_document(json.loads(json.dumps(as_document(found)))) == found
            for feature, one in found.items():
                other = expected[feature]
                if isinstance(one, NumberCounts):
                    assert isinstance(other, NumberCounts)
                    assert one.bins == other.bins
                    assert one.mean == pytest.approx(other.mean, rel=1e-9)
                    assert one.deviation == pytest.approx(other.deviation, rel=1e-8)
                    assert one.magnitudes == other.magnitudes
                    assert (one.least, one.greatest) == (other.least, other.greatest)
                else:
                    assert isinstance(other, CategoryCounts)
                    lower = {str(name).lower(): n for name, n in other.categories.items()}
                    assert {name.lower(): n for name, n in one.categories.items()} == lower
                    assert one.missing == other.missing


def of_march(ready: Platform, **how: Any) -> Monitored:
    return monitor(ready, MARCH, **{"now": NOW, "known_at": KNOWN[MARCH], **how}).monitored


def test_a_stable_month_raises_no_alarm_and_the_same_again_adds_nothing(
    copied: Platform, tmp_path: Path
) -> None:
    load_march(copied, tmp_path)
    score_month(copied, 1, MARCH, KNOWN[MARCH])
    first = monitor(copied, MARCH, NOW, known_at=KNOWN[MARCH])
    made = first.monitored
    assert made.alarms == ()
    assert first.added
    assert (made.training_months, made.month_before, made.entities) == (
        (JANUARY,),
        FEBRUARY,
        USERS,
    )
    assert made.retraining.verdict == "not needed"
    assert newest(copied.database, made.model, MARCH) == made
    again = monitor(copied, MARCH, NOW.replace(hour=13), known_at=KNOWN[MARCH])
    assert (again.added, again.monitored) == (False, made)

    subjects = {(one.subject, one.compared_with) for one in made.figures}
    assert subjects == {
        ("feature", "training"),
        ("feature", "month before"),
        ("score", "training"),
        ("score", "month before"),
        ("quality", ""),
        ("estimate", ""),
        ("data", ""),
    }
    # What came true is what `streamflow evaluate` says, to the last bit, for both months.
    for whole in (one for one in made.of("quality") if one.what == "all users"):
        month = date.fromisoformat(whole.figures["month"])
        judged = evaluate(copied, 1, month, "test", NOW, known_at=KNOWN[MARCH]).evaluation
        assert {name: whole.figures[name] for name in judged.figures} == judged.figures
        assert whole.figures["promised"]["auc"] == copied.registry.version(1).metrics["auc"]
    (estimated,) = made.of("estimate")
    assert estimated.figures["doubts"] == []
    assert estimated.figures["auc"] == pytest.approx(
        next(one.figures["auc"] for one in made.of("quality") if one.what == "all users"), abs=0.05
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if named[0] == "quality" else pytest.mark.slow)
        for name, (_, named) in FAULTS.items()
    ],
)
def test_a_fault_in_a_months_files_is_named_in_the_first_alarms(
    copied: Platform, tmp_path: Path, name: str
) -> None:
    fault, named = FAULTS[name]
    load_march(copied, tmp_path, fault)
    score_month(copied, 1, MARCH, KNOWN[MARCH])
    made = of_march(copied)
    assert named in [(one.rule, one.what) for one in made.alarms[:3]]


@pytest.mark.slow
def test_february_loaded_as_march_is_told(copied: Platform, tmp_path: Path) -> None:
    february = copied.settings.home / "months" / "month_001"
    load_march(copied, tmp_path, usage_of(february))
    named = [(one.rule, one.what) for one in of_march(copied).alarms[:3]]
    assert ("another month's rows", "usage_agg_30d") in named


@pytest.mark.slow
def test_a_month_of_which_many_rows_were_corrected_is_told(
    copied: Platform, tmp_path: Path
) -> None:
    def free(number: int, fee: str) -> str:
        return "19.95" if number % 10 == 0 else fee

    load_march(copied, tmp_path)
    corrected = KNOWN[MARCH] + timedelta(days=1)
    march = copied.settings.home / "months" / "month_002"
    write_changed(march, tmp_path, in_table("subscriptions", "monthly_fee", free))
    ingest(copied, tmp_path, MARCH, corrected, corrected, "test")
    named = [(one.rule, one.what) for one in of_march(copied, known_at=corrected).alarms[:3]]
    assert ("corrections", "subscriptions") in named
    assert not [one for one in of_march(copied).alarms if one.rule == "corrections"]


@pytest.mark.slow
def test_a_table_that_has_not_come_is_told(copied: Platform, tmp_path: Path) -> None:
    def without_usage(tables: Tables) -> None:
        tables["usage_agg_30d"] = []

    late = [
        replace(one, arrives_later=one.name == "usage_agg_30d") for one in copied.use_case.tables()
    ]
    ready = replace(copied, use_case=replace(copied.use_case, tables=lambda: late))
    load_march(ready, tmp_path, without_usage)
    named = [(one.rule, one.what, one.severity) for one in of_march(ready).alarms[:3]]
    assert ("late table", "usage_agg_30d", "critical") in named


def test_a_month_that_cannot_be_monitored_says_why(copied: Platform) -> None:
    with pytest.raises(AsOfRefused, match="There is no data at AS_OF 2024-03-31"):
        of_march(copied)
    with pytest.raises(KnownAtRefused):
        monitor(copied, FEBRUARY, NOW, known_at=NOW.replace(year=2025))


def test_without_a_version_in_production_one_is_named(ready: Platform, tmp_path: Path) -> None:
    generate = ready.use_case.generate
    assert generate is not None
    generate(Generation(tmp_path, users=20, months=1, seed=1))
    ingest(ready, tmp_path / "month_000", JANUARY, KNOWN[JANUARY], KNOWN[JANUARY], "test")
    with pytest.raises(NoProductionModel):
        monitor(ready, JANUARY, NOW)


def test_the_month_of_training_is_compared_with_nothing_but_the_month_before(
    copied: Platform,
) -> None:
    made = monitor(copied, JANUARY, NOW, known_at=KNOWN[JANUARY]).monitored
    assert made.month_before is None
    assert {one.subject for one in made.figures} == {"data"}
    assert made.alarms == ()


@pytest.mark.slow
def test_the_command_ends_with_4_if_an_alarm_was_raised(
    copied: Platform, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    load_march(copied, tmp_path, FAULTS["a feature scaled by 1.1"][0])
    database = copied.settings.database_url
    assert database is not None
    where = {
        "STREAMFLOW_HOME": str(copied.settings.home),
        "STREAMFLOW_DATABASE_URL": database.get_secret_value(),
    }
    done = cli("monitor", "--as-of", "2024-03-31", "--json", **where)
    assert done.returncode == 4, done.stderr
    document = json.loads(done.stdout)
    assert document["alarms"][0]["rule"] == "scale"
    assert document["retraining"]["verdict"] == "proposed"
    told = cli("monitor", "--as-of", "2024-03-31", **where)
    assert told.returncode == 4
    assert told.stdout.startswith("warning: watch_hours_30d: all values are about 1.1 times larger")
    assert "nothing is added" in told.stdout
    assert cli("monitor", "--as-of", "2024-02-29", **where).returncode == 0


@pytest.mark.slow
def test_what_came_true_is_told_of_the_version_that_gave_the_scores(
    copied: Platform, tmp_path: Path
) -> None:
    """The newest version has learned from the month that it would be judged on."""
    load_march(copied, tmp_path)
    score_month(copied, 1, MARCH, KNOWN[MARCH])
    train(copied, MARCH, "logistic_regression", 1, NOW)
    score_month(copied, 2, MARCH, NOW)
    made = of_march(copied, known_at=NOW, version=2)
    judged = {(one.figures["version"], one.figures["month"]) for one in made.of("quality")}
    assert judged == {(1, "2024-02-29"), (1, "2024-03-31")}
    assert {one.compared_with for one in made.of("feature")} == {"month before"}
    assert made.of("score") == made.of("estimate") == []
    assert made.alarms == ()
