"""The files of a history in Apache Iceberg become few, and nothing else changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.changing_case import ENTITIES, OUTCOMES, month, shaped
from tests.columnar_history import plain
from tests.engine_story import (
    FEBRUARY,
    JANUARY,
    LATE,
    NOW,
    RENAMED,
    WITH_SIZE,
    WITHOUT_AGE,
    Story,
    assembled,
    day,
    differences,
    in_iceberg,
    new_story,
)
from tests.object_store import s3_server
from tests.statements import execute
from tests.training_tables import data_hash

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.features.point_in_time import Assembled
from streamflow.history.iceberg import compacting, rewriting
from streamflow.history.iceberg.data_files import data_files
from streamflow.history.iceberg.session import IcebergSession
from streamflow.lineage import reproduce
from streamflow.operations.history_files.compact_history import Compacted, compact_history
from streamflow.pipeline import train as training_run
from streamflow.pipeline.step_lock import one_step
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.postgres.client_programs import dump, load, programs, script
from streamflow.postgres.database import Database

pytestmark = [
    pytest.mark.usefixtures("without_plots"),
    pytest.mark.history_in_postgres("histories have locations of their own here"),
]

DAY = timedelta(days=1)
HISTORIES = ("items_history", "outcomes_history", "readings_history")


@pytest.fixture
def story(
    new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> Iterator[Story]:
    """A history of several ingestions a month, with corrections."""
    url, location = new_database(prepared_database), f"file://{tmp_path}/history of it"
    with told_at(url, location, tmp_path) as told:
        yield told


@contextmanager
def told_at(url: str, location: str, tmp_path: Path) -> Iterator[Story]:
    with in_iceberg(url, tmp_path / "home", location) as ready:
        told = new_story(ready, tmp_path / "files")
        told.load({"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
        told.load({"readings": month(LATE, 4)["readings"][3:9]}, 3, JANUARY)
        yield told


def compacted(story: Story, later: timedelta = timedelta()) -> Compacted:
    return compact_history(story.ready, DAY, datetime.now(UTC) + later)


def session_of(story: Story) -> IcebergSession:
    session = story.ready.database
    assert isinstance(session, IcebergSession)
    return session


def rows_of(story: Story) -> list[str]:
    """All rows as a reader sees them, by whom they were said and when."""
    session, name = session_of(story), story.ready.use_case.name
    session.refresh(name)
    return sorted(
        f"{history} {plain(row)}"
        for history in HISTORIES
        for batch in session.batches(f'SELECT * FROM "{name}"."{history}"')
        for row in batch.to_pylist()
    )


def files_by_table(story: Story) -> dict[str, int]:
    session, name = session_of(story), story.ready.use_case.name
    tables = {one: session.catalog.load_table((name, one)) for one in HISTORIES}
    return {one: len(data_files(table)) for one, table in tables.items()}


def place_of(story: Story) -> Path:
    return Path(story.ready.settings.history.removeprefix("file://"))


def files_there(story: Story) -> set[Path]:
    return {path for path in place_of(story).rglob("*") if path.is_file()}


def made(story: Story, number: int) -> str:
    found = assembled(story.ready, [JANUARY], day(number))
    assert isinstance(found, Assembled)
    return data_hash(found.training_set)


def test_small_files_become_one_a_month_with_the_same_rows_and_twice_is_once(story: Story) -> None:
    before, hashes = rows_of(story), [made(story, number) for number in (0, 2, 3)]
    assert len(set(hashes)) == 3
    assert files_by_table(story)["readings_history"] == 3

    done = compacted(story)
    assert [(one.history, one.before, one.files) for one in done.tables] == [
        ("readings_history", 3, 1)
    ]
    assert files_by_table(story)["readings_history"] == 1
    assert rows_of(story) == before
    assert [made(story, number) for number in (0, 2, 3)] == hashes

    there = files_there(story)
    again = compacted(story)
    assert again.tables == []
    assert again.unneeded.files == 0
    assert files_there(story) == there


@pytest.mark.slow
def test_files_of_before_stay_for_a_day_and_are_removed_then(story: Story) -> None:
    first = files_there(story)
    compacted(story)
    assert first <= files_there(story), "a reader may have them open"
    before = rows_of(story)

    done = compacted(story, 2 * DAY)
    assert done.tables == []
    assert done.unneeded.removed
    assert done.unneeded.bytes > 0
    parquet = {path for path in files_there(story) if path.suffix == ".parquet"}
    assert len(parquet) == sum(files_by_table(story).values())
    assert rows_of(story) == before
    # And metadata that the removal has replaced, once more a day later.
    assert compacted(story, 4 * DAY).unneeded.files == 0
    story.load({"readings": month(LATE, 6)["readings"]}, 6, FEBRUARY)
    assert len(rows_of(story)) > len(before)


@pytest.mark.slow
def test_what_a_killed_process_has_left_is_removed_when_it_is_old(story: Story) -> None:
    table = next(place_of(story).rglob("readings_history"))
    left = table / "data" / "as_of=2024-01-31" / "7-left.parquet"
    left.write_bytes(b"half a file")
    assert compacted(story).unneeded.files == 0
    assert left.exists()
    two_days_ago = (datetime.now(UTC) - 2 * DAY).timestamp()
    os.utime(left, (two_days_ago, two_days_ago))
    assert compacted(story).unneeded.files == 1
    assert not left.exists()


@pytest.mark.slow
def test_no_file_is_removed_while_a_step_runs(story: Story) -> None:
    compacted(story)
    with one_step(Database(story.ready.database.url)):
        kept = compacted(story, 2 * DAY)
    assert kept.unneeded.files
    assert not kept.unneeded.removed
    assert compacted(story, 2 * DAY).unneeded.removed


@pytest.mark.slow
def test_another_databases_files_in_the_same_place_are_never_removed(
    story: Story, new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> None:
    url, place = new_database(prepared_database), story.ready.settings.history
    with in_iceberg(url, tmp_path / "other home", place) as ready:
        other = Story(shaped(ready, LATE), tmp_path / "other files")
        other.load(month(LATE, 1), 0, JANUARY)
        there = files_there(story)
        for one in (story, other):
            with pytest.raises(InvalidSettings, match="another database's history") as refused:
                compacted(one, 2 * DAY)
            assert "location of its own" in refused.value.next
        assert there <= files_there(story)


@pytest.mark.slow
def test_a_file_that_isnt_found_stops_the_removal(story: Story) -> None:
    compacted(story)
    lost = next(path for path in files_there(story) if path.name.startswith("snap-"))
    elsewhere = lost.rename(place_of(story) / "elsewhere")
    try:
        with pytest.raises(FeatureStoreUnavailable) as refused:
            compacted(story, timedelta())
    finally:
        elsewhere.rename(lost)
    assert refused.value.next


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replace_iceberg_metadata", "try_lock_steps"])
def test_a_compaction_that_is_stopped_changes_nothing_that_is_read(
    name: str, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, there = rows_of(story), files_there(story)
    whole = Database.execute, Database.rows

    def failing(number: int) -> Callable[..., Any]:
        def call(self: Database, query: str, *arguments: Any, **values: Any) -> Any:
            if query == name:
                raise KeyboardInterrupt
            return whole[number](self, query, *arguments, **values)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Database, "execute", failing(0))
        patch.setattr(Database, "rows", failing(1))
        with pytest.raises(KeyboardInterrupt):
            for _ in range(2):
                compacted(story, 2 * DAY)
    assert rows_of(story) == before
    left = {path for path in files_there(story) - there if path.suffix == ".parquet"}
    assert not left or name == "try_lock_steps"
    compacted(story, 2 * DAY)
    assert rows_of(story) == before
    assert files_by_table(story)["readings_history"] == 1


@pytest.mark.slow
def test_a_commit_whose_answer_is_lost_keeps_its_files(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(story)
    whole = Database.transaction

    @contextmanager
    def lost(self: Database) -> Iterator[None]:
        with whole(self):
            yield
        raise ConnectionError("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", lost)
        with pytest.raises((ConnectionError, FeatureStoreUnavailable)):
            story.load({"readings": month(LATE, 6)["readings"]}, 6, FEBRUARY)
    # What the server has committed is read.
    assert len(rows_of(story)) > len(before)


@pytest.mark.slow
def test_rows_that_differ_from_those_that_were_written_are_refused(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, there = rows_of(story), files_there(story)
    whole = rewriting.write_file

    def shorter(table: Any, as_of: Any, name: str, batches: Any) -> Any:
        return whole(table, as_of, name, (batch.slice(1) for batch in batches))

    with monkeypatch.context() as patch:
        patch.setattr(rewriting, "write_file", shorter)
        with pytest.raises(FeatureStoreUnavailable, match="AS_OF 2024-01-31"):
            compacted(story)
    assert rows_of(story) == before
    assert files_there(story) == there


@pytest.mark.slow
def test_large_files_stay_as_they_are(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "LARGE_FILE_ROWS", 10)
    before = rows_of(story)
    done = compacted(story)
    # The first file is large; those of seven and six rows are large together.
    assert [(one.before, one.files, one.rows) for one in done.tables] == [(3, 2, 13)]
    assert compacted(story).tables == []
    assert rows_of(story) == before


@pytest.mark.slow
def test_files_of_an_object_store_are_compacted_and_removed(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = new_database(prepared_database)
    with s3_server(monkeypatch) as location, told_at(url, location, tmp_path) as story:
        before = rows_of(story)
        assert compacted(story).tables
        assert rows_of(story) == before
        removed = compacted(story, 2 * DAY).unneeded
        assert removed.removed
        assert removed.files > 3
        assert rows_of(story) == before
        assert compacted(story, 4 * DAY).unneeded.files == 0


@pytest.mark.slow
def test_a_dump_of_the_database_and_files_that_are_copied_after_it_are_whole(
    story: Story, new_database: Callable[..., str], tmp_path: Path
) -> None:
    before, url, place = rows_of(story), story.ready.database.url, place_of(story)
    names = execute(
        story.ready.database,
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'",
    )
    folder = programs(None)
    dumped = list(dump(folder, url, [row["nspname"] for row in names]))
    # What comes between the two does no harm.
    story.load({"readings": month(LATE, 5)["readings"]}, 5, JANUARY)
    assert compacted(story).tables
    shutil.copytree(place, tmp_path / "copy")
    assert compacted(story, 2 * DAY).unneeded.removed

    shutil.rmtree(place)
    shutil.move(tmp_path / "copy", place)
    restored = new_database()
    load(folder, restored, script(folder, dumped))
    with in_iceberg(restored, tmp_path / "restored", story.ready.settings.history) as ready:
        back = Story(shaped(ready, LATE), tmp_path / "more files")
        assert rows_of(back) == before
        back.load({"readings": month(LATE, 6)["readings"]}, 6, JANUARY)
        assert len(rows_of(back)) > len(before)


def test_history_in_postgresql_has_nothing_to_compact(ready: Platform) -> None:
    with pytest.raises(InvalidSettings, match="is in PostgreSQL") as refused:
        compact_history(ready, DAY, NOW)
    assert "move-history" in refused.value.next


@pytest.mark.slow
def test_old_runs_are_identical_after_columns_came_and_went(story: Story) -> None:
    fewer = month(LATE, 1)
    rows = {name: fewer[name][5:] for name in (ENTITIES, OUTCOMES)}
    story.load(rows, 3, JANUARY, complete=True)
    wrong = story.load({"readings": month(LATE, 5)["readings"]}, 4, FEBRUARY)
    withdraw(story.ready, wrong, "wrong", day(5), "ann")
    story.load({"readings": month(LATE, 6)["readings"]}, 6, FEBRUARY)
    run = training_run.train(story.ready, FEBRUARY, None, 7, NOW, known_at=day(6))
    for shape in (WITH_SIZE, WITHOUT_AGE, RENAMED):
        story.becomes(shape)
    story.load({"readings": month(RENAMED, 7)["readings"][3:]}, 7, FEBRUARY)
    moments = [0, 2, 3, 4, 6, 7]
    months = [JANUARY, FEBRUARY]
    before = [assembled(story.ready, months, day(one)) for one in moments]
    read = rows_of(story)

    assert compacted(story).tables
    assert rows_of(story) == read
    for number, then in zip(moments, before, strict=True):
        now = assembled(story.ready, months, day(number))
        if isinstance(now, str) or isinstance(then, str):
            assert now == then
            continue
        assert differences(now, then) == {}
    compacted(story, 2 * DAY)
    ready = story.ready
    done = reproduce.reproduce(ready, ready.registry.run(run.run_id), NOW)
    assert done.verdict == "identical", done
