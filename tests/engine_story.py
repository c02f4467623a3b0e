"""A history that changes, told to PostgreSQL and read by each engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

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
from tests.training_tables import data_hash

from streamflow.bootstrap import platform
from streamflow.errors import AsOfRefused
from streamflow.features import month_rows, point_in_time
from streamflow.features.feature_join import join_of_today
from streamflow.features.point_in_time import Assembled
from streamflow.history.parquet.history_files import parquet_folder
from streamflow.lineage import reproduce
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training.split import Choice

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 4, 20, tzinfo=UTC)

LATE = replace(ITEMS, arrives_later=frozenset({"readings", OUTCOMES}))
WITH_SIZE = LATE.with_column("readings", "size", Column("Float64"))
WITHOUT_AGE = WITH_SIZE.without_column(ENTITIES, "age")
RENAMED = WITHOUT_AGE.renamed("readings", "heat", "warmth")


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


@contextmanager
def opened(
    ready: Platform, engine: str, home: Path | None = None, **more: Any
) -> Iterator[Platform]:
    settings = load_settings(
        home=home or ready.settings.home,
        database_url=ready.settings.database_url,
        use_case=ready.settings.use_case,
        engine=engine,
        **more,
    )
    with platform(settings) as other:
        yield replace(other, use_case=ready.use_case)


@contextmanager
def in_iceberg(url: str, home: Path, location: str) -> Iterator[Platform]:
    """A platform whose history is in Apache Iceberg at that location."""
    stored = load_settings(
        home=home, database_url=url, use_case="churn", engine="duckdb", history=location
    )
    with platform(stored) as ready:
        yield ready


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


def first_months() -> tuple[dict[str, Any], dict[str, Any]]:
    """January, with a null, a negative zero and a very small number; February without readings."""
    january, february = month(LATE, 1), month(LATE, 2)
    for row, heat in zip(january["readings"], ("", "-0.0", "1e-320"), strict=False):
        row["heat"] = heat
    february.pop("readings")
    return january, february


def new_story(ready: Platform, folder: Path) -> Story:
    """January and February, by the use case as it was first."""
    told = Story(shaped(ready, LATE), folder)
    january, february = first_months()
    told.load(january, 0, JANUARY)
    told.load(february, 1, FEBRUARY)
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


def require_each_moment(story: Story, other: Platform) -> None:
    """A history with corrections, complete files, withdrawals, late tables and changed columns: at
    each moment the other engine makes the training sets of the story's own."""
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

    # Columns that come, go and are called otherwise: copied files of before are made anew.
    before = {file.name for file in parquet_folder(other.settings.home).rglob("*.parquet")}
    for shape in (WITH_SIZE, WITHOUT_AGE, RENAMED):
        story.becomes(shape)
        other = replace(other, use_case=story.ready.use_case)
        assert require_same(story.ready, other, [6])
    story.load({"readings": month(RENAMED, 7)["readings"][3:]}, 7, FEBRUARY)
    assert require_same(story.ready, other, [3, 7])
    after = {file.name for file in parquet_folder(other.settings.home).rglob("*.parquet")}
    if other.settings.history == "postgres":
        assert before & after
        assert before - after
    else:  # no copy of them
        assert not before | after


def require_same_models(story: Story, other: Platform) -> None:
    """One data hash and one model hash, and each engine reproduces the other's run."""
    choice = Choice(months=2, sample=30)
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


def everyone(ready: Platform) -> list[dict[str, Any]]:
    """Everyone of February as known at day 2, with their features."""
    join = join_of_today(ready.history, ready.use_case, day(2))
    batches = month_rows.month_rows(ready.history, ready.use_case, FEBRUARY, day(2), join)
    return [row for batch in batches for row in batch.to_pylist()]


def with_unusual_names(story: Story) -> None:
    """A February with entities that sort differently by bytes and by a language."""
    rows = month(LATE, 8, items=60)
    for table in rows.values():
        for row, name in zip(table, ("ä", "Z", "a", "z", "B", "_", "-"), strict=False):
            row[KEY] = name
    story.load(rows, 2, FEBRUARY)
