"""Whole numbers become numbers with fractions in a history in Apache Iceberg, as in PostgreSQL."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.changing_case import ENTITIES, Column, month, shaped
from tests.columnar_history import stored
from tests.engine_story import (
    FEBRUARY,
    JANUARY,
    LATE,
    NOW,
    Story,
    assembled,
    day,
    differences,
    first_months,
    in_iceberg,
)

from streamflow.errors import FeatureStoreUnavailable
from streamflow.features.point_in_time import Assembled
from streamflow.history.iceberg import widening
from streamflow.history.iceberg.session import IcebergSession
from streamflow.operations.backup import backup
from streamflow.operations.history_files.compact_history import compact_history
from streamflow.operations.restore import restore
from streamflow.platform import Platform
from streamflow.settings import Settings, load_settings

pytestmark = pytest.mark.history_in_postgres("both kinds of history are compared here")

WIDE = LATE.with_column(ENTITIES, "age", Column("Float64"))


@pytest.fixture
def story(
    new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> Iterator[Story]:
    """January and February in Iceberg, where ages are whole numbers."""
    location = f"file://{tmp_path}/history of it"
    with in_iceberg(new_database(prepared_database), tmp_path / "another home", location) as ready:
        told = Story(shaped(ready, LATE), tmp_path / "its files")
        begin(told)
        yield told


def begin(story: Story) -> None:
    january, february = first_months()
    story.load(january, 0, JANUARY)
    story.load(february, 1, FEBRUARY)
    story.becomes(LATE)


def go_on(story: Story) -> None:
    """The column becomes another, has values of its new type, and another column comes."""
    story.becomes(WIDE)
    rows = month(WIDE, 3)
    for row in rows[ENTITIES]:
        row["age"] = "7.5"
    story.load(rows, 2, FEBRUARY)
    shape = WIDE.with_column(ENTITIES, "size", Column("Float64"))
    story.becomes(shape)
    rows = month(shape, 4)
    for row in rows[ENTITIES]:
        row["size"] = "0.25"
    story.load(rows, 3, FEBRUARY)


def settings_at(url: str, home: Path, location: str) -> Settings:
    return load_settings(
        home=home, database_url=url, use_case="churn", engine="duckdb", history=location
    )


def rows_of(ready: Platform) -> list[list[str]]:
    session = ready.columns
    assert isinstance(session, IcebergSession)
    session.refresh(ready.use_case.name)
    return [stored(session, ready.use_case, table) for table in ready.use_case.tables()]


def ages(ready: Platform) -> list[Any]:
    """As any reader of Iceberg has them."""
    session = ready.columns
    assert isinstance(session, IcebergSession)
    table = session.catalog.load_table((ready.use_case.name, f"{ENTITIES}_history"))
    return [row["age"] for row in table.scan().to_arrow().to_pylist()]


def test_each_moment_is_what_it_is_in_postgresql(
    story: Story, ready: Platform, tmp_path: Path
) -> None:
    other = Story(shaped(ready, LATE), tmp_path / "files")
    begin(other)
    whole = ages(story.ready)
    assert {type(age) for age in whole} >= {int}
    for one in (story, other):
        go_on(one)
    for number in (0, 1, 2, 3):
        for months in ([JANUARY], [JANUARY, FEBRUARY]):
            said = [assembled(one.ready, months, day(number)) for one in (story, other)]
            if isinstance(said[0], str) or isinstance(said[1], str):
                assert said[0] == said[1]
                continue
            assert differences(*said) == {}
    now = ages(story.ready)
    assert {type(age) for age in now if age is not None} == {float}
    assert {*whole, 7.5} <= {*now}


def test_it_is_compacted_and_copied_as_any_other(
    story: Story, new_database: Callable[..., str], tmp_path: Path
) -> None:
    """Backups are of all use cases of the database; the commands' own is another one here."""
    go_on(story)
    before = rows_of(story.ready)
    settings = story.ready.settings
    for number in range(2):  # a copy of the copy, too
        backup(settings, tmp_path / f"backup {number}", NOW)
        url, home = new_database(), tmp_path / f"home {number}"
        location = f"file://{tmp_path}/place {number}"
        settings = settings_at(url, home, location)
        restore(settings, tmp_path / f"backup {number}")
        with in_iceberg(url, home, location) as made:
            copied = shaped(made, story.shape)
            assert rows_of(copied) == before
            compact_history(copied, timedelta(0), NOW + timedelta(days=3650))
            assert rows_of(copied) == before
    compact_history(story.ready, timedelta(0), NOW + timedelta(days=3650))
    assert rows_of(story.ready) == before


def test_a_full_disk_leaves_the_column_as_it_was(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(story.ready)
    place = Path(story.ready.settings.history.removeprefix("file://"))
    files = {*place.rglob("*.parquet")}
    written = widening.in_one_file

    def full(*arguments: Any) -> Any:
        written(*arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(widening, "in_one_file", full)
        with pytest.raises(FeatureStoreUnavailable, match="No space left"):
            story.becomes(WIDE)
    assert {*place.rglob("*.parquet")} == files
    assert rows_of(story.ready) == before
    assert isinstance(assembled(shaped(story.ready, LATE), [JANUARY], day(0)), Assembled)
    story.becomes(WIDE)
    assert rows_of(story.ready) != before
