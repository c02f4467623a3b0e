"""A use case that changes at random, held against plain Python: what each month is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.changing_case import FIELD_TYPES, ITEMS, KEY, Column, Shape, shaped, write_month
from tests.conftest import OwnDatabase

from streamflow.bootstrap import platform
from streamflow.errors import UntrainableData
from streamflow.features import point_in_time
from streamflow.lineage import reproduce
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training.split import Choice

pytestmark = pytest.mark.usefixtures("without_plots")

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
MONTHS = [date(2024, number, 28) for number in range(1, 13)]
START = datetime(2025, 1, 1, tzinfo=UTC)
ALLOWED_AGE = timedelta(days=45)
MOST_ITEMS = 36
KINDS = list(FIELD_TYPES)

CHANGES = [
    *("a column more", "a column more", "a column less", "a column back", "another name"),
    *("a wider type", "another type", "a feature more or less", "a table more", "a table less"),
]

Values = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a file that history has; `values` by the identity of each column of the file."""

    item: str
    as_of: date
    recorded_at: datetime
    values: Values


@dataclass
class Life:
    """A use case and its history, as plain Python has them. A column has an identity for ever."""

    shape: Shape = ITEMS
    history: dict[str, list[Row]] = field(default_factory=dict)
    labels: dict[tuple[str, date], list[tuple[datetime, bool]]] = field(default_factory=dict)
    identities: dict[tuple[str, str], str] = field(default_factory=dict)
    gone: list[tuple[str, str, Column]] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))
    months: list[date] = field(default_factory=list)
    now: datetime = START

    def identity(self, table: str, name: str) -> str:
        return self.identities.setdefault((table, name), f"{table}.{name}")

    def change(self, number: int) -> None:
        """Some change of the shape that a team may make."""
        random = Random(number)
        table = random.choice(sorted(self.shape.tables))
        columns = self.shape.tables[table]
        name = random.choice(sorted(columns))
        column, fresh = columns[name], f"x{next(self.names)}"
        what = random.choice(CHANGES)
        if what == "a column more":
            added = Column(random.choice(KINDS), nullable=random.random() < 0.8)
            self.shape = self.shape.with_column(table, fresh, added)
        elif (
            what == "a column less" and len(columns) > 1 and self._features(table) > column.feature
        ):
            self.gone.append((table, name, column))
            self.shape = self.shape.without_column(table, name)
        elif what == "a column back" and self.gone:
            back, name, column = self.gone.pop()
            if back in self.shape.tables:
                self.shape = self.shape.with_column(back, name, column)
        elif what == "another name":
            self.identities[table, fresh] = self.identity(table, name)
            self.shape = self.shape.renamed(table, name, fresh)
        elif what == "a wider type" and column.kind == "Int64":
            self.shape = self.shape.with_column(table, name, replace(column, kind="Float64"))
        elif what == "another type" and column.kind != "boolean":
            self.shape = self.shape.without_column(table, name)
            self.shape = self.shape.with_column(table, fresh, replace(column, kind="boolean"))
        elif what == "a feature more or less" and self._features(table) > column.feature:
            other = replace(column, feature=not column.feature)
            self.shape = self.shape.with_column(table, name, other)
        elif what == "a table more":
            made = {f"{fresh}_amount": Column("Float64"), f"{fresh}_count": Column("Int64")}
            self.shape = self.shape.with_table(fresh, made)
        elif what == "a table less" and table != "items":
            self.gone = [one for one in self.gone if one[0] != table]
            self.shape = self.shape.without_table(table)

    def _features(self, table: str) -> int:
        return sum(column.feature for column in self.shape.tables[table].values())

    def files(self, number: int, as_of: date) -> dict[str, list[dict[str, Any]]]:
        """A month's files, which history has then; the same month again differs in some values."""
        random = Random(number)
        self.now += timedelta(hours=1)
        items = [f"i{item:02}" for item in range(MOST_ITEMS) if random.random() < 0.95]
        files: dict[str, list[dict[str, Any]]] = {}
        for table, columns in self.shape.tables.items():
            lines = []
            for item in items:
                if table != "items" and random.random() < 0.1:
                    continue
                values = {}
                for name, column in columns.items():
                    again = Random(f"{self.identity(table, name)} {item} {as_of}")
                    chance = random if random.random() < 0.1 else again
                    values[name] = _value(column, chance)
                lines.append((item, values))
                self._append(table, columns, Row(item, as_of, self.now, values))
            files[table] = [
                {KEY: item, **{name: "" if v is None else v for name, v in values.items()}}
                for item, values in lines
            ]
        files["outcomes"] = []
        for item in items:
            good = Random(f"{item} {as_of}").random() < 0.5
            files["outcomes"].append({KEY: item, "good": good})
            self.labels.setdefault((item, as_of), []).append((self.now, good))
        if as_of not in self.months:
            self.months.append(as_of)
        return files

    def _append(self, table: str, columns: Any, row: Row) -> None:
        row = replace(
            row, values={self.identity(table, name): row.values[name] for name in columns}
        )
        rows = self.history.setdefault(table, [])
        before = [one for one in rows if (one.item, one.as_of) == (row.item, row.as_of)]
        # A row that says nothing new isn't there again.
        if not before or not (row.values.items() <= before[-1].values.items()):
            rows.append(row)

    def training_set(
        self, months: list[date], known_at: datetime
    ) -> tuple[dict[tuple[str, str], Values], dict[tuple[date, str], int]] | None:
        """Per item and as_of its features and label, and how many rows haven't recorded a feature;
        None if a month hasn't recorded one that is never null."""
        found: dict[tuple[str, str], Values] = {}
        unrecorded: dict[tuple[date, str], int] = {}
        for as_of in months:
            labelled = 0
            for item in sorted({row.item for row in self.history["items"] if row.as_of == as_of}):
                known = [good for at, good in self.labels[item, as_of] if at <= known_at]
                if not any(
                    row.recorded_at <= known_at
                    for row in self.history["items"]
                    if (row.item, row.as_of) == (item, as_of)
                ):
                    continue
                labelled += 1
                values, kept, rows_found = {}, True, 0
                for table, columns in self.shape.tables.items():
                    features = {n: c for n, c in columns.items() if c.feature}
                    if not features:
                        continue
                    row = self._joined(table, item, as_of, known_at)
                    rows_found += row is not None
                    for name, column in features.items():
                        identity = self.identity(table, name)
                        value = row.values.get(identity) if row else None
                        if row is not None and identity not in row.values:
                            place = as_of, name
                            unrecorded[place] = unrecorded.get(place, 0) + 1
                        if row is not None and value is None and not column.nullable:
                            kept = False
                        wide = column.kind == "Float64" and value is not None
                        values[name] = float(value) if wide else value
                if kept and rows_found:
                    found[item, as_of.isoformat()] = {**values, "label": known[-1]}
            never_null = [
                name
                for columns in self.shape.tables.values()
                for name, column in columns.items()
                if column.feature and not column.nullable
            ]
            if any(unrecorded.get((as_of, name)) == labelled for name in never_null):
                return None
        return found, unrecorded

    def _joined(self, table: str, item: str, as_of: date, known_at: datetime) -> Row | None:
        """The row that counts at the as_of: of the newest month, and of that the newest known."""
        rows = [
            row
            for row in self.history.get(table, [])
            if row.item == item
            and as_of - ALLOWED_AGE <= row.as_of <= as_of
            and row.recorded_at <= known_at
        ]
        return max(rows, key=lambda row: (row.as_of, row.recorded_at), default=None)


def _value(column: Column, random: Random) -> Any:
    if column.nullable and random.random() < 0.15:
        return None
    if column.kind == "string":
        return random.choice(["a", "b", "c"])
    if column.kind == "boolean":
        return random.random() < 0.5
    return random.randrange(50) if column.kind == "Int64" else random.random()


Fresh = Callable[[], Any]


@pytest.fixture
def fresh(own_database: OwnDatabase, prepared_database: str, tmp_path: Path) -> Fresh:
    """A platform with nothing in it, which is gone afterwards."""
    numbers = iter(range(10_000))

    @contextmanager
    def fresh() -> Iterator[Platform]:
        home = tmp_path / f"home_{next(numbers)}"
        with (
            own_database(prepared_database) as url,
            platform(load_settings(home=home, database_url=url, use_case="churn")) as ready,
        ):
            yield ready

    return fresh


def check(ready: Platform, life: Life, months: list[date], known_at: datetime) -> bool:
    """Whether the months can be trained on; the training set is as plain Python has it."""
    expected = life.training_set(months, known_at)
    try:
        made = point_in_time.assemble(ready.database, ready.use_case, months, known_at)
    except UntrainableData:
        assert expected is None or not expected[0]
        return False
    assert expected is not None
    rows, unrecorded = expected
    found = {}
    for line in made.table.to_pylist():
        place = line.pop(KEY), line.pop("as_of", months[0].isoformat())
        found[place] = line
    assert {place: repr(sorted(one.items())) for place, one in found.items()} == {
        place: repr(sorted(one.items())) for place, one in rows.items()
    }
    assert {(one.as_of, one.feature): one.rows for one in made.unrecorded} == unrecorded
    return True


@pytest.mark.slow
@settings(
    max_examples=200 if LONG else 1,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.integers(0, 10**6), min_size=4, max_size=8 if LONG else 6))
def test_each_month_is_trained_on_as_it_was_recorded_and_every_run_comes_out_again(
    fresh: Fresh, tmp_path: Path, steps: list[int]
) -> None:
    life, runs = Life(), []
    with fresh() as ready:

        def load(number: int, as_of: date) -> None:
            folder = tmp_path / f"{ready.settings.home.name} {life.now:%d%H}"
            write_month(folder, life.files(number, as_of))
            recorded_at = life.now
            ingest(shaped(ready, life.shape), folder, as_of, recorded_at, life.now, "ann")

        def train(number: int) -> None:
            now = shaped(ready, life.shape)
            newest = sorted(life.months)[-1 - number % min(2, len(life.months)) :]
            if check(now, life, newest, life.now) and len(runs) < (3 if LONG else 2):
                choice = Choice(months=len(newest))
                try:
                    runs.append(
                        training_run.train(now, newest[-1], None, 5, life.now, choice=choice)
                    )
                except UntrainableData:
                    return  # too few rows are left to be judged on

        load(0, MONTHS[0])
        apply(shaped(ready, life.shape))
        train(0)
        for step in steps:
            if step % 4 == 0 and len(life.months) < len(MONTHS):
                load(step, MONTHS[len(life.months)])
            elif step % 4 == 1:
                load(step, life.months[step % len(life.months)])
            else:
                life.change(step)
                apply(shaped(ready, life.shape))
            if step % 3 == 0:
                train(step)
            known_at = START + timedelta(hours=1 + step % (life.now - START).seconds // 3600)
            check(shaped(ready, life.shape), life, life.months[:1], known_at)
        train(1)
        today = shaped(ready, life.shape)
        for run in runs:
            done = reproduce.reproduce(today, ready.registry.run(run.run_id), life.now)
            assert (done.verdict, done.why) == ("identical", done.why), done.factors
