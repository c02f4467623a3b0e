"""Each engine reads the same history: one data hash and one model hash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.changing_case import (
    ENTITIES,
    ITEMS,
    KEY,
    OUTCOMES,
    Column,
    Shape,
    month,
    shaped,
    write_month,
)
from tests.statements import execute
from tests.training_tables import data_hash

from streamflow.bootstrap import platform
from streamflow.errors import AsOfRefused
from streamflow.features import month_rows, point_in_time
from streamflow.features.feature_join import join_of_today
from streamflow.features.point_in_time import Assembled
from streamflow.history.parquet.history_files import parquet_folder
from streamflow.lineage import reproduce
from streamflow.monitoring.month import monitored
from streamflow.monitoring.rules.skew import SkewCounts
from streamflow.operations.forgetting import forget
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.progress import silent
from streamflow.scores.everyone import score
from streamflow.settings import load_settings
from streamflow.training.split import Choice

pytestmark = pytest.mark.usefixtures("without_plots")

ENGINES = ["duckdb"]
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 4, 20, tzinfo=UTC)
PERSON = "i003"
ONLINE_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY tablename"

LATE = replace(ITEMS, arrives_later=frozenset({"readings", OUTCOMES}))
WITH_SIZE = LATE.with_column("readings", "size", Column("Float64"))
WITHOUT_AGE = WITH_SIZE.without_column(ENTITIES, "age")
RENAMED = WITHOUT_AGE.renamed("readings", "heat", "warmth")


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


@contextmanager
def opened(ready: Platform, engine: str, home: Path | None = None) -> Iterator[Platform]:
    settings = load_settings(
        home=home or ready.settings.home,
        database_url=ready.settings.database_url,
        use_case="churn",
        engine=engine,
    )
    with platform(settings) as other:
        yield replace(other, use_case=ready.use_case)


@dataclass
class Story:
    """A history that is written on the way, with the folder of its files."""

    ready: Platform
    folder: Path
    shape: Shape = LATE
    files: int = 0

    def load(self, rows: dict[str, Any], number: int, as_of: date, complete: bool = False) -> int:
        """Ingest these rows as recorded at `day(number)`; items as they were, if none are given."""
        self.files += 1
        if ENTITIES not in rows:
            items = month(self.shape, 1 if as_of == JANUARY else 2)[ENTITIES]
            rows = {**rows, ENTITIES: items}
        written = write_month(self.folder / str(self.files), rows)
        done = ingest(
            *(self.ready, written, as_of, day(number), NOW, "ann"), complete=complete, really=True
        )
        return done.ingestion_id

    def becomes(self, shape: Shape) -> None:
        self.ready, self.shape = shaped(self.ready, shape), shape
        apply(self.ready)


@pytest.fixture
def story(ready: Platform, tmp_path: Path) -> Story:
    """January and February, by the use case as it was first."""
    told = Story(shaped(ready, LATE), tmp_path / "files")
    first = month(LATE, 1)
    first["readings"][0]["heat"] = ""
    first["readings"][1]["heat"] = "-0.0"
    first["readings"][2]["heat"] = "1e-320"
    told.load(first, 0, JANUARY)
    late = month(LATE, 2)
    late.pop("readings")
    told.load(late, 1, FEBRUARY)
    told.becomes(LATE)
    return told


def differences(one: Assembled, other: Assembled) -> dict[str, tuple[object, object]]:
    """By field what two engines say, where they differ; NaN and null are two things."""
    found = {}
    for field in fields(Assembled):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "training_set":
            a, b = data_hash(a), data_hash(b)
        if a != b:
            found[field.name] = (a, b)
    return found


def assembled(
    ready: Platform, months: list[date], known_at: datetime, sample: int | None = None
) -> Assembled | str:
    try:
        return point_in_time.assemble(
            ready.history, ready.use_case, months, known_at, sample=sample
        )
    except AsOfRefused as error:
        return error.message


def require_same(ready: Platform, other: Platform, known: list[int]) -> list[str]:
    """The data hashes, after the engines said the same of each moment."""
    hashes = []
    for number in known:
        for months, sample in (([FEBRUARY], 9), ([JANUARY, FEBRUARY], None)):
            one = assembled(ready, months, day(number), sample)
            two = assembled(other, months, day(number), sample)
            if isinstance(one, str) or isinstance(two, str):
                assert one == two
                continue
            assert differences(one, two) == {}
            hashes.append(data_hash(one.training_set))
    return hashes


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_training_sets_are_those_of_postgresql_at_each_moment_of_a_history_that_changes(
    story: Story, engine: str
) -> None:
    with opened(story.ready, engine) as other:
        assert len(set(require_same(story.ready, other, [0, 1]))) == 2

        # A correction of some rows, and a complete file without some items.
        story.load({"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
        fewer = month(LATE, 1)
        rows = {name: fewer[name][5:] for name in (ENTITIES, OUTCOMES)}
        story.load(rows, 3, JANUARY, complete=True)
        # The late table, which is withdrawn and comes again.
        wrong = story.load({"readings": month(LATE, 5)["readings"]}, 4, FEBRUARY)
        assert require_same(story.ready, other, [3, 4])
        withdraw(story.ready, wrong, "wrong", day(5), "ann")
        story.load({"readings": month(LATE, 6)["readings"]}, 6, FEBRUARY)
        assert require_same(story.ready, other, [4, 6])

        # Columns that come, go and are called otherwise: the files of before are made anew.
        before = {file.name for file in parquet_folder(other.settings.home).rglob("*.parquet")}
        for shape in (WITH_SIZE, WITHOUT_AGE, RENAMED):
            story.becomes(shape)
            other = replace(other, use_case=story.ready.use_case)
            assert require_same(story.ready, other, [6])
        story.load({"readings": month(RENAMED, 7)["readings"][3:]}, 7, FEBRUARY)
        assert require_same(story.ready, other, [3, 7])
        after = {file.name for file in parquet_folder(other.settings.home).rglob("*.parquet")}
        assert before & after
        assert before - after


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_is_the_same_and_each_engine_reproduces_the_other(
    story: Story, engine: str
) -> None:
    story.load({"readings": month(LATE, 6)["readings"]}, 2, FEBRUARY)
    choice = Choice(months=2, sample=30)
    with opened(story.ready, engine) as other:
        runs = [
            training_run.train(one, FEBRUARY, None, 7, NOW, known_at=day(2), choice=choice)
            for one in (story.ready, other)
        ]
        assert runs[0].data_hash == runs[1].data_hash
        assert runs[0].model_hash == runs[1].model_hash

        # The use case of before has a column that is gone now.
        for one, run in ((story.ready, runs[1]), (other, runs[0])):
            later = shaped(one, WITHOUT_AGE)
            apply(later)
            done = reproduce.reproduce(later, later.registry.run(run.run_id), NOW)
            assert done.verdict == "identical", done


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
    rows = month(LATE, 8, items=60)
    for table in rows.values():
        for row, name in zip(table, ("ä", "Z", "a", "z", "B", "_", "-"), strict=False):
            row[KEY] = name
    story.load(rows, 2, FEBRUARY)
    with opened(story.ready, engine) as other:
        found = []
        for one in (story.ready, other):
            join = join_of_today(one.history, one.use_case, day(2))
            batches = list(month_rows.month_rows(one.history, one.use_case, FEBRUARY, day(2), join))
            found.append([row for batch in batches for row in batch.to_pylist()])
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
