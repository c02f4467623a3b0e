"""History in Apache Iceberg says what history in PostgreSQL says, at each moment."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests import event_case
from tests.changing_case import ENTITIES, KEY, OUTCOMES, Shape, month, shaped
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
    first_months,
    in_iceberg,
    opened,
)
from tests.object_store import s3_server
from tests.statements import execute

from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.features.point_in_time import Assembled
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.ingestions import recorded_ingestions
from streamflow.lineage import reproduce
from streamflow.operations.history_files.move_history import move_history
from streamflow.pipeline import train as training_run
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.postgres.database_url import sqlalchemy_url
from streamflow.training.split import Choice

pytestmark = [
    pytest.mark.usefixtures("without_plots"),
    pytest.mark.history_in_postgres("both kinds of history are compared here"),
]


@pytest.fixture
def other(
    new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> Iterator[Platform]:
    """A platform with a database of its own, and history in Iceberg."""
    location = f"file://{tmp_path}/history of it"
    with in_iceberg(new_database(prepared_database), tmp_path / "another home", location) as ready:
        yield ready


@pytest.fixture
def stories(ready: Platform, other: Platform, tmp_path: Path) -> list[Story]:
    """The same story in PostgreSQL and in Iceberg."""
    return [
        Story(shaped(one, LATE), tmp_path / name)
        for one, name in ((ready, "files"), (other, "the other's files"))
    ]


def load(
    stories: list[Story], rows: dict[str, Any], number: int, as_of: date, complete: bool = False
) -> int:
    """Load the rows in both; what was said of them is the same."""
    (ingestion,) = {story.load(rows, number, as_of, complete) for story in stories}
    told = []
    for story in stories:
        found = recorded_ingestions(story.ready.database, story.ready.use_case)[-1]
        told.append(replace(found, ingested_at=NOW))
    assert all(one == told[0] for one in told)
    return ingestion


def require_same(stories: list[Story], known: list[int]) -> None:
    one, two = (story.ready for story in stories)
    for number in known:
        for months, sample in (([JANUARY], None), ([JANUARY, FEBRUARY], 9)):
            said = [assembled(ready, months, day(number), sample) for ready in (one, two)]
            if isinstance(said[0], str) or isinstance(said[1], str):
                assert said[0] == said[1]
                continue
            assert differences(*said) == {}


def become(stories: list[Story], shape: Shape) -> None:
    for story in stories:
        story.becomes(shape)


def begun(stories: list[Story]) -> None:
    january, february = first_months()
    load(stories, january, 0, JANUARY)
    load(stories, february, 1, FEBRUARY)
    become(stories, LATE)


def test_a_correction_is_the_same_in_iceberg_and_only_changed_rows_are_added(
    stories: list[Story],
) -> None:
    begun(stories)
    load(stories, {"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
    require_same(stories, [0, 1, 2])


@pytest.mark.slow
def test_training_sets_are_those_of_postgresql_at_each_moment_of_a_history_that_changes(
    stories: list[Story],
) -> None:
    begun(stories)
    require_same(stories, [0, 1])
    load(stories, {"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
    fewer = month(LATE, 1)
    load(stories, {name: fewer[name][5:] for name in (ENTITIES, OUTCOMES)}, 3, JANUARY, True)
    wrong = load(stories, {"readings": month(LATE, 5)["readings"]}, 4, FEBRUARY)
    require_same(stories, [3, 4])
    done = [withdraw(story.ready, wrong, "wrong", day(5), "ann") for story in stories]
    assert done[0] == done[1]
    load(stories, {"readings": month(LATE, 6)["readings"]}, 6, FEBRUARY)
    require_same(stories, [0, 4, 6])

    for shape in (WITH_SIZE, WITHOUT_AGE, RENAMED):
        become(stories, shape)
        require_same(stories, [6])
    load(stories, {"readings": month(RENAMED, 7)["readings"][3:]}, 7, FEBRUARY)
    # The same file again: nothing is new.
    load(stories, {"readings": month(RENAMED, 7)["readings"][3:]}, 8, FEBRUARY)
    require_same(stories, [0, 3, 7, 8])


@pytest.mark.slow
def test_a_model_is_the_same_and_is_reproduced_from_iceberg(stories: list[Story]) -> None:
    begun(stories)
    load(stories, {"readings": month(LATE, 6)["readings"]}, 2, FEBRUARY)
    choice = Choice(months=2, sample=30)
    runs = [
        training_run.train(story.ready, FEBRUARY, None, 7, NOW, known_at=day(2), choice=choice)
        for story in stories
    ]
    assert runs[0].data_hash == runs[1].data_hash
    assert runs[0].model_hash == runs[1].model_hash
    load(stories, {"readings": month(LATE, 5)["readings"]}, 3, FEBRUARY)
    become(stories, WITHOUT_AGE)
    for story, run in zip(stories, runs, strict=True):
        ready = story.ready
        done = reproduce.reproduce(ready, ready.registry.run(run.run_id), NOW)
        assert done.verdict == "identical", done


def test_pyicebergs_own_catalog_reads_the_same_rows(stories: list[Story]) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    begun(stories)
    here, there = (story.ready for story in stories)
    name = there.use_case.name
    catalog = SqlCatalog(
        "streamflow", uri=sqlalchemy_url(there.database.url, "streamflow", "psycopg2")
    )
    for history in ("items_history", "readings_history"):
        rows = catalog.load_table((name, history)).scan().to_arrow().to_pylist()
        query = f'SELECT * FROM "{name}"."{history}"'
        expected = execute(here.database, query).fetchall()
        assert sorted(map(plain, rows)) == sorted(map(plain, expected))


def test_nothing_is_seen_of_an_ingestion_that_fails_at_its_last_write(
    stories: list[Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(stories)
    story = stories[1]
    before, files = what_is_seen(story), data_files(story)

    whole = Database.execute

    def failing(self: Database, name: str, *arguments: Any, **values: Any) -> Any:
        if name == "record_ingestion":
            raise KeyboardInterrupt
        return whole(self, name, *arguments, **values)

    monkeypatch.setattr(Database, "execute", failing)
    with pytest.raises(KeyboardInterrupt):
        story.load({"readings": month(LATE, 3)["readings"]}, 2, FEBRUARY)
    monkeypatch.undo()
    assert what_is_seen(story) == before
    assert data_files(story) == files


def test_a_full_disk_is_said_and_nothing_is_seen_of_the_month(
    stories: list[Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    begun(stories)
    story = stories[1]
    before, files = what_is_seen(story), data_files(story)

    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    rows = {"readings": month(LATE, 3)["readings"]}
    with pytest.raises(FeatureStoreUnavailable) as refused:
        story.load(rows, 2, FEBRUARY)
    assert "No space left on device" in refused.value.message
    assert "file://" in refused.value.message
    assert "Make room" in refused.value.next
    assert what_is_seen(story) == before
    assert data_files(story) == files
    monkeypatch.undo()
    story.load(rows, 2, FEBRUARY)
    assert what_is_seen(story) != before


def test_no_metadata_name_anybody(stories: list[Story]) -> None:
    begun(stories)
    story = stories[1]
    entity = month(LATE, 1)[ENTITIES][3][KEY].encode()
    place = folder_of(story)
    metadata = [path for path in place.rglob("metadata/*") if path.is_file()]
    assert metadata
    # Manifests are Avro: what is compressed in them is read.
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.manifest import read_manifest_list

    lists = [path for path in metadata if path.name.startswith("snap-")]
    io = PyArrowFileIO()
    for one in lists:
        for manifest in read_manifest_list(io.new_input(f"file://{one}")):
            for entry in manifest.fetch_manifest_entry(io):
                bounds = [*entry.data_file.lower_bounds.values()]
                assert bounds, "of as_of there are bounds"
                assert not any(entity in bound for bound in bounds)
    assert not any(entity in path.read_bytes() for path in metadata)


def what_is_seen(story: Story) -> list[str]:
    session = story.ready.history
    assert isinstance(session, IcebergSession)
    name = story.ready.use_case.name
    session.refresh(name)
    found = []
    for history in ("items_history", "readings_history", "outcomes_history"):
        for batch in session.batches(f'SELECT * FROM "{name}"."{history}"'):
            found += [f"{history} {plain(row)}" for row in batch.to_pylist()]
    return sorted(found)


def folder_of(story: Story) -> Path:
    return Path(story.ready.settings.history.removeprefix("file://"))


def data_files(story: Story) -> list[Path]:
    return sorted(folder_of(story).rglob("*.parquet"))


@pytest.mark.slow
def test_history_in_an_object_store_is_the_same(
    ready: Platform,
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        s3_server(monkeypatch) as location,
        in_iceberg(new_database(prepared_database), tmp_path / "far", location) as far,
    ):
        stories = [
            Story(shaped(one, LATE), tmp_path / one.settings.home.name) for one in (ready, far)
        ]
        begun(stories)
        load(stories, {"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
        require_same(stories, [0, 1, 2])
        assert not [*(tmp_path / "far").rglob("*.parquet")]


def test_a_place_that_isnt_historys_is_refused_with_the_line_to_set(
    stories: list[Story], tmp_path: Path
) -> None:
    here, there = stories
    load(stories, month(LATE, 1), 0, JANUARY)
    url, home = there.ready.database.url, tmp_path / "a third home"
    with in_iceberg(url, home, "file:///somewhere/else") as elsewhere:
        lost = Story(shaped(elsewhere, LATE), tmp_path / "1")
        with pytest.raises(InvalidSettings) as refused:
            lost.load(month(LATE, 1), 1, JANUARY)
        assert refused.value.next == f"Set STREAMFLOW_HISTORY={there.ready.settings.history}."
        with pytest.raises(InvalidSettings, match="else"):
            assembled(lost.ready, [JANUARY], day(0))
    # As it is set by default.
    with opened(there.ready, "postgres", home) as plain_one:
        with pytest.raises(InvalidSettings, match="PostgreSQL was asked for rows") as refused:
            Story(plain_one, tmp_path / "2").load(month(LATE, 1), 1, JANUARY)
        assert "STREAMFLOW_HISTORY" in refused.value.next
        with pytest.raises(InvalidSettings, match="file://"):
            assembled(plain_one, [JANUARY], day(0))
    # And history that is in PostgreSQL isn't taken for an empty one elsewhere.
    with in_iceberg(here.ready.database.url, home, "file:///somewhere/else") as elsewhere:
        lost = Story(shaped(elsewhere, LATE), tmp_path / "3")
        with pytest.raises(InvalidSettings) as refused:
            lost.load(month(LATE, 1), 1, JANUARY)
        assert refused.value.next == "Set STREAMFLOW_HISTORY=postgres."


@pytest.mark.slow
def test_a_history_that_is_moved_is_the_same_and_old_runs_are_identical(
    stories: list[Story], tmp_path: Path
) -> None:
    # The second story is moved later: until then both are in PostgreSQL.
    here = stories[0]
    begun([here])
    here.load({"readings": month(LATE, 3)["readings"][:7]}, 2, JANUARY)
    fewer = month(LATE, 1)
    rows = {name: fewer[name][5:] for name in (ENTITIES, OUTCOMES)}
    here.load(rows, 3, JANUARY, complete=True)
    wrong = here.load({"readings": month(LATE, 5)["readings"]}, 4, FEBRUARY)
    withdraw(here.ready, wrong, "wrong", day(5), "ann")
    here.becomes(WITH_SIZE)
    here.load({"readings": month(WITH_SIZE, 6)["readings"]}, 6, FEBRUARY)
    run = training_run.train(here.ready, FEBRUARY, None, 7, NOW, known_at=day(6))
    moments = [0, 1, 2, 3, 4, 6]
    months = [JANUARY, FEBRUARY]
    before = {number: assembled(here.ready, months, day(number)) for number in moments}

    location = f"file://{tmp_path}/moved"
    moved = move_history(here.ready, location)
    assert {one.history for one in moved.tables} == {
        *("items_history", "readings_history", "outcomes_history")
    }
    assert all(one.rows and one.files == 2 for one in moved.tables)
    assert move_history(here.ready, location).tables == []
    with pytest.raises(InvalidSettings, match="file://"):
        assembled(here.ready, months, day(1))

    url = here.ready.database.url
    with in_iceberg(url, here.ready.settings.home, location) as opened_there:
        there = replace(opened_there, use_case=here.ready.use_case)
        for number in moments:
            one, other = before[number], assembled(there, months, day(number))
            if isinstance(one, str) or isinstance(other, str):
                assert one == other
                continue
            assert differences(one, other) == {}
        done = reproduce.reproduce(there, there.registry.run(run.run_id), NOW)
        assert done.verdict == "identical", done
        # And it goes on there.
        Story(there, tmp_path / "later", WITH_SIZE).load(
            {"readings": month(WITH_SIZE, 7)["readings"]}, 7, FEBRUARY
        )
        now, then = assembled(there, months, day(7)), before[6]
        assert isinstance(now, Assembled)
        assert isinstance(then, Assembled)
        assert "training_set" in differences(now, then)


def test_an_error_of_another_file_isnt_taken_for_one_of_history(other: Platform) -> None:
    with pytest.raises(FileNotFoundError), other.database.transaction():
        raise FileNotFoundError("a list")


def test_events_stay_in_postgresql_and_their_features_move(ready: Platform, tmp_path: Path) -> None:
    stopping = replace(ready, use_case=event_case.use_case)
    for number, as_of in enumerate((JANUARY, FEBRUARY)):
        events = event_case.stops(as_of, 9)
        folder = event_case.write(tmp_path / f"{as_of}", as_of, events, 9)
        ingest(stopping, folder, as_of, day(number), NOW, "ann")
    query = "SELECT * FROM stopping.stops_history ORDER BY as_of, machine_id"
    before = execute(stopping.database, query).fetchall()
    location = f"file://{tmp_path}/history"
    assert "stops_events" not in {one.history for one in move_history(stopping, location).tables}
    with in_iceberg(ready.database.url, tmp_path / "home", location) as other:
        there = replace(other, use_case=event_case.use_case)
        assert execute(there.database, query).fetchall() == before
        # An event of February that comes with the file again corrects its row.
        late = event_case.write(tmp_path / "late", FEBRUARY, [*events, *events[:1]], 9)
        done = ingest(there, late, FEBRUARY, day(2), NOW, "ann")
        assert done.tables["stops"].added == 1
        assert len(execute(there.database, query).fetchall()) == len(before) + 1
