"""A use case that changes: history follows its contracts, and no old row is changed by that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from tests.changing_case import ITEMS, KEY, Column, Shape, month, shaped, use_case, write_month
from tests.statements import execute

from streamflow.errors import InvalidSettings
from streamflow.history import history_changes
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.ingest import IngestedMonth
from streamflow.history.recorded_columns import recorded_columns
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
DELIVERED = datetime(2024, 3, 2, tzinfo=UTC)
LATER = DELIVERED + timedelta(days=5)
NOW = datetime(2024, 3, 20, tzinfo=UTC)

WITH_SIZE = ITEMS.with_column("readings", "size", Column("Float64"))

Load = Callable[..., IngestedMonth]


@pytest.fixture
def load(ready: Platform, tmp_path: Path) -> Load:
    """Ingests a month's rows by the use case of a shape."""
    numbers = iter(range(1000))

    def load(
        shape: Shape, rows: dict[str, Any], as_of: date = JANUARY, recorded_at: datetime = DELIVERED
    ) -> IngestedMonth:
        folder = write_month(tmp_path / f"month_{next(numbers)}", rows)
        return ingest(shaped(ready, shape), folder, as_of, recorded_at, NOW, "ann")

    return load


def stored(ready: Platform, table: str) -> list[dict[str, Any]]:
    """Every row of history, and where it lies on disk: rewriting it would show."""
    where = "" if isinstance(ready.database, IcebergSession) else "ctid::text, xmin::text, "
    query = sql.SQL("SELECT {} * FROM {} ORDER BY {}, as_of, recorded_at").format(
        sql.SQL(where), sql.Identifier("changing", f"{table}_history"), sql.Identifier(KEY)
    )
    return execute(ready.database, query).fetchall()


def ingestion_of(ready: Platform, recorded_at: datetime) -> int:
    rows = execute(
        ready.database,
        "SELECT ingestion_id FROM streamflow.ingestions WHERE recorded_at = %s",
        [recorded_at],
    ).fetchall()
    return int(rows[0]["ingestion_id"])


def test_a_new_column_is_added_and_rows_of_before_stay_where_they_are(
    ready: Platform, load: Load
) -> None:
    load(ITEMS, month(ITEMS, 1))
    before = stored(ready, "readings")
    done = load(WITH_SIZE, month(WITH_SIZE, 2), FEBRUARY, LATER)

    assert done.tables["readings"].changes == [
        "column 'size' is new: rows of before haven't recorded it"
    ]
    assert done.tables["items"].changes == []
    rows = stored(ready, "readings")
    assert [row for row in rows if row["as_of"] == JANUARY] == [
        {**row, "size": None} for row in before
    ]
    assert all(row["size"] is not None for row in rows if row["as_of"] == FEBRUARY)
    again = load(WITH_SIZE, month(WITH_SIZE, 2), FEBRUARY, LATER)
    assert again.tables["readings"].changes == []
    assert again.tables["readings"].added == 0


def test_not_recorded_is_another_thing_than_null(ready: Platform, load: Load) -> None:
    load(ITEMS, month(ITEMS, 1))
    load(WITH_SIZE, month(WITH_SIZE, 2, size=""), FEBRUARY, LATER)
    columns = recorded_columns(ready.database, use_case(WITH_SIZE))
    first = ingestion_of(ready, DELIVERED)
    assert columns.not_recorded("readings_history", ["size"]) == [first]
    assert columns.not_recorded("readings_history", ["heat"]) == []

    # January again: a null that is recorded differs from one that isn't.
    done = load(WITH_SIZE, month(WITH_SIZE, 1, size=""), JANUARY, LATER)
    assert (done.tables["readings"].added, done.tables["items"].added) == (40, 0)
    done = load(WITH_SIZE, month(WITH_SIZE, 1, size=""), JANUARY, LATER + timedelta(days=1))
    assert done.tables["readings"].added == 0


def test_ingestions_of_before_columns_were_recorded_have_those_of_before_the_first_change(
    ready: Platform, load: Load
) -> None:
    load(ITEMS, month(ITEMS, 1))
    execute(
        ready.database,
        "UPDATE streamflow.ingestions SET tables = tables #- '{readings,columns}' "
        "#- '{items,columns}' #- '{outcomes,columns}'",
    )
    load(WITH_SIZE, month(WITH_SIZE, 2), FEBRUARY, LATER)
    columns = recorded_columns(ready.database, use_case(WITH_SIZE))
    assert columns.not_recorded("readings_history", ["size"]) == [ingestion_of(ready, DELIVERED)]
    assert columns.not_recorded("readings_history", ["heat"]) == []


def test_a_column_that_comes_back_has_a_gap(ready: Platform, load: Load) -> None:
    without = ITEMS.without_column("readings", "heat")
    load(ITEMS, month(ITEMS, 1))
    done = load(without, month(without, 2), FEBRUARY, LATER)
    assert done.tables["readings"].changes == [
        "column 'heat' is gone: new rows don't record it, history keeps it"
    ]
    done = load(ITEMS, month(ITEMS, 3), date(2024, 3, 10), LATER + timedelta(days=5))
    assert done.tables["readings"].changes == [
        "column 'heat' is new: rows of before haven't recorded it"
    ]
    columns = recorded_columns(ready.database, use_case(ITEMS))
    assert columns.not_recorded("readings_history", ["heat"]) == [ingestion_of(ready, LATER)]


def test_a_file_may_lack_a_column_that_the_contract_doesnt_require(
    ready: Platform, load: Load
) -> None:
    """So that months of before and after a change are loaded by one contract, in any order."""
    shape = ITEMS.with_column("readings", "size", Column("Float64", required=False))
    load(shape, month(shape, 2), FEBRUARY)
    done = load(shape, month(ITEMS, 1), JANUARY, LATER)
    assert done.tables["readings"].columns == ["item_id", "heat", "on"]
    columns = recorded_columns(ready.database, use_case(shape))
    assert columns.not_recorded("readings_history", ["size"]) == [ingestion_of(ready, LATER)]
    # A file that says nothing of a column takes nothing back.
    rows = month(ITEMS, 2)
    rows["readings"][0]["heat"] = 7.5
    done = load(shape, rows, FEBRUARY, LATER)
    assert done.tables["readings"].added == 1


def test_a_renamed_column_keeps_what_was_known_of_it(ready: Platform, load: Load) -> None:
    renamed = ITEMS.renamed("readings", "heat", "warmth")
    load(ITEMS, month(ITEMS, 1))
    before = stored(ready, "readings")
    rows = month(ITEMS, 1)
    rows["readings"] = [
        {("warmth" if name == "heat" else name): row[name] for name in row}
        for row in rows["readings"]
    ]
    done = load(renamed, rows, JANUARY, LATER)
    assert done.tables["readings"].changes == ["column 'warmth' was 'heat' before"]
    assert done.tables["readings"].added == 0
    assert [row["warmth"] for row in stored(ready, "readings")] == [row["heat"] for row in before]
    columns = recorded_columns(ready.database, use_case(renamed))
    assert columns.not_recorded("readings_history", ["warmth"]) == []
    # The name stays that column's own.
    both = renamed.with_column("readings", "heat", Column("Float64"))
    both = both.with_column("readings", "warmth", Column("Float64"))
    with pytest.raises(InvalidSettings, match="was renamed to 'warmth'"):
        load(both, month(both, 2), FEBRUARY, LATER)
    # Renamed back, it is the same column.
    load(renamed.renamed("readings", "warmth", "heat"), month(ITEMS, 2), FEBRUARY, LATER)
    assert "warmth" not in stored(ready, "readings")[0]


def test_whole_numbers_become_numbers_as_long_as_none_loses_a_digit(
    ready: Platform, load: Load
) -> None:
    wide = ITEMS.with_column("items", "age", Column("Float64"))
    rows = month(ITEMS, 1)
    rows["items"][3]["age"] = 2**53
    load(ITEMS, rows)
    ages = [row["age"] for row in stored(ready, "items")]
    done = load(wide, month(wide, 2), FEBRUARY, LATER)
    assert done.tables["items"].changes == ["column 'age' is double precision now, and was bigint"]
    january = [row["age"] for row in stored(ready, "items") if row["as_of"] == JANUARY]
    assert [int(age) for age in january] == ages
    assert {type(age) for age in january} == {float}


def test_a_value_that_would_lose_digits_keeps_its_column_as_it_is(
    ready: Platform, load: Load
) -> None:
    wide = ITEMS.with_column("items", "age", Column("Float64"))
    rows = month(ITEMS, 1)
    rows["items"][3]["age"] = 999_999_999_999_999_999
    load(ITEMS, rows)
    before = stored(ready, "items")
    with pytest.raises(InvalidSettings) as refused:
        load(wide, month(wide, 2), FEBRUARY, LATER)
    assert "1 of its values are beyond 2^53 (from 999999999999999999" in refused.value.message
    assert '"age_2": Column("Float64")' in refused.value.next
    assert stored(ready, "items") == before
    other = ITEMS.without_column("items", "age").with_column("items", "age_2", Column("Float64"))
    load(other, month(other, 2), FEBRUARY, LATER)
    assert [row["age"] for row in stored(ready, "items") if row["as_of"] == JANUARY] == [
        row["age"] for row in before
    ]


@pytest.mark.parametrize(
    ("name", "kind"), [("heat", "Int64"), ("heat", "string"), ("age", "string"), ("kind", "date")]
)
def test_another_type_needs_another_name(ready: Platform, load: Load, name: str, kind: str) -> None:
    table = "readings" if name == "heat" else "items"
    load(ITEMS, month(ITEMS, 1))
    before = stored(ready, table)
    other = ITEMS.with_column(table, name, Column(kind, feature=False))
    with pytest.raises(InvalidSettings) as refused:
        load(other, month(other, 2), FEBRUARY, LATER)
    assert f'"{name}_2": Column("{kind}")' in refused.value.next
    assert stored(ready, table) == before


def test_a_table_may_come_and_go(ready: Platform, load: Load) -> None:
    more = Shape({**ITEMS.tables, "visits": {"count": Column("Int64")}})
    load(ITEMS, month(ITEMS, 1))
    done = load(more, month(more, 2), FEBRUARY, LATER)
    assert done.tables["visits"].added == 40
    rows = month(ITEMS, 3)
    load(ITEMS, rows, date(2024, 3, 10), LATER + timedelta(days=5))
    assert len(stored(ready, "visits")) == 40


def test_apply_prepares_history_and_whoever_comes_before_it_is_told(
    ready: Platform, load: Load
) -> None:
    load(ITEMS, month(ITEMS, 1))
    more = Shape({**WITH_SIZE.tables, "visits": {"count": Column("Int64")}})
    changed = use_case(more)
    planned = [
        str(change)
        for table in changed.tables()
        for change in history_changes.planned_changes(ready.database, changed, table)
    ]
    assert planned == ["column 'size' is new: rows of before haven't recorded it"]
    with pytest.raises(InvalidSettings, match=r"'readings'.*'size'") as refused:
        history_changes.require_history(ready.database, changed)
    assert refused.value.next == "Run `streamflow apply`."
    apply(shaped(ready, more))
    history_changes.require_history(ready.database, changed)
    assert stored(ready, "visits") == []


def test_nothing_of_history_is_made_by_apply_before_the_first_month(ready: Platform) -> None:
    apply(shaped(ready, ITEMS))
    there = execute(ready.database, "SELECT to_regnamespace('changing') AS it").fetchone()
    assert there == {"it": None}


def test_what_is_refused_changes_nothing(ready: Platform, load: Load) -> None:
    load(ITEMS, month(ITEMS, 1))
    before = stored(ready, "readings")
    rows = month(WITH_SIZE, 2)
    rows["outcomes"][0]["good"] = "perhaps"
    with pytest.raises(Exception, match="perhaps"):
        load(WITH_SIZE, rows, FEBRUARY, LATER)
    assert stored(ready, "readings") == before
    assert history_changes.recorded_changes(ready.database, use_case(WITH_SIZE)) == []
