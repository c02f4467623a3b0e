"""Each engine reads the same history: one data hash and one model hash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.changing_case import ENTITIES, KEY, OUTCOMES, month
from tests.engine_story import (
    FEBRUARY,
    JANUARY,
    LATE,
    NOW,
    Story,
    day,
    everyone,
    new_story,
    opened,
    require_each_moment,
    require_same,
    require_same_models,
    with_unusual_names,
)
from tests.statements import execute

from streamflow.history.parquet.history_files import parquet_folder
from streamflow.monitoring.month import monitored
from streamflow.monitoring.rules.skew import SkewCounts
from streamflow.operations.forgetting import forget
from streamflow.pipeline import train as training_run
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.progress import silent
from streamflow.scores.everyone import score

pytestmark = [
    pytest.mark.usefixtures("without_plots"),
    pytest.mark.history_in_postgres("engines are compared over a history in PostgreSQL"),
]

ENGINES = ["duckdb"]
PERSON = "i003"
ONLINE_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY tablename"


@pytest.fixture
def story(ready: Platform, tmp_path: Path) -> Story:
    return new_story(ready, tmp_path / "files")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_training_sets_are_those_of_postgresql_at_each_moment_of_a_history_that_changes(
    story: Story, engine: str
) -> None:
    with opened(story.ready, engine) as other:
        require_each_moment(story, other)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_is_the_same_and_each_engine_reproduces_the_other(
    story: Story, engine: str
) -> None:
    story.load({"readings": month(LATE, 6)["readings"]}, 2, FEBRUARY)
    with opened(story.ready, engine) as other:
        require_same_models(story, other)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_month_is_monitored_with_the_same_figures(story: Story, engine: str) -> None:
    story.load({"readings": month(LATE, 6)["readings"]}, 2, FEBRUARY)
    story.load({"readings": month(LATE, 5)["readings"][9:]}, 3, FEBRUARY)
    gates = replace(story.ready.use_case.gates, segments=("items.kind", "readings.on"))
    with_segments = replace(story.ready.use_case, gates=gates)
    made = []
    with opened(story.ready, engine) as other:
        for given in (story.ready, other):
            one = replace(given, use_case=with_segments)
            # What a version is compared with is kept with it: each engine makes its own.
            run = training_run.train(one, JANUARY, None, 7, NOW, known_at=day(0))
            version = one.registry.version(run.version)
            score(one, FEBRUARY, "ann", NOW, known_at=day(3), version=run.version)
            arguments = version, FEBRUARY, day(3), NOW, lambda _: SkewCounts(0, 0, {}), silent
            done = monitored(one, *arguments)
            # The versions have two numbers.
            figures = [
                replace(figure, figures={**figure.figures, "version": None})
                for figure in done.figures
            ]
            made.append((figures, done.alarms, done.retraining))
            assert {"quality", "score"} <= {figure.subject for figure in done.figures}
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_materialized_is_the_same_after_corrections_and_withdrawals(
    story: Story, engine: str
) -> None:
    story.load({"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
    fewer = month(LATE, 1)
    rows = {name: fewer[name][5:] for name in (ENTITIES, OUTCOMES)}
    story.load(rows, 3, JANUARY, complete=True)
    wrong = story.load({"readings": month(LATE, 5)["readings"]}, 4, FEBRUARY)
    withdraw(story.ready, wrong, "wrong", day(5), "ann")
    with opened(story.ready, engine) as other:
        online = [stages(one) for one in (story.ready, other)]
    assert online[0] == online[1]
    # The last stage takes out what was withdrawn, and the first has January alone.
    first, *_, before, last = online[0]
    assert first != before != last != first


def stages(ready: Platform) -> list[dict[str, list[str]]]:
    """What is online after materializing what was known at each of some moments."""
    found = []
    tables = [row["tablename"] for row in execute(ready.database, ONLINE_TABLES)]
    for table in tables:
        execute(ready.database, f'TRUNCATE online."{table}"')
    execute(ready.database, "DELETE FROM streamflow.materializations")
    for number in (0, 2, 3, 4, 6):
        materialize(ready, JANUARY if number == 0 else FEBRUARY, day(number))
        found.append(
            {
                table: [
                    row["text"]
                    for row in execute(
                        ready.database,
                        f'SELECT one::text AS text FROM online."{table}" AS one ORDER BY 1',
                    )
                ]
                for table in tables
            }
        )
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_everyone_of_a_month_comes_in_the_same_order_with_the_same_features(
    story: Story, engine: str
) -> None:
    with_unusual_names(story)
    with opened(story.ready, engine) as other:
        found = [everyone(story.ready), everyone(other)]
    assert found[0] == found[1]
    assert len(found[0]) > 60


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_who_is_forgotten_stays_in_the_copy(story: Story, engine: str) -> None:
    elsewhere = story.folder / "another home"
    with opened(story.ready, engine) as other, opened(story.ready, engine, elsewhere) as far:
        for one in (other, far):
            require_same(story.ready, one, [1])
            assert holds(one, PERSON)
        forget.forget(story.ready, [PERSON], "asked for it", "me", NOW, later=True)
        assert not holds(other, PERSON)
        assert require_same(story.ready, other, [1])
        assert not holds(other, PERSON)
        # A copy in the home of another machine is made anew at its next use.
        assert require_same(story.ready, far, [1])
        assert not holds(far, PERSON)


def holds(ready: Platform, entity: str) -> bool:
    import pyarrow.parquet as pq

    return any(
        entity in pq.read_table(file, columns=[KEY])[KEY].to_pylist()
        for file in parquet_folder(ready.settings.home).rglob("*.parquet")
    )
