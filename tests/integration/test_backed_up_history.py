"""A backup has the files of a history in Apache Iceberg, and a restore makes the same history of
them at another location."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests import crafted_backups, event_case, tiny_case
from tests.columnar_history import stored
from tests.conftest import url_of
from tests.integration.test_forgetting import FEBRUARY, JANUARY, NOW, PERSON
from tests.integration.test_forgotten_in_iceberg import load

from streamflow.bootstrap import platform
from streamflow.errors import InvalidSettings
from streamflow.history.history_table import history_location
from streamflow.lineage import reproduce
from streamflow.operations import restore as restoring
from streamflow.operations.backup import backup
from streamflow.operations.backup_errors import BackupRefused
from streamflow.operations.forgetting import forget, listed
from streamflow.operations.history_files.compact_history import compact_history
from streamflow.operations.restore import restore
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.withdraw import withdraw
from streamflow.platform import Platform
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

pytestmark = [pytest.mark.slow]

use_case = tiny_case.use_case


@dataclass(frozen=True)
class Source:
    """A history with corrections and a withdrawal, what it has, and a backup of it."""

    settings: Settings
    rows: dict[str, list[str]]
    run_id: str
    file: Path


Empty = Callable[..., Settings]


def at(folder: Path, url: str, history: str | None = None) -> Settings:
    return load_settings(
        home=folder / "home",
        database_url=url,
        use_case="tests.tiny_case",
        engine="duckdb",
        history=history or f"file://{folder}/a place",
    )


def rows_of(ready: Platform) -> dict[str, list[str]]:
    session = ready.columns
    assert session is not None
    session.refresh(use_case.name)
    return {one.history: stored(session, use_case, one) for one in use_case.tables()}


def rows_by_postgresql(ready: Platform) -> list[list[str]]:
    return [stored(ready.database, ready.use_case, one) for one in ready.use_case.tables()]


@pytest.fixture(scope="module")
def source(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
    without_plots: None,
) -> Source:
    folder = tmp_path_factory.mktemp("source")
    settings = at(folder, new_database(prepared_database))
    months = folder / "months"
    tiny_case.generate(Generation(months, users=100, months=2, seed=7))
    for file in months.rglob("*.csv"):
        file.write_text(file.read_text().replace("m-0007,", f"{PERSON},"))
    with platform(settings) as ready:
        load(ready, months)
        apply(ready)
        for file in months.rglob("readings.csv"):
            file.write_text(file.read_text().replace(".", ".1"))
        load(ready, months, ago=10)
        known_at = NOW - timedelta(days=8)
        run = train.train(ready, JANUARY, None, 7, NOW, known_at=known_at)
        withdraw(ready, 4, "wrong", NOW, "me")
        rows = rows_of(ready)
    backup(settings, folder / "the backup", NOW)
    return Source(settings, rows, run.run_id, folder / "the backup")


@pytest.fixture
def empty(new_database: Callable[..., str], tmp_path: Path) -> Empty:
    """Makes settings with an empty database, and a home and a location that aren't there yet."""
    numbers = iter(range(9))
    return lambda history=None: at(tmp_path / f"{next(numbers)}", new_database(), history)


@pytest.fixture
def restored(source: Source, empty: Empty) -> Iterator[Platform]:
    settings = empty()
    restore(settings, source.file)
    with platform(settings) as ready:
        yield ready


def files_of(settings: Settings) -> list[Path]:
    folder = Path(settings.history.removeprefix("file://"))
    return sorted(one for one in folder.rglob("*") if one.is_file())


def test_another_location_has_every_row_and_goes_on_by_itself(
    restored: Platform, source: Source, tmp_path: Path
) -> None:
    before = files_of(source.settings)
    assert rows_of(restored) == source.rows
    done = reproduce.reproduce(restored, restored.registry.run(source.run_id), NOW)
    assert (done.verdict, all(one.same for one in done.factors)) == ("identical", True)

    months = tmp_path / "months"
    tiny_case.generate(Generation(months, users=120, months=2, seed=7))
    load(restored, months, ago=5)
    assert len(rows_of(restored)["machines_history"]) > len(source.rows["machines_history"])
    compact_history(restored, timedelta(days=0), NOW + timedelta(days=3650))
    done = reproduce.reproduce(restored, restored.registry.run(source.run_id), NOW)
    assert done.verdict == "identical"
    assert files_of(source.settings) == before


def test_a_restored_history_can_be_backed_up_and_restored_in_turn(
    restored: Platform, source: Source, empty: Empty, tmp_path: Path
) -> None:
    backup(restored.settings, tmp_path / "again", NOW)
    settings = empty()
    restore(settings, tmp_path / "again")
    with platform(settings) as ready:
        assert rows_of(ready) == source.rows


def test_whoever_was_forgotten_since_is_forgotten_again_in_the_files(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    first, second = empty(), empty()
    restore(first, source.file)
    with platform(first) as ready:
        forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)
    restore(second, source.file, forgotten=first.home / listed.FILE)
    with platform(second) as ready:
        rows = rows_of(ready)
    assert any(PERSON in row for row in source.rows["machines_history"])
    assert not any(PERSON in row for one in rows.values() for row in one)
    assert len(rows["machines_history"]) == 2 * 99


def test_a_restore_that_fails_leaves_no_history_and_ends_well_the_next_time(
    source: Source, empty: Empty, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = empty()
    fill = restoring._fill

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(restoring, "_fill", killed)
        restore(settings, source.file)
    with restoring.connected(settings) as database:
        assert not database.row("schema_exists", schema=use_case.name)["exists"]
    assert restoring._fill is fill
    assert not restore(settings, source.file).before
    assert restore(settings, source.file).before
    with platform(settings) as ready:
        assert rows_of(ready) == source.rows
        assert history_location(ready.database, use_case.name) == settings.history
        # Of the one that was killed.
        done = compact_history(ready, timedelta(days=0), NOW + timedelta(days=3650))
        assert done.unneeded.files > 0


def numbered(columns: bytes, times: int) -> bytes:
    """The columns with a number for each."""
    return json.dumps(
        [[*pair, number * times] for number, pair in enumerate(json.loads(columns), 1)]
    ).encode()


def test_a_file_of_another_kind_is_refused_and_nothing_is_left(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    members = crafted_backups.members(source.file)
    files = [name for name in members if name.endswith(".parquet")]
    other = next(one for one in files if "/readings_history/" in one)
    (columns, *_) = [name for name in members if name.endswith("columns.json")]
    wrong = {
        "bytes": {files[-1]: b"PAR1 and nothing more PAR1"},
        "columns": {columns: b'[["a", "xml"]]'},
        "no pairs": {columns: b"[1]"},
        "without the time": {columns: b'[["machine_id", "text"], ["as_of", "text"]]'},
        "numbers in another order": {columns: numbered(members[columns], -1)},
        "numbers too large": {columns: numbered(members[columns], 10**6)},
        "no JSON": {columns: b"[" * 100_000},
        "another table's": {next(n for n in files if "/machines_" in n): members[other]},
    }
    for what, changed in wrong.items():
        file = tmp_path / what
        crafted_backups.write({**members, **changed}, file)
        settings = empty()
        with pytest.raises(BackupRefused, match="a file of its history"):
            restore(settings, file)
        assert not [one for one in files_of(settings) if one.suffix == ".parquet"], what


@pytest.mark.parametrize(
    "name",
    [
        "history/x",
        "history/../x_history/columns.json",
        "history/a/b_history/1.parquet",
        "history/a/b_history/000000.parquet",  # without its columns
    ],
)
def test_a_member_of_another_name_is_refused(
    name: str, source: Source, empty: Empty, tmp_path: Path
) -> None:
    members = crafted_backups.members(source.file)
    crafted_backups.write({**members, name: b"content"}, tmp_path / "crafted")
    with pytest.raises(BackupRefused):
        restore(empty(), tmp_path / "crafted")


def test_of_two_use_cases_in_two_places_the_one_with_files_is_restored_by_name(
    source: Source, empty: Empty, tmp_path: Path
) -> None:
    first = empty()
    restore(first, source.file)
    other = {"use_case": "tests.event_case", "history": "postgres"}
    with platform(first.model_copy(update=other)) as ready:
        stops = event_case.stops(JANUARY, 20)
        folder = event_case.write(tmp_path / "events", JANUARY, stops)
        ingest(ready, folder, JANUARY, None, NOW, "me")
        events = rows_by_postgresql(ready)
    backup(first, tmp_path / "of both", NOW)

    second = empty()
    with pytest.raises(InvalidSettings, match=r"STREAMFLOW_USE_CASE to .*: failures"):
        restore(second.model_copy(update={"use_case": "tests.event_case"}), tmp_path / "of both")
    assert not restore(second, tmp_path / "of both").before
    with platform(second) as ready:
        assert rows_of(ready) == source.rows
    with platform(second.model_copy(update=other)) as ready:
        assert rows_by_postgresql(ready) == events


def test_no_place_for_the_files_is_told_before_anything_is_written(
    source: Source, empty: Empty
) -> None:
    before = files_of(source.settings)
    settings = empty().model_copy(update={"history": "postgres", "engine": "postgres"})
    with pytest.raises(BackupRefused, match="STREAMFLOW_HISTORY"):
        restore(settings, source.file)
    with pytest.raises(InvalidSettings, match="another database's history"):
        restore(empty(source.settings.history), source.file)
    assert files_of(source.settings) == before
    with platform(source.settings) as ready:
        assert rows_of(ready) == source.rows
        train.train(ready, FEBRUARY, None, 7, NOW)
    assert url_of(settings) != url_of(source.settings)
