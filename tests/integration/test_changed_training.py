"""Training by a use case that changes: months of another width, and runs of before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.changing_case import ITEMS, Column, Shape, month, shaped, write_month
from tests.conftest import OwnDatabase
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import UntrainableData
from streamflow.features import point_in_time
from streamflow.features.online_history import OnlineHistory, Window
from streamflow.lineage import reproduce
from streamflow.lineage.reproduce import Reproduction
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training.split import AS_OF_ALONE, Choice

pytestmark = pytest.mark.usefixtures("without_plots")

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
TRAINED = datetime(2024, 3, 5, tzinfo=UTC)
LATER = datetime(2024, 4, 5, tzinfo=UTC)
NOW = datetime(2024, 4, 20, tzinfo=UTC)

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
WITH_SIZE = ITEMS.with_column("readings", "size", Column("Float64"))


@dataclass(frozen=True)
class Before:
    """January and February, and a run on both by the use case as it was."""

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
        then = shaped(ready, ITEMS)
        for number, as_of in enumerate((JANUARY, FEBRUARY)):
            folder = write_month(home / f"month_{number}", month(ITEMS, number))
            ingest(then, folder, as_of, TRAINED, NOW, "ann")
        apply(then)
        run = train(then, FEBRUARY, TRAINED, Choice(months=2, refit=True))
    return Before(url, home, run)


@contextmanager
def opened(url: str, home: Path) -> Iterator[Platform]:
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as ready:
        yield ready


@pytest.fixture
def ready(before: Before, own_database: OwnDatabase) -> Iterator[Platform]:
    """The platform over a copy of the database."""
    with own_database(before.url) as url, opened(url, before.home) as copied:
        yield copied


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., None]:
    numbers = iter(range(1000))

    def load(ready: Platform, rows: Any, as_of: date, recorded_at: datetime = LATER) -> None:
        folder = write_month(tmp_path / f"month_{next(numbers)}", rows)
        ingest(ready, folder, as_of, recorded_at, NOW, "ann")

    return load


Load = Callable[..., None]


def train(
    ready: Platform, as_of: date, known_at: datetime = NOW, choice: Choice = AS_OF_ALONE
) -> training_run.Trained:
    return training_run.train(ready, as_of, None, 7, NOW, known_at=known_at, choice=choice)


def reproduced(ready: Platform, run: training_run.Trained) -> Reproduction:
    return reproduce.reproduce(ready, ready.registry.run(run.run_id), NOW)


def changed(ready: Platform, shape: Shape) -> Platform:
    """The platform with the use case of that shape, applied."""
    now = shaped(ready, shape)
    apply(now)
    return now


def unrecorded(ready: Platform, *months: date) -> list[str]:
    """What a training on these months says that they haven't recorded."""
    assembled = point_in_time.assemble(ready.database, ready.use_case, months, NOW)
    return [str(one) for one in assembled.unrecorded]


def test_months_of_before_a_new_column_are_materialized_and_trained_on(
    ready: Platform, load: Load
) -> None:
    now = changed(ready, WITH_SIZE)
    assert {one.rows for one in materialize(now, FEBRUARY, NOW)} == {40}
    of_february = (
        "Not recorded at 2024-02-29: feature 'size' of readings, 40 rows; it is null there."
    )
    trained = train(now, FEBRUARY)
    assert of_february in trained.warnings
    assert of_february in ready.registry.run(trained.run_id).tags["streamflow.warnings"]
    assert trained.rows == 40

    load(now, month(WITH_SIZE, 3), MARCH)
    assert unrecorded(now, MARCH) == []
    assert unrecorded(now, FEBRUARY, MARCH) == [of_february]
    # February again, with the column for 30 of its 40 items.
    rows = month(WITH_SIZE, 1)
    load(now, {name: lines[:30] for name, lines in rows.items()}, FEBRUARY)
    assert unrecorded(now, FEBRUARY, MARCH) == [of_february.replace("40 rows", "10 rows")]


def test_a_feature_that_is_never_null_is_trained_on_where_it_is_recorded(
    ready: Platform, load: Load
) -> None:
    shape = ITEMS.with_column("readings", "size", Column("Float64", nullable=False))
    now = changed(ready, shape)
    with pytest.raises(UntrainableData, match="hasn't recorded feature 'size'") as refused:
        train(now, FEBRUARY)
    assert "AS_OF 2024-02-29 " in refused.value.message
    assert "--as-of 2024-02-29" in refused.value.next
    assert '"size": Column(…, nullable=True)' in refused.value.next
    rows = month(shape, 1)
    load(now, {name: lines[:30] for name, lines in rows.items()}, FEBRUARY)
    assembled = point_in_time.assemble(now.database, now.use_case, [FEBRUARY], NOW)
    assert (assembled.table.num_rows, assembled.without_features) == (30, 10)
    assert unrecorded(now, FEBRUARY) == [
        "Not recorded at 2024-02-29: feature 'size' of readings, 10 rows; they are left out."
    ]


CHANGES = {
    "a column more": WITH_SIZE,
    "a column less": ITEMS.without_column("readings", "heat"),
    "another name": ITEMS.renamed("readings", "heat", "warmth"),
    "two more names": ITEMS.renamed("items", "age", "years").renamed("items", "kind", "sort"),
    "a wider type": ITEMS.with_column("items", "age", Column("Float64")),
    "another type by another name": ITEMS.without_column("items", "kind").with_column(
        "items", "kind_2", Column("Int64")
    ),
    "a feature less": ITEMS.with_column("readings", "heat", Column("Float64", feature=False)),
    "features in another order": ITEMS.without_column("items", "age").with_column(
        "items", "age", ITEMS.tables["items"]["age"]
    ),
    "a table more": ITEMS.with_table("visits", {"count": Column("Int64")}),
    "a table less": ITEMS.without_table("readings"),
    "another label's name": replace(ITEMS, label="fine", label_renamed_from={"fine": "good"}),
    "another service": replace(ITEMS, service="items_v2"),
    "all at once": replace(
        ITEMS.renamed("readings", "heat", "warmth")
        .with_column("items", "age", Column("Float64"))
        .without_column("items", "kind")
        .with_table("visits", {"count": Column("Int64")}),
        service="items_v2",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", CHANGES.values(), ids=CHANGES)
def test_runs_of_before_a_change_come_out_identical(
    ready: Platform, before: Before, load: Load, shape: Shape
) -> None:
    now = changed(ready, shape)
    load(now, month(shape, 3), MARCH)
    done = reproduced(now, before.run)
    assert (done.verdict, done.why) == ("identical", done.why)
    moved = [factor.name for factor in done.factors if not factor.same]
    assert moved == ["configuration"], done.factors
    newer = train(now, MARCH)
    assert reproduced(now, newer).verdict == "identical"


@pytest.mark.slow
def test_runs_of_before_all_changes_come_out_identical_and_tell_them(
    ready: Platform, before: Before, load: Load
) -> None:
    """A column, a feature, a table more and less, another name, type and label: all at once."""
    first = replace(
        ITEMS.renamed("readings", "heat", "warmth")
        .with_column("items", "age", Column("Float64"))
        .without_column("items", "kind")
        .with_table("visits", {"count": Column("Int64")}),
        service="items_v2",
        label="fine",
        label_renamed_from={"fine": "good"},
    )
    now = changed(ready, first)
    load(now, month(first, 3), MARCH)
    newer = train(now, MARCH, choice=Choice(months=3))
    # A table that wasn't there has no row, which is another thing than one that lacks a column.
    assert not [line for line in newer.warnings if line.startswith("Not recorded")]
    assert newer.taken_as_null == {"visits": 80}
    last = first.without_table("readings").without_column("items", "age")
    now = changed(now, last)
    for run in (before.run, newer):
        done = reproduced(now, run)
        assert (done.verdict, done.why) == ("identical", done.why)
        assert done.why.startswith("the same model to the last bit, from the same data, although")
    (told,) = (factor.said for factor in done.factors if factor.name == "configuration")
    assert "feature_schema.features.warmth is gone" in told
    (told,) = (
        factor.said
        for factor in reproduced(now, before.run).factors
        if factor.name == "configuration"
    )
    assert {"label.column good → fine", "feature_schema.features.count came"} <= {*told}


def test_what_history_has_otherwise_is_told_by_the_name_of_then(
    ready: Platform, before: Before
) -> None:
    now = changed(ready, ITEMS.renamed("readings", "heat", "warmth"))
    with now.database.transaction():
        execute(
            now.database,
            "UPDATE changing.readings_history SET warmth = 1000 WHERE item_id = 'i003'",
        )
    done = reproduced(now, before.run)
    assert done.verdict == "different"
    assert done.factors[0].said[0].startswith("2 rows of readings: heat; first: item i003 ")
    assert (done.changes[0].column, done.changes[0].after) == ("heat", 1000.0)


def test_a_value_that_the_type_of_then_cant_hold_is_told(ready: Platform, before: Before) -> None:
    now = changed(ready, ITEMS.with_column("items", "age", Column("Float64")))
    with now.database.transaction():
        execute(now.database, "UPDATE changing.items_history SET age = 1.5 WHERE item_id = 'i003'")
    done = reproduced(now, before.run)
    assert done.verdict == "different"
    assert (done.changes[0].column, done.changes[0].after) == ("age", None)


def test_rows_behind_old_predictions_are_found_by_the_name_of_then(ready: Platform) -> None:
    values = []
    for shape in (ITEMS, ITEMS.renamed("readings", "heat", "warmth")):
        now = changed(ready, shape)
        history = OnlineHistory(now.database, now.use_case)
        window = Window(NOW, NOW)
        found = history.rows("readings_fv", {"heat": "FLOAT64"}, ["i003"], (window,))
        values.append(found["i003"].values)
    before, after = values
    assert before == after
    assert isinstance(before["heat"], float)
